"""Kernels that are delta rules, as source: what is erased and written; keys of half the width.

The statements read q, k (batch, heads, time, head_dim) and x, and leave q, ``direction``,
``strength``, ``written`` and, where decays are per channel, their logarithm ``fade``.
"""

from __future__ import annotations

from openevolve_unified.plugin.proposer.genome import Genome

NAMES = ("kimi_delta", "delta_product", "rwkv7")
GATE_OFFSET = {"long_memory": 4.0, "short_memory": 2.0}
"""Of a forget gate: sigmoid(4) keeps about 55 tokens, sigmoid(2) about 8."""

_WIDTH = "half = max(1, self.head_dim // 2)"
PARAMETERS = {
    "kimi_delta": f"{_WIDTH}\n"
    "self.step = nn.Linear(hidden_dim, num_heads)\n"
    "self.fade = nn.Linear(hidden_dim, num_heads * half)",
    "delta_product": f"{_WIDTH}\n"
    "self.step = nn.Linear(hidden_dim, 2 * num_heads)\n"
    "self.second_key = nn.Linear(hidden_dim, num_heads * half)",
    "rwkv7": f"{_WIDTH}\n"
    "self.fade = nn.Linear(hidden_dim, num_heads * half)\n"
    "self.rate = nn.Linear(hidden_dim, num_heads * half)\n"
    "self.removal = nn.Parameter(torch.ones(num_heads, 1, half))\n"
    "self.rewrite = nn.Parameter(torch.ones(num_heads, 1, half))",
}
"""Statements that create the parameters of each."""


def is_delta_rule(genome: Genome) -> bool:
    return genome.choice("kernel") in NAMES


def lines(genome: Genome) -> list[str]:
    """The statements of the genome's kernel."""
    offset = GATE_OFFSET[genome.choice("horizon")]
    return [_WIDTH, *_LINES[genome.choice("kernel")](offset)]


def fade(genome: Genome) -> str:
    """The expression of the log decay per channel."""
    return "None" if "delta_product" in genome else "fade"


def matrix(genome: Genome) -> str:
    """The expression of the matrix, in the notations without a transition."""
    return f"self.delta_steps(q, written, direction, strength, {fade(genome)})"


def _kimi_delta(offset: float) -> list[str]:
    return [
        _UNIT,
        "strength = torch.sigmoid(self.step(x)).transpose(1, 2)",
        "direction, written = k, k * strength.unsqueeze(-1)",
        f"fade = {_by_head('self.fade(x)')}",
        f"fade = F.logsigmoid(fade + {offset})",
    ]


def _delta_product(offset: float) -> list[str]:
    return [
        _UNIT,
        f"other = {_by_head('self.second_key(x)')}",
        "other = F.normalize(other, dim=-1)",
        "strength = 2 * torch.sigmoid(self.step(x)).unflatten(-1, (self.num_heads, 2))",
        "strength = strength.transpose(1, 2)",
        "one, two = k * strength[..., :1], other * strength[..., 1:]",
        "written = one + two * (1 - (other * one).sum(dim=-1, keepdim=True))",
        "direction = torch.stack((k, other), dim=-2)",
    ]


def _rwkv7(offset: float) -> list[str]:
    return [
        "q, k = q[..., :half] / math.sqrt(half), k[..., :half]",
        f"fade = {_by_head('self.fade(x)')}",
        f"fade = -math.exp(-0.5) * torch.sigmoid(fade - {offset})",
        f"rate = torch.sigmoid({_by_head('self.rate(x)')})",
        "direction = F.normalize(k * self.removal, dim=-1) * (-fade).exp()",
        "strength = rate * fade.exp()",
        "written = k * (1 + (rate - 1) * self.rewrite)",
    ]


_UNIT = "q, k = F.normalize(q[..., :half], dim=-1), F.normalize(k[..., :half], dim=-1)"
_LINES = {"kimi_delta": _kimi_delta, "delta_product": _delta_product, "rwkv7": _rwkv7}


def _by_head(gate: str) -> str:
    return f"{gate}.unflatten(-1, (self.num_heads, half)).transpose(1, 2)"
