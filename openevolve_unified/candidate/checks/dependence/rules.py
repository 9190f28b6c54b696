"""Rules: how each operator passes dependence on; one without a rule mixes everything.

Sound for finite values: a product with a certain zero is zero, and minus infinity stays so under
the addition of anything; ``hidden`` follows the rest. A rule may claim too much dependence, never
too little.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch._ops import OpOverload

from openevolve_unified.candidate.checks.dependence.products import product, solve_triangular
from openevolve_unified.candidate.checks.dependence.reach import Reach, join, spread
from openevolve_unified.candidate.program.operators import POINTWISE

Bound: TypeAlias = dict[str, Any]
"""Arguments by their schema names; tensors stand as their ``Reach``."""
Rule: TypeAlias = Callable[[OpOverload, Bound, torch.Tensor], Reach]


def apply_rule(func: OpOverload, bound: Bound, value: torch.Tensor, index: int) -> Reach:
    """What is known about ``value``, the output of ``func`` with that index."""
    rule = _find_rule(func._schema.name.removeprefix("aten::"), index)
    try:
        reach = rule(func, bound, value) if rule is not None else None
    except (RuntimeError, IndexError, KeyError, TypeError, ValueError):
        reach = None  # a form of the operator that the rule does not know
    if reach is None or reach.late.shape != value.shape or reach.free.shape != value.shape:
        return spread(value, reaches(list(bound.values())))
    return reach


def _find_rule(name: str, index: int) -> Rule | None:
    if name in MOVES:
        return functools.partial(_move, index=index)
    return _RULES.get(name, _elementwise if name in _ELEMENTWISE else None)


def reaches(items: list[Any]) -> list[Reach]:
    """All tensors among arguments, in order."""
    found = []
    for item in items:
        if isinstance(item, Reach):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            found += reaches(list(item))
    return found


def _elementwise(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    return join(value, reaches(list(bound.values())))


def _multiply(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    parts = reaches([bound["self"], bound["other"]])
    zero = torch.zeros(value.shape, dtype=torch.bool)
    for part in parts:
        zero = zero | part.is_surely(0)
    return join(value, parts).settled(zero & (value == 0))


def _divide(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    reach = join(value, reaches([bound["self"], bound["other"]]))
    return reach.settled(bound["self"].is_surely(0) & (value == 0))


def _add(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    parts = reaches([bound["self"], bound["other"]])
    infinite = torch.zeros(value.shape, dtype=torch.bool)
    for part in parts:
        infinite = infinite | part.is_surely_infinite()
    return join(value, parts).settled(infinite & value.isinf())


def _where(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    return _choose(value, bound["condition"], bound["self"], bound["other"])


def _masked_fill(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    return _choose(value, bound["mask"], bound["value"], bound["self"])


def _choose(value: torch.Tensor, condition: Reach, yes: Any, no: Any) -> Reach:
    if not condition.is_certain():
        return join(value, reaches([condition, yes, no]))
    zero = torch.zeros(())
    yes_late, no_late = (side.late if isinstance(side, Reach) else zero for side in (yes, no))
    yes_free, no_free = (side.free if isinstance(side, Reach) else zero for side in (yes, no))
    taken = condition.value.broadcast_to(value.shape)
    return Reach(
        value, torch.where(taken, yes_late, no_late), torch.where(taken, yes_free, no_free)
    )


def _move(func: OpOverload, bound: Bound, value: torch.Tensor, index: int) -> Reach:
    if bound.get("dtype") is not None:
        raise TypeError("the bits of a number as another type: their parts are no moved elements")
    if not all(part.is_certain() for part in reaches([bound.get(name) for name in _INDICES])):
        raise TypeError("which elements move depends on the input")
    late = _call(func, bound, lambda reach: reach.late.contiguous())
    free = _call(func, bound, lambda reach: reach.free.contiguous())
    return Reach(value, late[index], free[index])


def _call(
    func: OpOverload, bound: Bound, pick: Callable[[Reach], torch.Tensor]
) -> list[torch.Tensor]:
    """All outputs of ``func`` on what is picked of each tensor; index tensors stay."""
    plain = {name: _picked(item, pick) for name, item in bound.items() if name not in _INDICES}
    plain |= {
        name: _picked(item, lambda reach: reach.value)
        for name, item in bound.items()
        if name in _INDICES
    }
    if func._schema.name == "aten::constant_pad_nd":
        plain["value"] = 0
    names = [argument.name for argument in func._schema.arguments if not argument.kwarg_only]
    positional = [plain.pop(name) for name in names if name in plain]
    moved = func(*positional, **plain)
    return [moved] if isinstance(moved, torch.Tensor) else list(moved)


def _put(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    """Elements put at certain places, over what was there; a plain number depends on nothing."""
    if bound.get("accumulate") or bound.get("reduce") is not None:
        raise TypeError("sums of elements: more than one enters a place")
    if isinstance(bound.get("value"), (bool, int, float)):
        bound = {**bound, "value": 0}
    return _move(func, bound, value, index=0)


def _add_at(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    """Elements added at certain places to what is there."""
    index, dim = bound["index"], bound["dim"]
    if not index.is_certain():
        raise TypeError("where elements are added depends on the input")
    base, added = bound["self"], bound["src" if "src" in bound else "source"]
    places = index.value
    if func._schema.name == "aten::index_add":
        row = [-1 if axis == dim % base.late.ndim else 1 for axis in range(base.late.ndim)]
        places = places.view(row).expand(added.late.shape)
    both = (
        one.scatter_reduce(dim, places, other.contiguous(), "amax")
        for one, other in ((base.late, added.late), (base.free, added.free))
    )
    return Reach(value, *both)


def _picked(item: Any, pick: Callable[[Reach], torch.Tensor]) -> Any:
    if isinstance(item, Reach):
        return pick(item)
    if isinstance(item, (list, tuple)):
        return [_picked(one, pick) for one in item]
    return item


def _reduce(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    (part,) = reaches(list(bound.values()))
    dims = bound.get("dim")
    if dims is None or dims == []:
        dims = list(range(part.late.ndim))
    keepdim = bool(bound.get("keepdim", False))
    return Reach(value, part.late.amax(dims, keepdim), part.free.amax(dims, keepdim))


def _accumulate(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    (part,), dim = reaches(list(bound.values())), bound["dim"]
    return Reach(value, part.late.cummax(dim).values, part.free.cummax(dim).values)


def _softmax(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    part, dim = bound["self"], bound["dim"]
    reach = _along(value, part, [dim])
    masked = part.is_surely(-torch.inf) & ((value == 0) | (value == -torch.inf))
    return reach.settled(masked)


def _order(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    return _along(value, bound["self"], [bound.get("dim", -1)])


def _matrixwise(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    """Every matrix of a batch on its own, mixing all of its elements."""
    lates = [part.late.amax((-2, -1)) for part in reaches(list(bound.values()))]
    if len({late.shape for late in lates}) != 1:
        raise ValueError("vectors or broadcast batches")
    late = functools.reduce(torch.maximum, lates)
    late = late.view(*late.shape, *[1] * (value.ndim - late.ndim))
    return Reach(value, late.expand(value.shape), torch.ones(value.shape))


def _normalise(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    dims = [-1 - index for index in range(len(bound["normalized_shape"]))]
    row = _along(value, bound["input"], dims)
    others = reaches([bound.get("weight"), bound.get("bias")])
    return join(value, [row, *others]) if value.shape == bound["input"].late.shape else row


def _along(value: torch.Tensor, part: Reach, dims: list[int]) -> Reach:
    """Every element depends on its whole row along ``dims``."""
    late, free = part.late.amax(dims, keepdim=True), part.free.amax(dims, keepdim=True)
    return Reach(value, late.expand(value.shape), free.expand(value.shape))


def _product(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    first, second = _FACTORS[func._schema.name.removeprefix("aten::")]
    reach = product(value, bound[first], bound[second])
    added = reaches([bound.get("self")]) if first != "self" else []
    return join(value, [reach, *added])


def _triangular(func: OpOverload, bound: Bound, value: torch.Tensor) -> Reach:
    if not bound.get("left", True):
        raise TypeError("solves from the right have no rule")
    return solve_triangular(
        value, bound["self"], bound["B"], bound["upper"], bound.get("unitriangular", False)
    )


_INDICES = ("index", "indices")
_ELEMENTWISE = (POINTWISE - {"glu", "prelu", "view_as_real", "view_as_complex"}) | {
    "_to_copy",
    "clone",
    "alias",
    "detach",
}
_MOVE_NAMES = """
view _unsafe_view expand permute transpose t unsqueeze squeeze slice select cat stack split
split_with_sizes unbind flip roll tril triu repeat diagonal diag_embed constant_pad_nd unfold
slice_scatter select_scatter diagonal_scatter index_select gather index
"""
MOVES = frozenset(_MOVE_NAMES.split())
"""Each output element is one of the input's, or a constant zero of the operator's own."""
PUTS = frozenset(("index_put", "index_fill", "index_copy", "scatter"))
"""Each output element is one of the input's or one that is put over it."""
_FACTORS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}
_MATRIXWISE = """
_linalg_solve_ex linalg_cholesky_ex cholesky_solve linalg_inv_ex linalg_lu_factor_ex _linalg_det
_linalg_slogdet linalg_qr _linalg_eigh _linalg_svd linalg_matrix_exp
"""
_REDUCTIONS = """
sum mean amax amin prod all any logsumexp argmax argmin max min median var std var_mean std_mean
linalg_vector_norm nansum count_nonzero aminmax
"""
_RULES: dict[str, Rule] = {
    "mul": _multiply,
    "logical_and": _multiply,
    "bitwise_and": _multiply,
    "div": _divide,
    "add": _add,
    "sub": _add,
    "where": _where,
    "masked_fill": _masked_fill,
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "sort": _order,
    "topk": _order,
    "native_layer_norm": _normalise,
    "_fused_rms_norm": _normalise,
    "linalg_solve_triangular": _triangular,
    "log_sigmoid_forward": _elementwise,
    **dict.fromkeys(_MATRIXWISE.split(), _matrixwise),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"), _accumulate),
    **dict.fromkeys(_FACTORS, _product),
    **dict.fromkeys(PUTS, _put),
    **dict.fromkeys(("index_add", "scatter_add"), _add_at),
}
