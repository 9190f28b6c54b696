"""The errors that people see: the experiment, the candidate, or the machine is at fault.

Anything else that is raised is a bug of this package and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from openevolve_unified.stages import Stage


class ConfigError(Exception):
    """The experiment cannot be run as written; one line says what, got, wanted, how to fix it."""


class MachineError(Exception):
    """The machine could not finish what was asked: a lost process, no time, no resources left.

    It says nothing about the program or the experiment, so it is never remembered as a verdict; the
    same command tries again.

    Args:
        reason: what the machine lacked, and how to get more of it.
        stage: one of ``records.MACHINE_STAGES``.
    """

    def __init__(self, reason: str, stage: Stage = "machine"):
        super().__init__(reason)
        self.stage: Stage = stage


class CandidateError(Exception):
    """The candidate program is not acceptable.

    Args:
        stage: the check that refused it; ``stages`` says what each is.
        reason: one or two sentences for the proposer: what is wrong and what to write instead.
    """

    def __init__(self, stage: Stage, reason: str):
        super().__init__(f"{stage}: {reason}")
        self.stage: Stage = stage
        self.reason = reason


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest of ``choices``, or an empty string."""
    matches = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def shortage(error: BaseException) -> str | None:
    """What this machine ran out of and how to get more, in one line; None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        place = f" (at {error.filename})" if isinstance(error, OSError) and error.filename else ""
        return (
            f"the disk is full{place}; free some space and run the same command again, finished "
            "work is kept"
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return f"too many open files: {_file_limit()}; raise it (ulimit -n 4096) and run again"
    if number in (errno.EAGAIN, errno.ENOMEM):
        return (
            f"the machine has no memory or no processes left ({error}); end what else is running "
            "(see free -m and ulimit -u) and run the same command again"
        )
    return None


def _file_limit() -> str:
    import resource

    return f"this process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,} (ulimit -n)"
