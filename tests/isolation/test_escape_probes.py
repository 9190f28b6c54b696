"""Every escape attempt works without the jail and fails inside it, as root and as anybody."""

from __future__ import annotations

import concurrent.futures
import os
import re
import subprocess
import sys

import pytest

import openevolve_unified
from openevolve_unified.isolation.probes import run
from openevolve_unified.isolation.probes.catalog import PROBES
from openevolve_unified.isolation.probes.run import ProbeRun, ProbeVerdict

NOBODY = 65_534
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(openevolve_unified.__file__)))
REFUSALS = re.compile(
    r"Permission denied|Operation not permitted|Bad file descriptor|File too large"
    r"|Cannot allocate memory|Too many open files|MemoryError|can't start new thread"
    r"|not allowed to raise maximum limit|not in the environment|killed by SIG(KILL|SYS)"
)
"""What the layers say: another reason would mean that the attempt is broken, not stopped."""


def _python_for(user: int) -> str | None:
    """An interpreter that ``user`` may run; root's own may lie in root's home."""
    code = (
        f"import sys; assert sys.version_info >= (3, 11); sys.path.insert(0, {ROOT!r}); "
        "import openevolve_unified.isolation.probes.catalog"
    )
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run(
                [python, "-I", "-B", "-c", code],
                check=True,
                capture_output=True,
                user=user,
                group=user,
                cwd="/",
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return python
    return None


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[ProbeRun, ProbeRun]]:
    """Both arms, as this user and, where this user is root, as an ordinary one; side by side."""
    users: dict[str, tuple[str, int | None]] = {"this user": (sys.executable, None)}
    if os.getuid() == 0:
        python = _python_for(NOBODY)
        if python is not None:
            users["an ordinary user"] = (python, NOBODY)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = {
            name: (pool.submit(run.run_bare, *whom), pool.submit(run.run_confined, *whom))
            for name, whom in users.items()
        }
        return {name: (bare.result(), jail.result()) for name, (bare, jail) in started.items()}


@pytest.fixture(scope="module", params=["this user", "an ordinary user"])
def arms(request, runs) -> tuple[ProbeRun, ProbeRun]:
    if request.param not in runs:
        pytest.skip("needs root and an interpreter that an ordinary user may run")
    return runs[request.param]


@pytest.fixture(scope="module")
def verdict(arms) -> ProbeVerdict:
    return run.compare(*arms)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_an_attempt_works_without_the_jail_and_fails_inside_it(probe, arms):
    bare, confined = arms
    if not probe.excuse:
        assert bare.outcomes[probe.name].status == "escaped", bare.outcomes[probe.name]
    assert bare.outcomes[probe.name].status != "broken", bare.outcomes[probe.name]
    outcome = confined.outcomes[probe.name]
    assert outcome.status == "blocked", outcome
    assert REFUSALS.search(outcome.detail), outcome


def test_at_least_thirty_attempts_count_and_none_escapes(verdict):
    assert verdict.escaped == ()
    assert len(verdict.stopped) >= 30
    assert len(verdict.stopped) + len(verdict.not_applicable) == len(PROBES)


def test_the_planted_files_stay_as_they_were_only_inside_the_jail(arms):
    bare, confined = arms
    assert not bare.untouched
    assert confined.untouched


def test_the_jail_says_that_it_is_complete_only_where_it_stands(arms):
    bare, confined = arms
    assert bare.report.level == "none"
    assert confined.report.level in ("full", "partial")
    assert "seccomp" in confined.report.layers


def test_an_attempt_that_is_broken_counts_as_an_escape(arms):
    bare, confined = arms
    broken = {
        **confined.outcomes,
        "fork": run.ProbeOutcome(name="fork", family="processes", status="broken", detail=""),
    }
    altered = ProbeRun(outcomes=broken, report=confined.report, untouched=True)
    assert run.compare(bare, altered).escaped == ("fork",)
