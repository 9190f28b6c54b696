"""An observer of the operators that a computation dispatches; they run as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OperatorObserver(TorchDispatchMode, ABC):
    """Hands every operator that is dispatched below it to ``observe``, with its result."""

    @abstractmethod
    def observe(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Called after ``func(*args, **kwargs)`` gave ``result``."""

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.observe(func, args, kwargs, result)
        return result


def tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dictionaries, in order."""
    return [item for item in tree_leaves(value) if isinstance(item, torch.Tensor)]
