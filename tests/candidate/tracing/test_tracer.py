"""The tracing child: bounded, replaceable, without secrets, and gone when its parent is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError, MachineError
from openevolve_unified.records import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc")

SMALL = (SizeConfig(hidden_dim=8, num_layers=1, num_heads=2),)
HONEST = "return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)"


def trace(tracer: Tracer, desk, line: str, **gates: float) -> None:
    source = desk.program(line + "\n" + HONEST)
    tracer.trace(
        Program(source=source, framework="coefficient_dynamics"),
        SMALL,
        8,
        (0,),
        dataclasses.replace(desk.gates, **gates),
        4,
        desk.folder / "small.safetensors",
    )


def reason(tracer: Tracer, desk, line: str, **gates: float) -> str:
    with pytest.raises(CandidateError) as caught:
        trace(tracer, desk, line, **gates)
    assert caught.value.stage == "trace"
    return caught.value.reason


def zygotes_below(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command_line = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(fields[1]) == parent and "zygote" in command_line:
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < until, f"still alive: {[pid for pid in pids if is_alive(pid)]}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("while True: pass", "longer than 1 s of processor time"),
        ("hog = bytearray(10**12)", "more memory"),
        ("hog = [bytearray(2**24) for _ in range(10**6)]", "memory"),
        ("import sys\nsys.exit(0)", "tries to exit"),
        ("import os\nos._exit(0)", "before its trace was complete"),
        ("import os\nos._exit(5)", "exit status 5"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('x' * 10**6)", "ValueError"),
    ],
)
def test_abuse_of_resources_ends_in_a_reason_and_the_next_trace_works(tracer, desk, line, words):
    deadline_s = 1.0 if "while" in line else 60.0
    text = reason(tracer, desk, line, trace_deadline_s=deadline_s, trace_memory_mb=256)
    assert words in text
    assert len(text) < 500
    trace(tracer, desk, "")


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Standard output and error of this process, and of the children that it starts."""
    kept = {number: os.dup(number) for number in (1, 2)}
    with open(path, "wb") as file:
        for number in kept:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for number, original in kept.items():
            os.dup2(original, number)
            os.close(original)


@pytest.fixture(scope="module")
def life(desk, tmp_path_factory) -> SimpleNamespace:
    """What was seen of one tracer: started beside a secret, noisy, its child killed, closed."""
    seen = SimpleNamespace()
    output = tmp_path_factory.mktemp("tracer") / "output"
    others = set(zygotes_below(os.getpid()))
    with pytest.MonkeyPatch.context() as patch, output_to(output):
        patch.setenv("OPENAI_API_KEY", "planted-key")
        with Tracer() as tracer:
            trace(tracer, desk, "import sys\nprint('noise')\nprint('noise', file=sys.stderr)")
            words = "import os\nraise ValueError(sorted(os.environ.items()))"
            seen.environment = reason(tracer, desk, words)
            words = "import os\nraise ValueError('planted-key' in str(os.environ))"
            seen.has_the_key = reason(tracer, desk, words)
            seen.first = set(zygotes_below(os.getpid())) - others
            for pid in seen.first:
                os.kill(pid, signal.SIGKILL)
            wait_until_gone(list(seen.first))
            trace(tracer, desk, "")
            seen.second = set(zygotes_below(os.getpid())) - others
    seen.alive_when_closed = [pid for pid in seen.second if is_alive(pid)]
    seen.output = output.read_text()
    return seen


def test_no_secret_of_the_parent_is_visible(life):
    assert "CUDA_VISIBLE_DEVICES" in life.environment
    assert "ValueError: False" in life.has_the_key


def test_output_of_the_program_goes_nowhere(life):
    assert "noise" not in life.output


def test_a_killed_child_is_replaced(life):
    assert len(life.first) == len(life.second) == 1
    assert life.first != life.second


def test_nothing_survives_closing(life):
    assert life.second
    assert not life.alive_when_closed


