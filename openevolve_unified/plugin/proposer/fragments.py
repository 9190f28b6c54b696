"""Pieces of source that the three notations share: parameters, preparation, decays, weights.

Everything is text. Names in the text: q, k, v (batch, heads, time, head_dim), x (batch, time,
hidden_dim), mask bool (time, time). Positions are counted off the mask, so that a program holds for
any length and never asks for a device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from openevolve_unified.notations import TTR
from openevolve_unified.plugin.proposer import delta_rules
from openevolve_unified.plugin.proposer.genome import Genome

_MEMORY_TOKENS = {"long_memory": 64, "short_memory": 8}
NUM_TAPS = 8
WINDOW = 32
"""Tokens that a sliding window shows, the present one among them."""
POSITION = "position = mask.sum(dim=-1, keepdim=True).to(q.dtype)"
DISTANCE = "distance = (position - position.transpose(0, 1)).clamp(min=0)"


@dataclass(frozen=True)
class Method:
    """One method of a rendered class."""

    signature: str
    summary: str
    lines: tuple[str, ...]


def parameter_lines(genome: Genome) -> list[str]:
    """Statements that create the parameters of the chosen ingredients, in a fixed order."""
    memory = _MEMORY_TOKENS[genome.choice("horizon")]
    ends = f"math.log(1 / {memory // 4}), math.log(1 / {memory * 4})"
    tap_shape = f"num_heads, {NUM_TAPS}"
    if genome.framework == TTR:
        tap_shape = f"{NUM_TAPS}, num_heads"
    per_head = "num_heads, 1, 1"
    gate = "nn.Linear(hidden_dim, num_heads)"
    rates = f"rates = torch.linspace({ends}, num_heads)\n"
    channels = f"rates = torch.linspace({ends}, self.head_dim)\n"
    bound = "self.bound = nn.Parameter(torch.full((num_heads, 1, self.head_dim), {}))"
    lines = {
        "sink": f"self.sink = nn.Parameter(torch.zeros({per_head}))",
        "delta_rule": f"self.step = {gate}",
        "qk_norm": f"self.gain = nn.Parameter(torch.full(({per_head}), math.sqrt(self.head_dim)))",
        "learned_temperature": f"self.log_temperature = nn.Parameter(torch.zeros({per_head}))",
        "log_length": f"self.length_gain = nn.Parameter(torch.full(({per_head}), 0.1))",
        "key_shift": "self.shift = nn.Parameter(torch.zeros(num_heads, 1, self.head_dim))",
        "alibi": f"{rates}self.log_slope = nn.Parameter(rates.unsqueeze(-1))",
        "forget_gate": f"self.forget = {gate}",
        "kerple": f"self.height = nn.Parameter(torch.zeros({per_head}))\n"
        f"self.width = nn.Parameter(torch.zeros({per_head}))",
        "channel_decay": f"{channels}self.log_rate = nn.Parameter(rates.repeat(num_heads, 1, 1))",
        "tied_decay": bound.format(_logit(1 - 1 / memory)),
        "input_gate": f"self.input_gate = {gate}",
        "t5_buckets": "self.near = nn.Parameter(torch.zeros(num_heads, 32))",
        "near_taps": f"self.near = nn.Parameter(torch.zeros({tap_shape}))",
        "one_step_delta": f"self.erase = {gate}",
        "differential": f"self.share = nn.Parameter(torch.full(({per_head}), {_logit(0.2)}))",
        "toeplitz_taps": f"self.taps = nn.Parameter(torch.zeros({tap_shape}))",
        "free_diagonal": f"self.own = {gate}",
        "moving_average": f"self.share = nn.Parameter(torch.full(({per_head}), {_logit(0.1)}))\n"
        f"{rates}self.average_log_rate = nn.Parameter(rates.unsqueeze(-1))",
        "talking_heads": "self.before = nn.Parameter(torch.eye(num_heads))\n"
        "self.after = nn.Parameter(torch.eye(num_heads))",
        "local_slope": "self.slope = nn.Linear(hidden_dim, num_heads * min(4, self.head_dim))",
        **delta_rules.PARAMETERS,
    }
    return [line for name in genome.names for line in lines.get(name, "").splitlines()]


def preparation_lines(genome: Genome) -> list[str]:
    """Statements that turn the projected q and k into the ones that are compared."""
    lines = []
    if "key_shift" in genome:
        lines += [
            "previous = F.pad(k[:, :, :-1], (0, 0, 1, 0))",
            "share = torch.sigmoid(self.shift)",
            "k = (1 - share) * k + share * previous",
        ]
    if "qk_norm" in genome:
        lines += ["q = F.normalize(q, dim=-1) * self.gain", "k = F.normalize(k, dim=-1)"]
    if "key_norm" in genome:
        lines.append("k = F.normalize(k, dim=-1) * math.sqrt(self.head_dim)")
    if "elu" in genome:
        lines += ["q = F.elu(q) + 1", "k = F.elu(k) + 1"]
    if "learned_temperature" in genome:
        lines.append("q = q * self.log_temperature.exp()")
    if "log_length" in genome:
        lines += [POSITION, "q = q * (1 + self.length_gain * position.log())"]
    return lines


def scaled_key(genome: Genome, key: str = "k") -> str:
    """The expression of a key with the fixed part of the temperature."""
    if "qk_norm" in genome or "elu" in genome:
        return key
    if "tied_decay" in genome:
        return f"torch.sigmoid(-{key}) / math.sqrt({key}.shape[-1])"
    return f"{key} / math.sqrt({key}.shape[-1])"


def log_decay(genome: Genome, like: str) -> str | None:
    """The expression of log a_t (batch, heads, time), or None; ``like`` has this shape and more."""
    if "alibi" in genome:
        return f"(-self.log_slope.exp()).expand({like}.shape[:-1])"
    if "forget_gate" in genome:
        offset = delta_rules.GATE_OFFSET[genome.choice("horizon")]
        return f"F.logsigmoid(self.forget(x) + {offset}).transpose(1, 2)"
    return None


def channel_decay_lines(genome: Genome, name: str) -> list[str]:
    """Statements that set ``name`` to log a_t (batch, heads, time, head_dim); none without one."""
    if "channel_decay" in genome:
        return [f"{name} = (-self.log_rate.exp()).expand(k.shape)"]
    if "tied_decay" in genome:
        return [
            "free = F.logsigmoid(-self.bound) + F.logsigmoid(k)",
            f"{name} = torch.logaddexp(F.logsigmoid(self.bound), free)",
        ]
    return []


def log_gate() -> str:
    """The expression of an input gate's logarithm for every column, (batch, heads, 1, time)."""
    return "F.logsigmoid(self.input_gate(x)).transpose(1, 2).unsqueeze(-2)"


