"""Forward operations of a program, counted while it runs on meta tensors.

Products are counted by torch's own formulas (2 per multiply-add); every other operator that is not
a view counts one per element that it reads or writes, so that elementwise compute is not free;
solves, factorisations, transforms and sorts count by their usual leading terms. What is put into a
slice of a tensor counts by the slice: it stands for a write in place, and nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry

from openevolve_unified.candidate.program.observe import OperatorObserver, tensors_in


class CostCounter(OperatorObserver):
    """Adds up ``flops`` of everything dispatched below it."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0

    def observe(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Add what ``func`` costs."""
        self.flops += _flops(func, args, kwargs, result)


def product_flops(
    func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> float:
    """Operations of a product of matrices or a convolution, 2 per multiply-add; 0 for the rest."""
    formula = flop_registry.get(func._overloadpacket)
    return 0.0 if formula is None else float(formula(*args, **kwargs, out_val=result))


def _flops(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> float:
    products = product_flops(func, args, kwargs, result)
    if products:
        return products
    name = func._schema.name.removeprefix("aten::")
    if func.is_view or name in _FREE:
        return 0.0
    outputs = tensors_in(result)
    inputs = tensors_in((args, kwargs))
    special = _SPECIAL.get(name)
    if special is not None and inputs:
        return special(inputs, outputs)
    return float(max((tensor.numel() for tensor in (*outputs, *inputs)), default=0))


def _per_row(factor: float) -> Callable[[list[torch.Tensor], list[torch.Tensor]], float]:
    """``factor`` times the matrix size for each element of the first output."""
    return lambda inputs, outputs: factor * outputs[0].numel() * inputs[0].shape[-1]


def _factorisation(factor: float) -> Callable[[list[torch.Tensor], list[torch.Tensor]], float]:
    return lambda inputs, outputs: factor * inputs[0].numel() * inputs[0].shape[-1]


def _solve(inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> float:
    size = inputs[0].shape[-1]
    return inputs[0].numel() * size * 2 / 3 + 2 * outputs[0].numel() * size


def _fourier(inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> float:
    largest = max(inputs[0].numel(), outputs[0].numel())
    length = max(inputs[0].shape[-1], outputs[0].shape[-1], 2)
    return 5 * largest * math.log2(length)


def _ordering(inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> float:
    return inputs[0].numel() * math.log2(max(*inputs[0].shape, 2))


_FREE = frozenset(("_unsafe_view", "_reshape_alias", "lift_fresh"))
"""Views that torch does not declare as such."""
_SPECIAL: dict[str, Callable[[list[torch.Tensor], list[torch.Tensor]], float]] = {
    "linalg_solve_triangular": _per_row(1.0),
    "triangular_solve": _per_row(1.0),
    "cholesky_solve": lambda i, o: 2.0 * o[0].numel() * i[-1].shape[-1],
    "linalg_lu_solve": lambda i, o: 2.0 * o[0].numel() * i[0].shape[-1],
    "linalg_cholesky_ex": _factorisation(1 / 3),
    "cholesky": _factorisation(1 / 3),
    "cholesky_inverse": _factorisation(2.0),
    "linalg_lu_factor_ex": _factorisation(2 / 3),
    "linalg_inv_ex": _factorisation(2.0),
    "_linalg_solve_ex": _solve,
    "linalg_qr": _factorisation(4.0),
    "_linalg_eigh": _factorisation(9.0),
    "_linalg_svd": _factorisation(20.0),
    "linalg_matrix_exp": _factorisation(20.0),
    "_linalg_det": _factorisation(2 / 3),
    "_linalg_slogdet": _factorisation(2 / 3),
    "linalg_lstsq": _factorisation(4.0),
    "_fft_c2c": _fourier,
    "_fft_r2c": _fourier,
    "_fft_c2r": _fourier,
    "sort": _ordering,
    "topk": _ordering,
    "kthvalue": _ordering,
    **dict.fromkeys(
        ("slice_scatter", "select_scatter", "diagonal_scatter"), lambda i, o: float(i[1].numel())
    ),
    "_cdist_forward": lambda i, o: 3.0 * o[0].numel() * i[0].shape[-1],
}
