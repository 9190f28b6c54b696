"""Fresh interpreters to be confined: a jail cannot be put on the test process itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openevolve_unified

ROOT = Path(openevolve_unified.__file__).resolve().parents[1]
PRELUDE = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from openevolve_unified.isolation import jail, landlock, readable, seccomp
from openevolve_unified.isolation.report import Limits
ours = [readable.package_folder("openevolve_unified")]
def outcome(attempt):
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "worked"
def in_candidate(work, limits=Limits()):
    reader, writer = os.pipe()
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        report = jail.confine_candidate(zygote, (writer,), ours, limits)
        answer = {{"report": report.to_plain(), "found": work()}}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(text) if text else {{"status": status}}
"""


@pytest.fixture(autouse=True)
def _only_on_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the jail is Linux's")


@pytest.fixture(scope="session")
def run_fresh() -> Callable[..., Any]:
    """Run Python lines in a fresh interpreter and return the JSON of their last printed line."""

    def run(source: str, python: str = sys.executable, environment: dict[str, str] | None = None):
        text = PRELUDE.format(root=str(ROOT)) + textwrap.dedent(source)
        done = subprocess.run(
            [python, "-I", "-B", "-c", text],
            env=environment or {"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run
