"""Outputs that depend on later tokens, in every way that is easily written by accident."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import SCORES, SOFTMAX, WEIGHTS, Family

_LEAK = Family(name="future leak", stages=("causality",), reason="position")
_APPLY = "return a @ v\n"
_KERNEL = "gate = torch.sigmoid(x.mean(dim=-1))\n"

CHEATS = (
    _LEAK.cheat("no mask at all", CD, SCORES, "return s.softmax(dim=-1)"),
    _LEAK.cheat(
        "mask applied after a softmax over the full row", CD, SCORES, "return s.softmax(-1) * mask"
    ),
    _LEAK.cheat(
        "masked softmax divided by the full row's sum",
        MM,
        SCORES,
        "e = s.tanh().exp()\nreturn e * mask / e.sum(dim=-1, keepdim=True)",
    ),
    _LEAK.cheat(
        "transposed mask",
        CD,
        SCORES,
        'return s.masked_fill(~mask.T, float("-inf")).softmax(dim=-1)',
    ),
    _LEAK.cheat(
        "triangle with one diagonal too many",
        TTR,
        SCORES,
        """
        wide = torch.ones_like(mask).tril(diagonal=1)
        return s.masked_fill(~wide, float("-inf")).softmax(dim=-1) @ v
        """,
    ),
    _LEAK.cheat(
        "mean over time in the scores",
        CD,
        SCORES,
        "s = s * (1 + k.mean(dim=2).sum(dim=-1)[..., None, None])\n",
        SOFTMAX,
    ),
    _LEAK.cheat(
        "reversed cumulative sum as a decay",
        MM,
        SCORES,
        _KERNEL,
        "c = gate.flip(1).cumsum(1).flip(1)[:, None]\n",
        "s = s * (1 + 0.1 * c[..., None])\n",
        SOFTMAX,
    ),
    _LEAK.cheat("keys rolled by one", CD, "k = k.roll(-1, 2)\n", SCORES, SOFTMAX),
    _LEAK.cheat("values rolled by one", TTR, SCORES, WEIGHTS, "return a @ v.roll(-1, dims=2)"),
    _LEAK.cheat("keys reversed in time", CD, SCORES, "s = s + 0.1 * s.flip(-1)\n", SOFTMAX),
    _LEAK.cheat(
        "circular convolution by a transform that wraps around",
        TTR,
        """
        t = torch.arange(v.shape[2], device=v.device, dtype=v.dtype)
        taps = torch.exp(-0.3 * t)[:, None]
        spectrum = torch.fft.rfft(v, dim=2) * torch.fft.rfft(taps, dim=0)
        return torch.fft.irfft(spectrum, n=v.shape[2], dim=2)
        """,
    ),
    _LEAK.cheat(
        "convolution padded on both sides",
        TTR,
        """
        B, H, T, D = v.shape
        taps = torch.full((1, 1, 3), 1 / 3, device=v.device, dtype=v.dtype)
        rows = v.transpose(-2, -1).reshape(B * H * D, 1, T)
        return F.conv1d(rows, taps, padding=1).view(B, H, D, T).transpose(-2, -1)
        """,
    ),
    _LEAK.cheat(
        "convolution padded on the right",
        CD,
        "k = k + 0.5 * F.pad(k, (0, 0, 0, 1))[:, :, 1:]\n",
        SCORES,
        SOFTMAX,
    ),
    _LEAK.cheat(
        "mean of each block of four, the unfinished one too",
        MM,
        """
        B, H, T, D = k.shape
        padded = F.pad(k, (0, 0, 0, -T % 4))
        means = padded.view(B, H, -1, 4, D).mean(dim=3, keepdim=True)
        k = k + means.expand(-1, -1, -1, 4, -1).reshape(B, H, -1, D)[:, :, :T]
        """,
        SCORES,
        SOFTMAX,
    ),
    _LEAK.cheat(
        "state of a chunk read at its first position",
        TTR,
        """
        B, H, T, D = v.shape
        v = F.pad(v, (0, 0, 0, -T % 8)).view(B, H, -1, 8, D)
        return v.sum(dim=3).cumsum(2).repeat_interleave(8, dim=2)[:, :, :T]
        """,
    ),
    _LEAK.cheat(
        "maximum over the whole row",
        CD,
        SCORES,
        "e = (s - s.amax(dim=-1, keepdim=True)).exp() * mask\nreturn e",
    ),
    _LEAK.cheat(
        "standardised over time",
        CD,
        "k = k / (k.var(dim=2, keepdim=True) + 0.1).sqrt()\n",
        SCORES,
        SOFTMAX,
    ),
    _LEAK.cheat(
        "layer norm over time",
        MM,
        "k = F.layer_norm(k.transpose(-2, -1), (k.shape[2],)).transpose(-2, -1)\n",
        SCORES,
        SOFTMAX,
    ),
    _LEAK.cheat(
        "unit norm over time",
        TTR,
        "k = F.normalize(k, dim=2)\n",
        SCORES,
        WEIGHTS,
        _APPLY,
    ),
    _LEAK.cheat(
        "top-k over the whole row",
        CD,
        SCORES,
        """
        best = s.topk(min(4, s.shape[-1]), dim=-1).values[..., -1:]
        return torch.sigmoid(s) * (s >= best) * mask
        """,
    ),
    _LEAK.cheat(
        "sorted before it is masked",
        MM,
        SCORES,
        "rank = s.sort(dim=-1).values\ns = s + 0.1 * rank\n",
        SOFTMAX,
    ),
    _LEAK.cheat(
        "values of the best key of the whole row",
        TTR,
        SCORES,
        """
        best = s.argmax(dim=-1)[..., None].expand(-1, -1, -1, v.shape[-1])
        """,
        WEIGHTS,
        "return a @ v + v.gather(2, best)",
    ),
    _LEAK.cheat(
        "median over time", CD, "k = k - k.median(dim=2, keepdim=True).values\n", SCORES, SOFTMAX
    ),
    _LEAK.cheat(
        "gather from the next position",
        TTR,
        """
        T = v.shape[2]
        following = (torch.arange(T, device=v.device) + 1).clamp(max=T - 1)
        return v.index_select(2, following)
        """,
    ),
    _LEAK.cheat(
        "decay gate one step late",
        CD,
        SCORES,
        """
        log_decay = F.logsigmoid(self.gate(x)).transpose(1, 2)
        late = F.pad(log_decay[..., 1:], (0, 1))
        c = late.cumsum(-1)
        s = s + c[..., :, None] - c[..., None, :]
        """,
        SOFTMAX,
        members="self.gate = nn.Linear(hidden_dim, num_heads)",
    ),
    _LEAK.cheat(
        "einsum over the wrong index",
        TTR,
        SCORES,
        WEIGHTS,
        'return torch.einsum("bhji,bhjd->bhid", a, v)',
    ),
    _LEAK.cheat(
        "row sums taken over the wrong axis",
        CD,
        SCORES,
        WEIGHTS,
        "return a / (a.sum(dim=-2, keepdim=True) + 0.1)",
    ),
    _LEAK.cheat(
        "solve with the full matrix of keys",
        TTR,
        """
        gram = k.transpose(-2, -1) @ k
        eye = torch.eye(k.shape[-1], device=k.device, dtype=k.dtype)
        return q @ torch.linalg.solve(gram + eye, k.transpose(-2, -1) @ v)
        """,
    ),
    _LEAK.cheat(
        "powers of an unmasked matrix",
        MM,
        SCORES,
        "a = s.softmax(dim=-1)\nreturn a + a @ a",
    ),
    _LEAK.cheat(
        "last token as a summary",
        CD,
        "q = q + x[:, -1:].unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)\n",
        SCORES,
        SOFTMAX,
    ),
    _LEAK.cheat(
        "half precision drowns a mask of -1e4",
        CD,
        SCORES,
        """
        s = (s + torch.where(mask, 0.0, -8.0)).to(torch.float16).softmax(dim=-1)
        return s.to(torch.float32)
        """,
    ),
    _LEAK.cheat(
        "complex phases summed over all time",
        TTR,
        """
        phase = torch.polar(torch.ones_like(k), k.cumsum(2))
        total = (phase * v).sum(dim=2, keepdim=True)
        return (phase.conj() * total).real
        """,
    ),
    _LEAK.cheat(
        "a view that interleaves two positions",
        TTR,
        """
        B, H, T, D = v.shape
        v = F.pad(v, (0, 0, 0, T % 2))
        mixed = v.view(B, H, -1, 2, D).transpose(3, 4).reshape(B, H, -1, D)
        return mixed[:, :, :T].contiguous()
        """,
    ),
    _LEAK.cheat(
        "written in place into its own row",
        CD,
        SCORES,
        WEIGHTS,
        "a = a.clone()\na[:, :, 0, 1:] += k[:, :, 1:, 0]\nreturn a",
    ),
)