class Hand:
    """Sends signals to the process that traces, once for each of its lives."""

    def __init__(self, tracer: Tracer, act: Callable[[int], None], times: int):
        self._seen: set[int] = set()
        self._tracer, self._act, self._times = tracer, act, times
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Hand:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(120)
        assert len(self._seen) == self._times

    def _work(self) -> None:
        until = time.monotonic() + 120
        while len(self._seen) < self._times and time.monotonic() < until:
            for zygote in zygotes_below(os.getpid()):
                for child in zygotes_below(zygote):
                    if child not in self._seen:
                        self._seen.add(child)
                        self._act(child)
            time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stop_for_a_while(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(pid, signal.SIGCONT)


WORK = "import time\nuntil = time.process_time() + 0.1\nwhile time.process_time() < until: pass"


def test_a_trace_that_gets_no_processor_for_longer_than_its_limit_is_no_verdict(tracer, desk):
    with Hand(tracer, stop_for_a_while, times=1):
        trace(tracer, desk, WORK, trace_deadline_s=2.0)


def test_a_trace_that_somebody_kills_is_made_again(tracer, desk):
    with Hand(tracer, kill, times=1):
        trace(tracer, desk, WORK)


def test_a_trace_that_is_killed_twice_is_the_machines_trouble(tracer, desk):
    with Hand(tracer, kill, times=2), pytest.raises(MachineError, match="killed by SIGKILL, twice"):
        trace(tracer, desk, WORK)
    trace(tracer, desk, "")


def test_a_tracing_process_that_cannot_be_started_is_the_machines_trouble(desk, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with pytest.raises(MachineError, match="cannot be started"):
        Tracer().start()


def test_a_reply_that_is_too_large_is_refused(tracer, desk, monkeypatch):
    from openevolve_unified.candidate.program import file_layout as layout

    monkeypatch.setattr(layout, "max_file_bytes", lambda *arguments: 100)
    line = "q = q + torch.tensor([1.0] * 10_000).sum()"
    assert "too large" in reason(tracer, desk, line)


PARENT = """
import sys
from pathlib import Path
from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.records import Program
source, out_path = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
size = SizeConfig(hidden_dim=8, num_layers=1, num_heads=2)
with Tracer() as tracer:
    for text in (source.replace("while True: pass", "pass"), source):
        print("next", flush=True)
        program = Program(source=text, framework="coefficient_dynamics")
        tracer.trace(program, (size,), 8, (0,), GatesConfig(), 4, out_path)
"""


def test_killing_the_parent_leaves_nothing_alive(desk, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(desk.program("while True: pass\n" + HONEST))
    command = [sys.executable, "-c", PARENT, str(program), str(tmp_path / "out.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline().strip() for _ in range(2)] == ["next", "next"]
        (zygote,) = zygotes_below(parent.pid)
        until = time.monotonic() + 30
        while not zygotes_below(zygote):
            assert time.monotonic() < until
            time.sleep(0.05)
        below = [zygote, *zygotes_below(zygote)]
        parent.kill()
        parent.wait()
    wait_until_gone(below)


FORKED = """
import os, sys
from pathlib import Path
from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.records import Program
source, out_path = Path(sys.argv[1]).read_text(), Path(sys.argv[2])
size = SizeConfig(hidden_dim=8, num_layers=1, num_heads=2)
program = Program(source=source, framework="coefficient_dynamics")
with Tracer() as tracer:
    tracer.trace(program, (size,), 8, (0,), GatesConfig(), 4, out_path)
    worker = os.fork()
    if worker == 0:
        out_path.unlink()
        tracer.trace(program, (size,), 8, (0,), GatesConfig(), 4, out_path)
        tracer.close()
        os._exit(0 if out_path.exists() else 9)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    tracer.trace(program, (size,), 8, (0,), GatesConfig(), 4, out_path)
"""


def test_a_forked_worker_starts_a_child_of_its_own(desk, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(desk.program(HONEST))
    command = [sys.executable, "-c", FORKED, str(program), str(tmp_path / "out.safetensors")]
    subprocess.run(command, check=True, timeout=300)