def kerple_lines() -> list[str]:
    """Statements for a bias that falls with the logarithm of the distance."""
    return [
        POSITION,
        DISTANCE,
        "far = -F.softplus(self.height) * torch.log1p(F.softplus(self.width) * distance)",
    ]


def bucket_method() -> Method:
    """A learned number for every distance: one each for 0 to 15, then 16 that widen up to 128."""
    return Method(
        "by_distance(self, z)",
        "The bias of every distance, (heads, time).",
        (
            "distance = torch.arange(z.shape[-2], device=z.device, dtype=z.dtype)",
            "far = 16 + (distance.clamp(min=16) / 16).log() * (16 / math.log(8))",
            "bucket = torch.where(distance < 16, distance, far.floor().clamp(max=31))",
            "every = torch.arange(32, device=z.device, dtype=z.dtype).unsqueeze(-1)",
            "return self.near @ (bucket == every).to(z.dtype)",
        ),
    )


def reach(genome: Genome) -> str:
    """The expression of the mask of what may be read in the end."""
    return f"mask.triu({1 - WINDOW})" if "sliding_window" in genome else "mask"


def erased_method() -> Method:
    """First-order delta rule: what the next token's delta step leaves of an impulse."""
    return Method(
        "erased(self, impulse, k, x)",
        "What is left of impulse j once token j + 1 has erased its own direction.",
        (
            "direction = F.pad(F.normalize(k, dim=-1)[:, :, 1:], (0, 0, 0, 1))",
            "strength = F.pad(torch.sigmoid(self.erase(x)).transpose(1, 2)[:, :, 1:], (0, 1))",
            "overlap = strength * (direction * impulse).sum(dim=-1)",
            "return impulse - overlap.unsqueeze(-1) * direction",
        ),
    )


def turn_method() -> Method:
    """Rotary positions for the notations without a transition."""
    return Method(
        "turn(self, z, position)",
        "Rotate pairs of channels by an angle that grows with the position.",
        (
            *frequency_lines("z"),
            "angle = position * rate",
            "first, second = z.chunk(2, dim=-1)",
            "turned = (first * angle.cos() - second * angle.sin(),",
            "          first * angle.sin() + second * angle.cos())",
            "return torch.cat(turned, dim=-1)",
        ),
    )


def frequency_lines(like: str) -> list[str]:
    """Statements for the rotation rates of rotary positions, radians per token."""
    return [
        "half = self.head_dim // 2",
        f"order = torch.arange(half, device={like}.device, dtype={like}.dtype)",
        "rate = torch.exp(order * (-math.log(10000.0) / half))",
    ]


def stick_breaking_lines(scores: str) -> list[str]:
    """Statements for stick-breaking weights; what no earlier token took goes to the own one."""
    return [
        "past = mask.tril(-1)",
        f"passed = F.logsigmoid(-({scores})).masked_fill(~past, 0.0)",
        "after = passed.flip(-1).cumsum(dim=-1).flip(-1)",
        "between = F.pad(after[..., 1:], (0, 1))",
        f"taken = (F.logsigmoid({scores}) + between).exp()",
        "left = after[..., :1].exp()",
        "weights = torch.where(past, taken, left).masked_fill(~mask, 0.0)",
    ]


def sink_lines(logits: str) -> list[str]:
    """Statements for a softmax whose row also sums over a learned logit without a value."""
    grouped = f"({logits})" if " " in logits else logits
    return [
        f'logits = {grouped}.masked_fill(~mask, float("-inf"))',
        "kept = torch.sigmoid(logits.logsumexp(dim=-1, keepdim=True) - self.sink)",
        "weights = logits.softmax(dim=-1) * kept",
    ]


def _logit(share: float) -> str:
    return f"{math.log(share / (1 - share)):.4f}"
