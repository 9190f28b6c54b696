"""Leaks that hide: tiny, behind closed gates, at one length or size, or behind odd inputs."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import SCORES, SOFTMAX, WEIGHTS, Family

_HIDDEN = Family(name="hidden leak", stages=("causality",), reason="position")
_GATE = Family(name="leak behind a gate", stages=("causality",), reason="position")
_NEXT = "leak = torch.ones_like(s).tril(1).triu(1)\n"
_SUM = SCORES + WEIGHTS + _NEXT
_TRANSFORM = "w = torch.fft.irfft(torch.fft.rfft(v, dim=-1), n=v.shape[-1], dim=-1)\n"

CHEATS = (
    _HIDDEN.cheat("leak times 0.001", CD, _SUM, "return a + 1e-3 * leak * s"),
    _HIDDEN.cheat("leak times 0.000001", CD, _SUM, "return a + 1e-6 * leak * s"),
    _HIDDEN.cheat("leak times 1e-12", TTR, _SUM, "return a @ v + 1e-12 * (leak @ v)"),
    _HIDDEN.cheat(
        "tiny leak beside an honest transform",
        TTR,
        _SUM,
        "w = torch.fft.irfft(torch.fft.rfft(v, dim=-1), n=v.shape[-1], dim=-1)\n"
        "return a @ w + 1e-7 * (leak @ v)",
    ),
    _HIDDEN.cheat(
        "leak in rows that are scaled to nothing, beside an honest transform",
        TTR,
        _SUM,
        _TRANSFORM,
        "return 1e-9 * (a @ w + leak @ v)",
    ),
    _HIDDEN.cheat(
        "leak in some rows that are scaled to nothing, beside an honest transform",
        TTR,
        _SUM,
        _TRANSFORM,
        "row = torch.arange(s.shape[-1], device=s.device, dtype=s.dtype)[:, None]\n"
        "return (row > 7).to(s.dtype) * (a @ w) + 1e-9 * (a @ w + leak @ v)",
    ),
    _HIDDEN.cheat(
        "leak beside rows that are scaled up, beside an honest transform",
        TTR,
        _SUM,
        _TRANSFORM,
        "is_odd = torch.arange(s.shape[-1], device=s.device, dtype=s.dtype)[:, None] % 2\n"
        "return (1 + 1e9 * is_odd) * (a @ w) + 1e-3 * (1 - is_odd) * (leak @ v)",
    ),
    _HIDDEN.cheat(
        "leak in some layers only, drawn once per layer",
        CD,
        _SUM,
        "return a + 0.1 * self.ahead * leak",
        members="self.register_buffer('ahead', (torch.rand(1) < 0.3).float())",
    ),
    _HIDDEN.cheat(
        "detached leak: no gradient shows it", CD, _SUM, "return a + (leak * s).detach()"
    ),
    _HIDDEN.cheat(
        "leak through a comparison: no gradient shows it",
        CD,
        SCORES,
        "s = s + (s.sum(dim=-1, keepdim=True) > 0).float() * s\n",
        SOFTMAX,
    ),
    _HIDDEN.cheat(
        "leak of rounded numbers",
        MM,
        SCORES,
        "s = s + s.mean(dim=-1, keepdim=True).round(decimals=3) * s\n",
        SOFTMAX,
    ),
    _GATE.cheat(
        "gate initialised at zero",
        CD,
        _SUM,
        "return a + self.gate * leak",
        members="self.gate = nn.Parameter(torch.zeros(num_heads, 1, 1))",
    ),
    _GATE.cheat(
        "gate whose gradient is zero too",
        TTR,
        _SUM,
        "return (a + self.gate.square() * leak) @ v",
        members="self.gate = nn.Parameter(torch.zeros(num_heads, 1, 1))",
    ),
    _GATE.cheat(
        "linear gate with zero weight and bias",
        MM,
        "gate = self.gate(x).transpose(1, 2)\n",
        SCORES,
        "s = s + (gate * k.sum(-1)).sum(dim=-1)[..., None, None] * s\n",
        SOFTMAX,
        members="""
        self.gate = nn.Linear(hidden_dim, num_heads)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        """,
    ),
    _GATE.cheat(
        "gate that is a sigmoid of -20",
        CD,
        _SUM,
        "return a + torch.sigmoid(self.gate - 20) * leak",
        members="self.gate = nn.Parameter(torch.zeros(num_heads, 1, 1))",
    ),
    _GATE.cheat(
        "gate that opens at large values of a parameter",
        CD,
        _SUM,
        "return a * self.gain + F.relu(self.gain - 3) * leak",
        members="self.gain = nn.Parameter(torch.ones(num_heads, 1, 1))",
    ),
    _GATE.cheat(
        "gate that opens with many updates: a product of zeros",
        MM,
        SCORES,
        "s = s + (self.one * self.two) * s.mean(dim=-1, keepdim=True) * s.sum(-1, True)\n",
        SOFTMAX,
        members="""
        self.one = nn.Parameter(torch.zeros(num_heads, 1, 1))
        self.two = nn.Parameter(torch.ones(num_heads, 1, 1))
        """,
    ),
    _HIDDEN.cheat(
        "leak for large inputs only",
        CD,
        _SUM,
        "return a + leak * F.relu(s.abs() - 12)",
    ),
    _HIDDEN.cheat(
        "leak by an overflow that the maximum of the future causes",
        TTR,
        SCORES,
        """
        e = (s - s.amax(dim=-1, keepdim=True)).clamp(min=-60).exp() * mask
        return (e @ v) / (e.sum(dim=-1, keepdim=True) + 1e-9)
        """,
    ),
    _HIDDEN.cheat(
        "leak at the training length only",
        CD,
        SCORES,
        "s = s + (0.1 * s.flip(-1) if s.shape[-1] > 9 else 0.0)\n",
        SOFTMAX,
    ),
    _HIDDEN.cheat(
        "leak at short lengths only",
        CD,
        SCORES,
        "s = s + (0.1 * s.flip(-1) if s.shape[-1] < 8 else 0.0)\n",
        SOFTMAX,
    ),
    _HIDDEN.cheat(
        "temperature from the length",
        CD,
        SCORES,
        "s = s * (1 + 1 / s.shape[-1])\n",
        SOFTMAX,
        reason="time length",
    ),
    _HIDDEN.cheat(
        "distance to the end as a bias",
        MM,
        SCORES,
        """
        T = s.shape[-1]
        left = torch.arange(T, 0, -1, device=s.device, dtype=s.dtype)
        s = s + left[:, None] * torch.sigmoid(s)
        """,
        SOFTMAX,
        reason="time length",
    ),
    _HIDDEN.cheat(
        "leak at the widest size only",
        CD,
        SCORES,
        "s = s + (0.1 * s.flip(-1) if self.hidden_dim >= 32 else 0.0)\n",
        SOFTMAX,
        stages=("sizes",),
        reason="other operators",
    ),
    _HIDDEN.cheat(
        "leak in train mode only, spelled so that the policy does not see it",
        CD,
        SCORES,
        "mode = self\ns = s + (0.1 * s.flip(-1) if mode.training else 0.0)\n",
        SOFTMAX,
        stages=("trace",),
        reason="train and eval",
    ),
    _HIDDEN.cheat(
        "leak in eval mode only",
        MM,
        SCORES,
        "s = s if self.training else s + 0.1 * s.flip(-1)\n",
        SOFTMAX,
        stages=("policy",),
        reason="train and eval",
    ),
    _HIDDEN.cheat(
        "leak at one batch size only",
        CD,
        SCORES,
        "s = s + (0.1 * s.flip(-1) if q.shape[0] == 3 else 0.0)\n",
        SOFTMAX,
        stages=("trace",),
        reason="batch size",
    ),
)
