"""The outcome of a task, as plain data: performed on one side of a border, read on the other.

A refused candidate, a wrong set-up, a lack of memory and a bug are four different messages, so no
exception object ever crosses the border.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from openevolve_unified.errors import CandidateError, ConfigError

OUT_OF_MEMORY = "out_of_memory"
LOST = "lost"
"""The process that performed the task is of no more use; another one may succeed."""
RETIRES = "retires"
"""True where the process has done its task and should do no other; see ``lifetime``."""
_PACKAGE = "openevolve_unified"
_TASK_MODULE = re.compile(r"([a-z_]+\.)+tasks")
_LACKS_OF_MEMORY = (
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""What the CPU's allocator, cuBLAS and the driver say, in errors of no type of their own."""


def perform(
    function: str, arguments: dict[str, Any], emit: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run the task function of this dotted name here; every ending is a message.

    Warnings that it logs become events of the kind ``notice``.
    """
    try:
        with _warnings_as_notices(emit):
            return {"result": find_task(function)(arguments, emit)}
    except CandidateError as error:
        return {"rejected": {"stage": error.stage, "reason": error.reason}}
    except ConfigError as error:
        return {"config_error": str(error)}
    except Exception as error:  # the parent raises it with this traceback
        if _is_lack_of_memory(error):
            return {OUT_OF_MEMORY: _one_line(error)}
        if _is_device_failure(error):
            return {LOST: f"its device failed: {_one_line(error)}"}
        return {"crash": traceback.format_exc()}


def find_task(function: str) -> Callable[..., dict[str, Any]]:
    """The function of this dotted name, for example ``evaluation.tasks.train``.

    Only what a module of this package that is called ``tasks`` lists in its ``TASKS`` is a task.

    Raises:
        ValueError: the name is not one of a task.
    """
    module_name, _, name = function.rpartition(".")
    if not _TASK_MODULE.fullmatch(module_name):
        raise ValueError(f"task: got {function!r}, wanted ROOM.tasks.FUNCTION of this package")
    module = importlib.import_module(f"{_PACKAGE}.{module_name}")
    for task in module.TASKS:
        if task.__name__ == name:
            return task
    raise ValueError(f"task: {_PACKAGE}.{module_name} lists no {name!r} in its TASKS")


def result_of(message: dict[str, Any]) -> dict[str, Any]:
    """The result in ``message``, or the error that it stands for.

    Raises:
        CandidateError, ConfigError: raised by the task.
        RuntimeError: the task has a bug.
    """
    if "rejected" in message:
        raise CandidateError(message["rejected"]["stage"], message["rejected"]["reason"])
    if "config_error" in message:
        raise ConfigError(message["config_error"])
    if "crash" in message:
        raise RuntimeError(f"a worker task failed:\n{message['crash']}")
    return message["result"]


def _is_device_failure(error: Exception) -> bool:
    """After such an error every further call of this process to the device fails too."""
    import torch

    return isinstance(error, torch.AcceleratorError)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _is_lack_of_memory(error: Exception) -> bool:
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error) for words in _LACKS_OF_MEMORY)


@contextlib.contextmanager
def _warnings_as_notices(emit: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emit({"kind": "notice", "message": record.getMessage()})

    logger, handler = logging.getLogger("openevolve_unified"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
