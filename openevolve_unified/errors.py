"""The errors that people see: the experiment, the candidate, or the machine is at fault.

Anything else that is raised is a bug of this package and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from openevolve_unified.stages import Stage


class ConfigError(Exception):
    """The experiment cannot be run as written; one line says what, got, wanted, how to fix it."""


class MachineError(Exception):
    """The machine could not finish what was asked: a lost process, no time, no resources left.

    It says nothing about the program or the experiment, so it is never remembered as a verdict; the
    same command tries again.
    """


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
