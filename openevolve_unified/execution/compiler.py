"""torch's compiler, left out of the processes that compile nothing.

torch guards some of its own functions against being compiled, those for meta tensors among them.
The guard imports the compiler at its first call: 1.2 s of processor time, where torch itself takes
1.3 s. Where the compiler was never imported nothing can be compiled, and no guard is needed.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

_COMPILER = "torch._dynamo"
_GUARDED = "__dynamo_disable"
"""Where torch's guard keeps the function that it calls."""


def leave_compiler_out() -> None:
    """Let what torch guards now run without a guard, until something imports the compiler.

    Call it after the imports of a process. With a torch that guards in another way it does nothing.
    """
    import torch

    if _COMPILER in sys.modules:
        return
    guard = torch._disable_dynamo(lambda: None).__code__
    for guarded in gc.get_objects():
        if type(guarded) is FunctionType and guarded.__code__ is guard:
            plain = inspect.getclosurevars(guarded).nonlocals["fn"]
            setattr(plain, _GUARDED, _unguarded(guarded, plain))


def _unguarded(guarded: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if _COMPILER not in sys.modules:
            return plain(*args, **kwargs)
        if getattr(plain, _GUARDED, None) is call:
            delattr(plain, _GUARDED)
        return guarded(*args, **kwargs)

    return call
