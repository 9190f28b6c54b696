"""Trial tasks: what an executor is tried out with; ``tests/execution/executor_test_case.py`` does.

They take milliseconds and import no torch. Every way in which a task can end has one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from openevolve_unified.errors import CandidateError, ConfigError

Emit = Callable[[dict[str, Any]], None]


def echo(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Return the arguments and the process's number; ``emit`` them first as an event."""
    emit({"kind": "trial", **arguments})
    return {"arguments": arguments, "pid": os.getpid()}


def wait(arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Emit the process's number, then take ``seconds``."""
    emit({"kind": "trial", "pid": os.getpid()})
    time.sleep(arguments["seconds"])
    return {"pid": os.getpid()}


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


TASKS = (echo, wait, refuse_candidate, refuse_config, fail, die)
