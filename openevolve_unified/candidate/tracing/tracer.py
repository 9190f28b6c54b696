"""The parent's side of tracing: start the warm child, ask it, bound everything, believe nothing.

No torch here: the process that holds the keys and serves OpenEvolve never imports it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import openevolve_unified
from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.candidate.tracing import wire
from openevolve_unified.candidate.tracing.explain import MAX_REASON_LENGTH, shorten
from openevolve_unified.candidate.tracing.scratch import new_scratch, remove_scratch
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError, MachineError, shortage
from openevolve_unified.execution.child import start_child
from openevolve_unified.isolation import watch
from openevolve_unified.isolation.report import IsolationReport
from openevolve_unified.isolation.watch import ProcessWatch, WatchBounds
from openevolve_unified.plain.files import write_bytes
from openevolve_unified.records import Program

START_DEADLINE_S = 600.0
"""Importing torch takes seconds on a quiet machine, much longer on a crowded one."""
GRACE_S = 10.0
"""The child keeps its bounds itself; the parent steps in this much later."""
MIN_WALL_S = 600.0
WALL_FACTOR = 10.0
"""Wall time of a trace: this many times its processor time. Only a machine's trouble takes it."""
_OWN_SIGNALS = frozenset(
    (
        *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV),
        *(signal.SIGSYS, signal.SIGTRAP, signal.SIGXCPU, signal.SIGXFSZ),
    )
)
"""Ends that a program brings upon itself; a memory killer or an administrator sends the others."""
_RESIDENT_SLACK_BYTES = 128 * 2**20
"""What tracing itself touches; less than the address space that the jail leaves."""
_MAX_SCRATCH_BYTES = 64 * 2**20
_INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_STAGES = ("trace", "program", "budget")
_COMMAND = (
    *(sys.executable, "-P", "-s", "-B", "-m"),
    "openevolve_unified.candidate.tracing.inside.zygote",
)


class Tracer:
    """Keeps a warm tracing child between calls; a context manager.

    Safe to use from several threads, one trace at a time, and after a fork: the new process starts
    a child of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._is_ready = False
        self._owner = os.getpid()
        self._scratch: Path | None = None
        self._warm_bytes = 0
        self._isolation: IsolationReport | None = None

    @property
    def isolation(self) -> IsolationReport | None:
        """The jail of the last traced program; before the first, that of the warm child."""
        return self._isolation

    def __enter__(self) -> Tracer:
        self.warm_up()
        return self

    def warm_up(self) -> None:
        """Launch the child, if there is none, without waiting for its imports."""
        with self._lock:
            self._ensure_started()

    def start(self) -> IsolationReport:
        """Start the warm child if there is none, and say how well this machine confines it."""
        with self._lock:
            self._ensure_started()
            self._await_ready()
        assert self._isolation is not None
        return self._isolation

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child and everything below it."""
        with self._lock:
            self._stop()

    def trace(
        self,
        program: Program,
        sizes: Sequence[SizeConfig],
        seq_len: int,
        seeds: Sequence[int],
        gates: GatesConfig,
        batch_size: int,
        out_path: Path,
    ) -> IsolationReport:
        """Trace ``program`` at every size and write one safetensors file to ``out_path``.

        The file is not yet validated: ``traced.load_traced`` does that, where torch is.

        Returns:
            How the program was confined.

        Args:
            seeds: training seeds that initial values are drawn for.
            batch_size: of training; one of the batch sizes that the program is traced at.

        Raises:
            CandidateError: stage ``trace`` (or ``budget``, for far too many parameters, and
                ``program``, for far too many operators).
            MachineError: the tracing process could not be started, was lost twice, or got no
                processor; that says nothing about the program.
        """
        max_bytes = layout.max_file_bytes(
            sizes, len(seeds), gates.max_params_ratio, gates.max_constant_elements
        )
        request = {
            "source": program.source,
            "framework": program.framework,
            "sizes": [dataclasses.asdict(size) for size in sizes],
            "seq_len": seq_len,
            "seeds": list(seeds),
            "batch_size": batch_size,
            "gates": dataclasses.asdict(gates),
            "cpu_s": gates.trace_deadline_s,
            "wall_s": max(MIN_WALL_S, WALL_FACTOR * gates.trace_deadline_s),
            "max_bytes": max_bytes,
        }
        with self._lock:
            header, answer = self._ask(request, max_bytes, gates)
            if _is_machine_trouble(header) and header["outcome"] != "wall":
                header, answer = self._ask(request, max_bytes, gates)
            isolation = self._isolation
        write_bytes(out_path, _read_answer(header, answer, gates, max_bytes))
        assert isolation is not None
        return isolation

    def _ask(
        self, request: dict[str, Any], max_bytes: int, gates: GatesConfig
    ) -> tuple[dict[str, Any], bytes]:
        self._ensure_started()
        self._await_ready()
        assert self._connection is not None
        assert self._child is not None
        assert self._scratch is not None
        bounds = WatchBounds(
            resident_bytes=(
                self._warm_bytes + gates.trace_memory_mb * 2**20 + _RESIDENT_SLACK_BYTES
            ),
            scratch_bytes=_MAX_SCRATCH_BYTES,
            idle_s=gates.trace_deadline_s,
        )
        looking = ProcessWatch(self._child.pid, self._scratch, bounds)
        try:
            with looking:
                wire.send(self._connection, request)
                until = time.monotonic() + request["wall_s"] + GRACE_S
                answered = wire.receive(self._connection, max_bytes + 2**20, until)
            self._note_isolation(answered[0])
            return answered
        except wire.WireTimeoutError:
            self._stop()
            return {"outcome": "wall", "code": 0}, b""
        except wire.WireError:
            self._stop()
            if looking.breach is not None:
                return {"outcome": "breach", "code": looking.breach}, b""
            return {"outcome": "lost", "code": 0}, b""
        except BaseException:
            # Interrupted in the middle of an exchange: the connection cannot be used again.
            self._stop()
            raise

    def _ensure_started(self) -> None:
        if self._owner != os.getpid():
            # Forked: the child belongs to the process that we were forked from.
            if self._connection is not None:
                self._connection.close()
            self._child, self._connection, self._scratch = None, None, None
            self._owner = os.getpid()
        if self._child is not None and self._child.poll() is None:
            return
        self._stop()
        try:
            self._launch()
        except OSError as error:
            self._stop()
            reason = shortage(error) or str(error)
            raise MachineError(f"the tracing process cannot be started: {reason}") from None

    def _launch(self) -> None:
        self._scratch = new_scratch()
        arguments = [str(os.getpid()), str(self._scratch)]
        self._child, self._connection = start_child(
            _COMMAND, arguments, _environment(self._scratch), folder=Path("/")
        )
        self._is_ready = False

    def _await_ready(self) -> None:
        if self._is_ready:
            return
        assert self._connection is not None
        try:
            header, _ = wire.receive(self._connection, 0, time.monotonic() + START_DEADLINE_S)
        except wire.WireError as error:
            code = self._child.poll() if self._child is not None else None
            self._stop()
            raise MachineError(
                f"the tracing process did not start: {error} (exit status {code})"
            ) from None
        if header.get("ready") is not True:
            self._stop()
            raise MachineError(f"the tracing process did not start: {header.get('error')}")
        self._note_isolation(header)
        assert self._child is not None
        self._warm_bytes = watch.resident_bytes(self._child.pid)
        self._is_ready = True

    def _note_isolation(self, header: dict[str, Any]) -> None:
        """None in a header: the child was lost before it could say, and the last report stands."""
        if header.get("isolation") is not None:
            self._isolation = IsolationReport.from_plain(header["isolation"])

    def _stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._child is not None:
            if self._child.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait()
            self._child = None
        if self._scratch is not None:
            remove_scratch(self._scratch)
            self._scratch = None
        self._is_ready = False


