"""Hidden NaN, behind certain zeros: a product with one is zero for finite partners only.

What overflows on purpose makes the zeros of a mask NaN, and a later ``isnan`` reads from it what
the mask should hide. So every tensor carries how late a position may show itself that way, and an
operator that may turn NaN into a number is taken to read it. Then a proof holds wherever the output
is finite, whatever lies between.
"""

from __future__ import annotations

import dataclasses

import torch
from torch._ops import OpOverload

from openevolve_unified.candidate.checks.dependence.reach import Reach, spread
from openevolve_unified.candidate.checks.dependence.rules import MOVES, PUTS, Bound, reaches


def with_hidden(func: OpOverload, bound: Bound, reach: Reach) -> Reach:
    """``reach``, the output of ``func``, with what may hide in it, or spread over all of it."""
    name = func._schema.name.removeprefix("aten::")
    parts = reaches(list(bound.values()))
    hidden = max((part.hidden for part in parts), default=0.0)
    if any(_absorbs(name, part) for part in parts):
        hidden = max(hidden, *(part.latest() for part in parts))
    if hidden == 0:
        return reach
    if _passes_nan_on(name, bound, parts, reach):
        return dataclasses.replace(reach, hidden=hidden)
    latest = Reach(reach.value, torch.full((1,), hidden), torch.ones(1))
    return spread(reach.value, [reach, latest])


def _absorbs(name: str, part: Reach) -> bool:
    """Whether a rule lets a certain number of ``part`` absorb its partner."""
    return bool(
        (name in _ABSORBED_BY_ZERO and part.is_surely(0).any())
        or (name in _ABSORBED_BY_INFINITY and part.is_surely_infinite().any())
    )


def _passes_nan_on(name: str, bound: Bound, parts: list[Reach], reach: Reach) -> bool:
    """Whether an output element is NaN when an input element that enters it is."""
    hiding = [part.value for part in parts if part.hidden] + [reach.value]
    if not all(value.is_floating_point() for value in hiding):
        return False  # a complex number with a NaN part may have an infinite magnitude
    if name == "pow":
        exponent = bound["exponent"]  # anything to the power of 0 is 1
        return isinstance(exponent, (int, float)) and exponent != 0
    if name == "linalg_vector_norm":
        return bound.get("ord", 2) in (1, 2)  # the norm of order 0 counts
    return name in PASSING or name in PUTS or (name in MOVES and "dtype" not in bound)


_PRODUCTS = "mul div mm bmm mv dot addmm baddbmm linalg_solve_triangular"
_SUMS = "add sub _softmax _log_softmax"
_OTHERS = """
where masked_fill _to_copy clone alias detach rsub neg abs square sqrt rsqrt reciprocal exp exp2
expm1 log log2 log1p sin cos tanh sigmoid relu silu gelu softplus leaky_relu elu maximum minimum
log_sigmoid_forward clamp clamp_min clamp_max lerp addcmul addcdiv erf sum mean amax amin prod var
std logsumexp cumsum cumprod logcumsumexp native_layer_norm _fused_rms_norm
"""
_ABSORBED_BY_ZERO = frozenset(_PRODUCTS.split())
_ABSORBED_BY_INFINITY = frozenset(_SUMS.split())
PASSING = frozenset(" ".join((_PRODUCTS, _SUMS, _OTHERS)).split())
"""Operators whose output is NaN where what enters it is; on real numbers only."""
