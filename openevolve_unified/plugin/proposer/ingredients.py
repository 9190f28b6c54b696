"""The vocabulary of the grammar proposer: published parts of attention, one per slot.

A slot is a design decision; its first ingredient is the one that plain softmax attention has. Each
ingredient names the notations that can express it (a difference of two softmaxes, for example, is
no coefficient dynamics), so the three searches stay distinct; the sources are arXiv ids.

The full delta rule costs more than the 10% of extra operations that a candidate may spend at every
shipped size where a whole matrix is asked for, so its kernels have keys of half the width, and
coefficient dynamics and the matrix mixer have its first-order truncation beside other kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.notations import CD, MM, TTR

ALL = (CD, TTR, MM)


@dataclass(frozen=True)
class Ingredient:
    """One choice for one slot."""

    slot: str
    name: str
    title: str
    source: str
    """arXiv id of the paper."""
    frameworks: tuple[str, ...] = ALL


INGREDIENTS: tuple[Ingredient, ...] = (
    Ingredient("kernel", "softmax", "softmax weights", "1706.03762"),
    Ingredient("kernel", "sink", "softmax with a learned sink that takes no value", "2309.17453"),
    Ingredient("kernel", "sigmoid", "sigmoid weights, bias -log(position)", "2409.04431", (CD, MM)),
    Ingredient("kernel", "relu", "rectified weights over position", "2309.08586", (CD, MM)),
    Ingredient("kernel", "elu", "linear attention, features elu + 1", "2006.16236"),
    Ingredient("kernel", "taylor", "second-order Taylor expansion of exp", "2402.18668"),
    Ingredient("kernel", "stick_breaking", "stick-breaking weights", "2410.17980", (TTR, MM)),
    Ingredient("kernel", "delta_rule", "delta rule, half-width unit keys", "2406.06484", (TTR,)),
    Ingredient("kernel", "kimi_delta", "delta rule, half width, decay per channel", "2510.26692"),
    Ingredient("kernel", "delta_product", "two delta steps per token, half width", "2502.10297"),
    Ingredient(
        "kernel", "rwkv7", "delta rule, half width, rate per channel", "2503.14456", (CD, MM)
    ),
    Ingredient("keys", "plain_keys", "queries and keys as projected", "1706.03762"),
    Ingredient("keys", "qk_norm", "unit queries and keys, learned gain", "2010.04245"),
    Ingredient("keys", "key_norm", "keys of equal norm", "2501.12352"),
    Ingredient("temperature", "fixed_temperature", "1 / sqrt(head_dim)", "1706.03762"),
    Ingredient("temperature", "learned_temperature", "learned bandwidth per head", "2501.12352"),
    Ingredient("temperature", "log_length", "sharper with the log of the position", "2501.19399"),
    Ingredient("temperature", "softcap", "scores capped by tanh", "2408.00118"),
    Ingredient("shift", "no_shift", "keys see their own token", "1706.03762"),
    Ingredient("shift", "key_shift", "keys mixed with the previous token's", "2305.13048"),
    Ingredient("rotation", "no_rotation", "no rotation", "1706.03762"),
    Ingredient("rotation", "rope", "rotary positions", "2104.09864"),
    Ingredient("decay", "no_decay", "no forgetting", "1706.03762"),
    Ingredient("decay", "alibi", "learned constant decay per head", "2108.12409"),
    Ingredient("decay", "forget_gate", "data-dependent forget gate", "2503.02130"),
    Ingredient("decay", "kerple", "logarithmic decay with distance", "2205.09921", (TTR, MM)),
    Ingredient("decay", "channel_decay", "learned decay per channel", "2312.06635", (CD, MM)),
    Ingredient("decay", "tied_decay", "keys are what their decay lets go", "2404.07904", (CD, MM)),
    Ingredient("horizon", "long_memory", "decays start at about 64 tokens", "2307.08621"),
    Ingredient("horizon", "short_memory", "decays start at about 8 tokens", "2307.08621"),
    Ingredient("write", "plain_write", "every token written alike", "1706.03762"),
    Ingredient("write", "input_gate", "data-dependent input gate", "2405.04517"),
    Ingredient("write", "gaussian", "Gaussian kernel: key norms count", "2501.12352", (TTR,)),
    Ingredient("near", "no_near", "no bias for near tokens", "1706.03762"),
    Ingredient("near", "near_taps", "learned bias for the eight nearest", "1910.10683", (TTR, MM)),
    Ingredient("near", "t5_buckets", "learned bias by bucket of distance", "1910.10683", (TTR, MM)),
    Ingredient("reach", "whole_past", "every earlier token", "1706.03762"),
    Ingredient("reach", "sliding_window", "the last 32 tokens", "2310.06825", (TTR, MM)),
    Ingredient("erase", "no_erase", "nothing erased", "1706.03762"),
    Ingredient("erase", "one_step_delta", "delta rule cut after one step", "2406.06484", (CD, MM)),
    Ingredient("sum", "single", "one matrix", "1706.03762"),
    Ingredient("sum", "differential", "difference of two softmaxes", "2410.05258", (MM,)),
    Ingredient("sum", "toeplitz_taps", "plus a short causal convolution", "2305.04749", (MM,)),
    Ingredient("sum", "free_diagonal", "plus a data-dependent diagonal", "2407.09941", (MM,)),
    Ingredient("sum", "moving_average", "blended with a moving average", "2209.10655", (MM,)),
    Ingredient("sum", "local_slope", "local linear correction", "2605.29157", (TTR,)),
    Ingredient("heads", "separate_heads", "heads that do not mix", "1706.03762"),
    Ingredient(
        "heads", "talking_heads", "scores and weights mixed over heads", "2003.02436", (MM,)
    ),
)

BY_NAME: dict[str, Ingredient] = {item.name: item for item in INGREDIENTS}
SLOTS: tuple[str, ...] = tuple(dict.fromkeys(item.slot for item in INGREDIENTS))


def default_of(slot: str) -> str:
    """The ingredient that softmax attention has in this slot."""
    return next(item.name for item in INGREDIENTS if item.slot == slot)


def choices(slot: str, framework: str) -> tuple[str, ...]:
    """The ingredients of a slot that the framework's notation can express; the default first."""
    return tuple(
        item.name for item in INGREDIENTS if item.slot == slot and framework in item.frameworks
    )
