"""A traced program sits in the jail; what it tries there is refused with a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.records import Program

SIZES = (SizeConfig(hidden_dim=8, num_layers=1, num_heads=2),)
FRAMEWORK = "coefficient_dynamics"
GATES = GatesConfig()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the jail is Linux's")


def trace(tracer, desk, folder: Path, opening: str, gates: GatesConfig = GATES) -> Path:
    """Trace the initial program with ``opening`` put before it, past any static policy."""
    out_path = folder / "traced.safetensors"
    source = opening + "\n" + desk.initial_source(FRAMEWORK)
    program = Program(source=source, framework=FRAMEWORK)
    tracer.trace(program, SIZES, 8, (0,), gates, 4, out_path)
    return out_path


def reason(tracer, desk, folder: Path, opening: str, gates: GatesConfig = GATES) -> str:
    with pytest.raises(CandidateError) as caught:
        trace(tracer, desk, folder, opening, gates)
    return caught.value.reason


def test_every_trace_reports_its_jail(tracer, desk, tmp_path):
    assert trace(tracer, desk, tmp_path, "").exists()
    assert tracer.isolation is not None
    assert tracer.isolation.level in ("full", "partial")
    assert {"seccomp", "deadline", "parent_death", "rlimits"} <= set(tracer.isolation.layers)


def test_a_program_cannot_forge_its_jails_report(tracer, desk, tmp_path):
    trace(tracer, desk, tmp_path, "")
    honest = tracer.isolation
    forged = """
import os, struct
text = b'{"layers": [], "missing": []}'
for descriptor in range(3, 64):
    try:
        os.write(descriptor, struct.pack("!IQ", len(text), 0) + text)
    except OSError:
        pass
"""
    reason(tracer, desk, tmp_path, forged)
    assert tracer.isolation == honest


@pytest.mark.parametrize(
    "attempt",
    [
        "open({secret!r}).read()",
        "open({secret!r}, 'a')",
        "__import__('os').listdir({folder!r})",
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "__import__('subprocess').run(['/bin/sh', '-c', 'exit 0'])",
        "open('/proc/%d/environ' % __import__('os').getppid()).read()",
    ],
)
def test_an_escape_is_refused_and_the_next_program_is_traced(tracer, desk, tmp_path, attempt):
    secret = tmp_path / "secret.txt"
    secret.write_text("planted")
    opening = attempt.format(secret=str(secret), folder=str(tmp_path))
    assert "PermissionError" in reason(tracer, desk, tmp_path, opening)
    assert trace(tracer, desk, tmp_path, "").exists()


def test_a_program_starts_no_thread(tracer, desk, tmp_path):
    opening = "import threading\nthreading.Thread(target=print).start()"
    assert "can't start new thread" in reason(tracer, desk, tmp_path, opening)


def test_a_program_that_hides_from_the_deadline_is_killed(tracer, desk, tmp_path):
    opening = """
import atexit, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
atexit.register(time.sleep, 600)
time.sleep(600)
"""
    gates = GatesConfig(trace_deadline_s=1.0)
    assert "slept for 1 s" in reason(tracer, desk, tmp_path, opening, gates)
    assert trace(tracer, desk, tmp_path, "").exists()


def test_memory_that_is_no_data_of_the_program_is_bounded_too(tracer, desk, tmp_path):
    opening = """
import mmap, time
hog = mmap.mmap(-1, {mib} * 2**20)
for offset in range(0, len(hog), mmap.PAGESIZE):
    hog[offset] = 1
time.sleep({pause_s})
"""
    gates = GatesConfig(trace_memory_mb=64)
    modest = opening.format(mib=16, pause_s=0)
    assert trace(tracer, desk, tmp_path, modest, gates).exists()
    # Within the address space that the jail leaves, so that only the watch can see it.
    resident = reason(tracer, desk, tmp_path, opening.format(mib=250, pause_s=30), gates)
    assert "of memory, more than the" in resident
    mapped = reason(tracer, desk, tmp_path, opening.format(mib=2_000, pause_s=0), gates)
    assert "memory" in mapped
    assert trace(tracer, desk, tmp_path, "").exists()


def test_the_scratch_folder_goes_with_the_tracer(desk, tmp_path, monkeypatch):
    from openevolve_unified.candidate.tracing.tracer import Tracer

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Tracer() as own:
        assert len(list(tmp_path.iterdir())) == 1
        own.close()
        assert list(tmp_path.iterdir()) == []
