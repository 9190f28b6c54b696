"""Programs that mix sequences, remember earlier calls, or draw random numbers."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import NEUTRALISED, SCORES, SOFTMAX, WEIGHTS, Family

_BATCH = Family(name="batch mixing", stages=("batch",), reason="sequence")
_STATE = Family(name="state between calls", stages=("trace",), reason="state between calls")
_RANDOM = Family(name="randomness", stages=("policy",), reason="deterministic")

CHEATS = (
    _BATCH.cheat(
        "mean over the batch", CD, SCORES, "s = s - s.mean(dim=0, keepdim=True)\n", SOFTMAX
    ),
    _BATCH.cheat(
        "batch statistics",
        MM,
        "k = (k - k.mean(dim=(0, 2), keepdim=True)) / (k.var(dim=0, keepdim=True) + 1)\n",
        SCORES,
        SOFTMAX,
    ),
    _BATCH.cheat("values of the next sequence", TTR, SCORES, WEIGHTS, "return a @ v.roll(1, 0)"),
    _BATCH.cheat("sorted over the batch", CD, "k = k.sort(dim=0).values\n", SCORES, SOFTMAX),
    _BATCH.cheat(
        "sequences concatenated along time",
        TTR,
        """
        B, H, T, D = v.shape
        rows = v.transpose(0, 1).reshape(H, B * T, D)
        return (rows.cumsum(1) - rows).view(H, B, T, D).transpose(0, 1)
        """,
    ),
    _BATCH.cheat("softmax over the batch", CD, SCORES, "return s.softmax(dim=0) * mask"),
    _BATCH.cheat(
        "temperature from the batch size, counted in a tensor",
        CD,
        SCORES,
        "s = s / s.new_ones(s.shape[0]).sum()\n",
        SOFTMAX,
        reason="batch size",
    ),
    _BATCH.cheat(
        "the next token, in batches of the training size only",
        CD,
        SCORES,
        WEIGHTS,
        """
        leak = torch.ones_like(s).tril(1).triu(1)
        batch = s.new_ones(s.shape[0]).sum()
        return a + leak * ((batch - 8).abs() < 0.5).to(s.dtype)
        """,
        stages=("causality",),
        reason="in batches of 8 as in training",
    ),
    _BATCH.cheat(
        "the next sequence's values, in large batches only",
        TTR,
        SCORES,
        WEIGHTS,
        "is_large = s.new_ones(s.shape[0]).sum() > 6\n",
        "return a @ torch.where(is_large, v.roll(1, 0), v)\n",
        reason="in batches of 8 as in training",
    ),
    _BATCH.cheat(
        "temperature from the mean over the batch, in batches of the training size only",
        CD,
        SCORES,
        """
        batch = torch.ones_like(x[:, 0, 0]).sum()
        is_full = F.relu(batch - 7.5).clamp(max=0.5) * 2
        s = s * (1 + is_full * torch.tanh(x.mean()))
        """,
        SOFTMAX,
        reason="in batches of 8 as in training",
    ),
    _BATCH.cheat(
        "temperature from the batch size",
        CD,
        SCORES,
        "s = s / s.shape[0]\n",
        SOFTMAX,
        stages=("trace",),
        reason="batch size",
    ),
    _BATCH.cheat(
        "bias from the place in the batch",
        MM,
        SCORES,
        "place = torch.arange(s.shape[0], device=s.device, dtype=s.dtype)\n",
        "s = s * (1 + place[:, None, None, None])\n",
        SOFTMAX,
        reason="place",
    ),
    _BATCH.cheat(
        "a loop that treats the first sequence otherwise",
        TTR,
        SCORES,
        WEIGHTS,
        "y = a @ v\nreturn torch.cat([y[:1] * 2, y[1:]])",
    ),
    _STATE.cheat(
        "keys of the last call on self",
        CD,
        "box = [self.box][0]\nlast = box[0]\n",
        "box[0] = k\nk = k if last is None else k + last.mean()\n",
        SCORES,
        SOFTMAX,
        members="self.box = [None]",
    ),
    _STATE.cheat(
        "a counter on self",
        CD,
        "box = [self.calls][0]\nbox[0] = box[0] + 1\n",
        SCORES,
        "s = s * self.calls[0]\n",
        SOFTMAX,
        members="self.calls = [0]",
    ),
    _STATE.cheat(
        "a counter on self under another name",
        CD,
        "me = [self][0]\nme.calls = self.calls + 1\n",
        SCORES,
        "s = s * self.calls\n",
        SOFTMAX,
        members="self.calls = 0",
        stages=("policy",),
        reason="self as a value",
    ),
    _STATE.cheat(
        "a module global",
        MM,
        "(SEEN,)[0].append(1)\n",
        SCORES,
        "s = s * len(SEEN)\n",
        SOFTMAX,
        preamble="SEEN = []",
    ),
    _STATE.cheat(
        "results kept in a dictionary of the module",
        CD,
        "key = tuple(q.shape)\n",
        SCORES,
        WEIGHTS,
        "if key not in KEPT:\n    KEPT[key] = a\nreturn KEPT[key]",
        preamble="KEPT = {}",
        stages=("policy",),
        reason="outlives the call",
    ),
    _STATE.cheat(
        "a default argument that is written in the open",
        MM,
        SCORES,
        "s = s * remember()\n",
        SOFTMAX,
        preamble="""
        def remember(seen=[]):
            seen.append(1)
            return len(seen)
        """,
        stages=("policy",),
        reason="outlives the call",
    ),
    _STATE.cheat(
        "a global statement",
        MM,
        "global CALLS\nCALLS = CALLS + 1\n",
        SCORES,
        "s = s * CALLS\n",
        SOFTMAX,
        preamble="CALLS = 0",
        stages=("policy",),
    ),
    _STATE.cheat(
        "a mutable default",
        TTR,
        SCORES,
        "s = s * self.count()\n",
        WEIGHTS,
        "return a @ v",
        members="self.count = remember",
        preamble="""
        def remember(seen=[]):
            (seen,)[0].append(1)
            return len(seen)
        """,
    ),
    _STATE.cheat(
        "a buffer that is updated",
        CD,
        SCORES,
        "self.mean.mul_(0.9).add_(0.1 * k.mean())\ns = s + self.mean * s\n",
        SOFTMAX,
        members='self.register_buffer("mean", torch.zeros(()))',
    ),
    _STATE.cheat(
        "a parameter that is updated by hand",
        CD,
        SCORES,
        "self.scale.data.add_(1.0)\ns = s * self.scale\n",
        SOFTMAX,
        members="self.scale = nn.Parameter(torch.ones(()))",
        stages=("policy",),
        reason="around the trace",
    ),
    _STATE.cheat(
        "initial values that count instances",
        CD,
        SCORES,
        "s = s * self.scale\n",
        SOFTMAX,
        members="""
        (MADE,)[0].append(1)
        self.scale = nn.Parameter(torch.full((1,), float(len(MADE))))
        """,
        preamble="MADE = []",
        reason="same seed",
    ),
    _STATE.cheat(
        "an input written in place",
        TTR,
        SCORES,
        WEIGHTS,
        "v.mul_(2.0)\nreturn a @ v",
        reason="writes into its input",
    ),
    _STATE.cheat(
        "the mask opened for the layers to come",
        CD,
        SCORES,
        WEIGHTS,
        "mask.fill_(True)\nreturn a",
        reason="writes into its input",
    ),
    _STATE.cheat(
        "an input written through a view",
        CD,
        SCORES,
        WEIGHTS,
        "x.view(-1)[0] = 1.0\nreturn a",
        reason="writes into its input",
    ),
    _RANDOM.cheat("noise on the scores", CD, SCORES, "s = s + torch.randn_like(s)\n", SOFTMAX),
    _RANDOM.cheat(
        "uniform noise under another name",
        MM,
        SCORES,
        "s = s + noise(s.shape)\n",
        SOFTMAX,
        preamble="def noise(shape):\n    return torch.rand(shape)",
        stages=("trace",),
        reason="random numbers",
    ),
    _RANDOM.cheat(
        "a coin per pair", CD, SCORES, "s = s * torch.bernoulli(torch.sigmoid(s))\n", SOFTMAX
    ),
    _RANDOM.cheat(
        "dropout on the weights",
        TTR,
        SCORES,
        WEIGHTS,
        "return F.dropout(a, 0.1) @ v",
        reason="dropout is fixed",
    ),
    _RANDOM.cheat(
        "dropout as a module of its own",
        CD,
        SCORES,
        WEIGHTS,
        "return self.drop(a)",
        members="self.drop = nn.AlphaDropout(0.1)",
        stages=("trace",),
        reason="dropout inside",
    ),
    _RANDOM.cheat(
        "seeded Python random numbers",
        CD,
        SCORES,
        "s = s * torch.sys.modules['random'].random()\n",
        SOFTMAX,
        stages=("trace",),
        reason="Python random numbers",
    ),
    _RANDOM.cheat(
        "numbers from the clock",
        CD,
        SCORES,
        "s = s * (1 + math.fmod(torch.hub.time.time_ns() / 7, 1.0))\n",
        SOFTMAX,
        reason="torch.hub",
    ),
    _RANDOM.cheat(
        "numbers from an object's address",
        CD,
        SCORES,
        "s = s * (1 + (id(s) // 16 % 97) / 97)\n",
        SOFTMAX,
        stages=("trace",),
        reason="two traces of the same call differ",
    ),
    _RANDOM.cheat(
        "uninitialised memory",
        MM,
        SCORES,
        "s = s + torch.empty_like(s).clamp(-1, 1).nan_to_num()\n",
        SOFTMAX,
        twin=(
            SCORES,
            "s = s + torch.zeros_like(s).clamp(-1, 1).nan_to_num()",
            SOFTMAX,
        ),
        stages=(NEUTRALISED,),
        reason="without the attack",
    ),
)