def _environment(scratch: Path) -> dict[str, str]:
    """An allow-list: no key of the parent reaches the child."""
    environment = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    root = Path(openevolve_unified.__file__).resolve().parents[1]
    return environment | {
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": "0",
        "HOME": "/nonexistent",
        "TMPDIR": str(scratch),
        "USER": "candidate",
        "LOGNAME": "candidate",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _read_answer(
    header: dict[str, Any], answer: bytes, gates: GatesConfig, max_bytes: int
) -> bytes:
    """The traced file's bytes, or the reason why there are none."""
    if _is_machine_trouble(header):
        raise MachineError(_explain_trouble(header))
    outcome = header.get("outcome")
    if outcome == "answered":
        try:
            status, payload = wire.unpack(answer, max_bytes)
        except wire.WireError:
            raise CandidateError(
                "trace", "the program ended the tracing process before its trace was complete"
            ) from None
        if status.get("status") == "traced":
            return payload
        stage = status.get("stage")
        reason = shorten(str(status.get("reason")), MAX_REASON_LENGTH)
        raise CandidateError(stage if stage in _STAGES else "trace", reason)
    raise CandidateError("trace", _explain_outcome(str(outcome), header.get("code"), gates))


def _is_machine_trouble(header: dict[str, Any]) -> bool:
    """Whether a trace ended for reasons that need not be the program's."""
    outcome, code = header.get("outcome"), header.get("code")
    if outcome == "exit":
        # Not even confined: no line of the program was run.
        return header.get("isolation") is None
    return outcome in ("wall", "lost") or (outcome == "signal" and code not in _OWN_SIGNALS)


def _explain_trouble(header: dict[str, Any]) -> str:
    if header.get("outcome") == "wall":
        return (
            f"tracing got too little of the processor: it did not end within {WALL_FACTOR:g} times "
            "the processor time that it may use; try again when the machine is less busy"
        )
    code = header.get("code")
    by = f" by {signal.Signals(code).name}" if code in signal.valid_signals() else ""
    return (
        f"the tracing process was lost or killed{by}, twice: is the machine short of memory? "
        "Close other programs and try again"
    )


def _explain_outcome(outcome: str, code: object, gates: GatesConfig) -> str:
    memory = f"{gates.trace_memory_mb:,} MB"
    if outcome == "cpu" or (outcome == "signal" and code == signal.SIGXCPU):
        return (
            f"tracing took longer than {gates.trace_deadline_s:g} s of processor time: is there "
            "an endless or very long loop? Replace loops over time by batched tensor operators"
        )
    if outcome == "breach":
        return f"the program {code}"
    if outcome == "overflow":
        return "the traced program and its tensors are too large: use fewer operators and constants"
    if outcome == "signal":
        name = signal.Signals(code).name if isinstance(code, int) else "unknown"
        return (
            f"the program crashed the tracing process ({name}); a common cause is needing more "
            f"than {memory} of memory"
        )
    return f"the program ended the tracing process (exit status {code})"
