"""The process that forks one child per attempt, as the real zygote does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from openevolve_unified.isolation import jail, privileges
from openevolve_unified.isolation.probes.catalog import PROBES
from openevolve_unified.isolation.probes.probe import ESCAPED_STATUS, READY, Bait, Blocked, Probe
from openevolve_unified.isolation.report import Limits, unconfined

_PACKAGE = Path(__file__).resolve().parents[2]
_PATIENCE_S = 60.0
"""After which an attempt that nothing ended is killed and reported as broken."""
_GRANTED = Limits(
    cpu_s=1, data_bytes=64 * 2**20, shared_bytes=32 * 2**20, file_bytes=2**20, open_files=64
)


def main() -> None:
    """Read the task from standard input, write one JSON line per attempt to descriptor argv[1]."""
    task = json.loads(sys.stdin.read())
    results = int(sys.argv[1])
    bait = Bait(**task["bait"])
    with contextlib.suppress(OSError):  # not Linux
        privileges.die_with(bait.keeper_pid)
    # A descriptor that somebody forgot to close before candidate code runs.
    bait = dataclasses.replace(bait, leaked_descriptor=os.open(bait.secret, os.O_RDONLY))
    is_confined = task["arm"] == "confined"
    report = unconfined("not asked for")
    if is_confined:
        report = jail.confine_zygote(Path(bait.scratch), [_PACKAGE], _GRANTED)
    for probe in PROBES:
        line = {"name": probe.name, **_attempt(probe, bait, is_confined)}
        os.write(results, (json.dumps(line) + "\n").encode())
    os.write(results, (json.dumps({"report": report.to_plain()}) + "\n").encode())


def _attempt(probe: Probe, bait: Bait, is_confined: bool) -> dict[str, str]:
    reader, writer = os.pipe()
    zygote = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        bait = dataclasses.replace(bait, answer_descriptor=writer)
        if is_confined:
            limits = dataclasses.replace(_GRANTED, wall_s=probe.deadline_s)
            report = jail.confine_candidate(zygote, (writer,), [_PACKAGE], limits)
            if report.level == "none":
                os._exit(1)
        _run(probe, bait)
    os.close(writer)
    answer = _read_answer(reader, pid if probe.terminate else None)
    os.close(reader)
    status = _wait(pid)
    if answer.strip():
        return json.loads(answer)
    if status == ESCAPED_STATUS:
        return {"evidence": "did what it wanted and ended by itself"}
    if status < 0:
        return {"blocked": f"killed by {signal.Signals(-status).name}"}
    return {"broken": f"no answer, exit status {status}"}


def _run(probe: Probe, bait: Bait) -> None:
    """Make the attempt; never returns."""
    try:
        evidence = probe.attempt(bait)
        if evidence:
            bait.answer(evidence)
    # Python says ValueError when the kernel refuses to change a limit.
    except (OSError, MemoryError, RuntimeError, ValueError, Blocked) as error:
        text = json.dumps({"blocked": f"{type(error).__name__}: {error}"})
        os.write(bait.answer_descriptor, text.encode())
    except Exception as error:
        text = json.dumps({"broken": f"{type(error).__name__}: {error}"})
        os.write(bait.answer_descriptor, text.encode())
    os._exit(0)


def _read_answer(reader: int, pid_to_terminate: int | None) -> bytes:
    answer = b""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if not select.select([reader], [], [], 0.5)[0]:
            continue
        part = os.read(reader, 65_536)
        if not part:
            break
        answer += part
        if pid_to_terminate is not None and answer.startswith(READY):
            os.kill(pid_to_terminate, signal.SIGTERM)
            pid_to_terminate = None
    return answer


def _wait(pid: int) -> int:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 1
