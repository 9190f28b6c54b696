"""Traffic: bytes of a computation, if every operator read and wrote memory, and its products."""

from __future__ import annotations

from typing import Any

from torch._ops import OpOverload

from openevolve_unified.candidate.program.costs import product_flops
from openevolve_unified.candidate.program.observe import OperatorObserver, tensors_in


class TrafficCounter(OperatorObserver):
    """Adds up ``num_bytes`` of the inputs and outputs of everything that is not a view.

    Beside them ``product_flops``, the operations of matrix products alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0
        self.product_flops = 0.0

    def observe(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Add what ``func`` read, wrote and multiplied."""
        if func.is_view:
            return
        self.product_flops += product_flops(func, args, kwargs, result)
        touched = tensors_in((args, kwargs, result))
        self.num_bytes += sum(tensor.numel() * tensor.element_size() for tensor in touched)
