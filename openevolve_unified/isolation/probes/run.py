"""The run of all probes: without the jail each must work, inside it none may."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

from openevolve_unified.isolation.probes.catalog import PROBES
from openevolve_unified.isolation.probes.keeper import KEY_VARIABLE, command
from openevolve_unified.isolation.report import IsolationReport

_DEADLINE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class ProbeOutcome:
    """What came of one attempt."""

    name: str
    family: str
    status: Literal["escaped", "blocked", "broken"]
    detail: str
    """The evidence, or what stopped it; for a broken attempt, our bug."""


@dataclass(frozen=True, kw_only=True)
class ProbeRun:
    """All attempts, made once."""

    outcomes: dict[str, ProbeOutcome]
    report: IsolationReport
    """Of the zygote: what the jail says of itself."""
    untouched: bool
    """No planted file was created, changed or removed."""


@dataclass(frozen=True, kw_only=True)
class ProbeVerdict:
    """The attempts without the jail against those inside it."""

    stopped: tuple[str, ...]
    """Work without the jail, fail inside it."""
    escaped: tuple[str, ...]
    """Work inside it."""
    not_applicable: tuple[str, ...]
    """Fail without it too, for want of privilege or of a kernel option: they prove nothing."""


def run_bare(python: str = sys.executable, user: int | None = None) -> ProbeRun:
    """Make all attempts without the jail; ``user`` (a number) needs root."""
    return _run("bare", python, user)


def run_confined(python: str = sys.executable, user: int | None = None) -> ProbeRun:
    """Make all attempts inside the jail.

    Args:
        python: the interpreter to use; an ordinary user may be unable to run root's.
        user: the number of the user to become first; needs root.
    """
    return _run("confined", python, user)


def compare(bare: ProbeRun, confined: ProbeRun) -> ProbeVerdict:
    """Count only what works without the jail; an attempt that is broken counts as escaped."""
    stopped, escaped, not_applicable = [], [], []
    for name, outcome in confined.outcomes.items():
        if outcome.status != "blocked":
            escaped.append(name)
        elif bare.outcomes[name].status == "escaped":
            stopped.append(name)
        else:
            not_applicable.append(name)
    return ProbeVerdict(
        stopped=tuple(stopped), escaped=tuple(escaped), not_applicable=tuple(not_applicable)
    )


def _run(arm: str, python: str, user: int | None) -> ProbeRun:
    key = f"planted-{secrets.token_hex(8)}"
    group: dict[str, Any] = {} if user is None else {"group": user, "extra_groups": []}
    done = subprocess.run(
        command(python, "keeper", arm, key),
        env={**os.environ, KEY_VARIABLE: key},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_DEADLINE_S,
        check=True,
        user=user,
        **group,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["name"]: line for line in lines if "name" in line}
    ends: dict[str, Any] = {}
    for line in lines:
        if "name" not in line:
            ends.update(line)
    outcomes = {
        probe.name: _judge(probe.name, probe.family, found.get(probe.name, {}), probe.prize, key)
        for probe in PROBES
    }
    return ProbeRun(
        outcomes=outcomes,
        report=IsolationReport.from_plain(ends["report"]),
        untouched=ends["untouched"],
    )


def _judge(name: str, family: str, line: dict[str, str], prize: bool, key: str) -> ProbeOutcome:
    if "evidence" in line:
        is_real = not prize or line["evidence"] == key
        status: Literal["escaped", "blocked", "broken"] = "escaped" if is_real else "blocked"
        detail = line["evidence"]
    elif "blocked" in line:
        status, detail = "blocked", line["blocked"]
    else:
        status, detail = "broken", line.get("broken", "no answer")
    return ProbeOutcome(name=name, family=family, status=status, detail=detail)
