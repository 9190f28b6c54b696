"""Trial tasks: what an executor is tried out with; ``tests/execution/executor_test_case.py`` does.

They import no torch. Every way in which a task can end has one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openevolve_unified.errors import CandidateError, ConfigError

Emit = Callable[[dict[str, Any]], None]
_MEET_S = 60.0


def echo(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Return the arguments and the process's number; ``emit`` them first as an event."""
    emit({"kind": "trial", **arguments})
    return {"arguments": arguments, "pid": os.getpid()}


def wait(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Emit the process's number, then take ``seconds``."""
    emit({"kind": "trial", "pid": os.getpid()})
    time.sleep(arguments["seconds"])
    return {"pid": os.getpid()}


def meet(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Wait until ``count`` processes have left their numbers in ``folder``; return those."""
    folder = Path(arguments["folder"])
    (folder / str(os.getpid())).touch()
    limit = time.monotonic() + _MEET_S
    while len(found := sorted(int(path.name) for path in folder.iterdir())) < arguments["count"]:
        if time.monotonic() > limit:
            raise TimeoutError(f"{len(found)} processes came in {_MEET_S:.0f} s")
        time.sleep(0.02)
    return {"pids": found}


def refuse_candidate(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Raise a ``CandidateError``."""
    raise CandidateError("trace", arguments["reason"])


def refuse_config(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Raise a ``ConfigError``."""
    raise ConfigError(arguments["reason"])


def fail(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Raise what nobody expects."""
    raise ZeroDivisionError(arguments["reason"])


def die(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """End the process without a word, as long as the file ``until`` does not exist; then echo."""
    if os.path.exists(arguments["until"]):
        return echo(arguments, emit)
    with open(arguments["until"], "w"):
        pass
    os.kill(os.getpid(), signal.SIGTERM if arguments["gently"] else signal.SIGKILL)
    time.sleep(60)
    return {}


TASKS = (echo, wait, meet, refuse_candidate, refuse_config, fail, die)
