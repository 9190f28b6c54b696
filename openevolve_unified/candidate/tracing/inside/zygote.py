"""The warm tracing process: imports torch once, forks a child per request, dies with its parent.

Started by ``tracer`` as ``python -m openevolve_unified.candidate.tracing.inside.zygote``, with the
socket, the parent and the scratch folder as arguments.
The zygote itself never runs candidate code. It stays single-threaded, because a fork copies only
one thread. It does not rely on a death signal (which follows the thread that spawned it) nor on the
end of its socket alone (which a forked worker of OpenEvolve may hold open too): it also watches who
its parent is.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.candidate.tracing import wire
from openevolve_unified.candidate.tracing.confinement import confine_child, confine_zygote
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import MM
from openevolve_unified.plain.imports import many_imports

_IDLE_POLL_S = 0.5
_BUSY_POLL_S = 0.1
_ENDING_POLL_S = 0.002
"""A child that has closed its end is about to exit; nothing else will wake the zygote."""
_SPARE_S = 5.0
"""The kernel's bounds on the child come this much after those that the zygote keeps."""
_PROCESS_CPU_CLOCK = 2
"""CPUCLOCK_SCHED of Linux: with a process's number, the clock of the processor time it used."""
_MAX_REPORT_BYTES = 16_384


@dataclass(frozen=True)
class _Outcome:
    """How a child ended: what it wrote, and why it stopped."""

    kind: str
    """``answered``, ``cpu``, ``wall``, ``overflow``, ``signal`` or ``exit``."""
    code: int
    answer: bytes


@dataclass(frozen=True)
class _Bounds:
    """What a child may take before it is ended."""

    cpu_s: float
    until: float
    """``time.monotonic()`` seconds."""
    max_bytes: int


def main(arguments: list[str]) -> int:
    """Serve requests on the inherited socket until the parent is gone."""
    descriptor, parent, scratch = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    isolation = confine_zygote(scratch)
    with socket.socket(fileno=descriptor) as connection:
        os.set_inheritable(descriptor, False)
        try:
            with many_imports():
                _warm_up()
        except Exception as error:
            wire.send(connection, {"ready": False, "error": f"{type(error).__name__}: {error}"})
            return 1
        wire.send(connection, {"ready": True, "isolation": isolation.to_plain()})
        while _wait_for_request(connection, parent):
            try:
                request, _ = wire.receive(connection, 0, time.monotonic() + 60)
                _serve(connection, parent, request)
            except wire.WireError:
                return 0
    return 0


def _warm_up() -> None:
    """Import everything that a trace needs.

    A child in a jail without Landlock can import nothing more, and its time and its memory are for
    what it traces.
    """
    import torch
    import tqdm

    from openevolve_unified.candidate.tracing.inside import capture

    # Its monitor would be a second thread.
    tqdm.tqdm.monitor_interval = 0
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    request = capture.CaptureRequest(
        source=_WARM_UP_SOURCE,
        framework=MM,
        sizes=(SizeConfig(hidden_dim=4, num_layers=1, num_heads=2),),
        seq_len=8,
        seeds=(0,),
        gates=GatesConfig(),
        batch_size=4,
    )
    capture.capture(request)
    gc.collect()


_WARM_UP_SOURCE = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from openevolve_unified.frameworks import MatrixMixer
class EvolvableAttention(MatrixMixer):
    def __init__(self, hidden_dim, num_heads, dropout=0.1):
        super().__init__(hidden_dim, num_heads, dropout)
        self.gate = nn.Linear(hidden_dim, num_heads)
    def mixing_matrix(self, q, k, x, mask):
        decay = F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(-1)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) + decay[..., None] - decay[..., None, :]
        position = torch.arange(q.shape[2], device=q.device).float()
        scores[..., 0] += 1.0
        scores = F.pad(F.normalize(scores, dim=-1), (0, 1))[..., :-1] + position
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)
"""


def _wait_for_request(connection: socket.socket, parent: int) -> bool:
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    while os.getppid() == parent:
        if poller.poll(_IDLE_POLL_S * 1000):
            return bool(connection.recv(1, socket.MSG_PEEK))
    return False


def _serve(connection: socket.socket, parent: int, request: dict[str, Any]) -> None:
    bounds = _Bounds(
        cpu_s=float(request["cpu_s"]),
        until=time.monotonic() + float(request["wall_s"]),
        max_bytes=int(request["max_bytes"]) + _MAX_REPORT_BYTES,
    )
    reader, writer = os.pipe()
    zygote = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(zygote, writer, request)
    os.close(writer)
    os.set_blocking(reader, False)
    try:
        outcome = _supervise(child, reader, connection, parent, bounds)
    finally:
        os.close(reader)
        _kill_descendants()
    if outcome is None:
        raise wire.WireError("the parent is gone")
    isolation, answer = _split_report(outcome.answer)
    header = {"outcome": outcome.kind, "code": outcome.code, "isolation": isolation}
    wire.send(connection, header, answer if outcome.kind == "answered" else b"")


def _supervise(
    child: int,
    reader: int,
    connection: socket.socket,
    parent: int,
    bounds: _Bounds,
) -> _Outcome | None:
    """Collect what the child writes until it ends or must be ended; None: the parent is gone."""
    answer = bytearray()
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(connection, select.POLLIN)
    poll_s = _BUSY_POLL_S
    while True:
        events = dict(poller.poll(poll_s * 1000))
        parent_is_gone = connection.fileno() in events or os.getppid() != parent
        is_closed = _drain(reader, answer, bounds.max_bytes) if reader in events else False
        breach = _find_breach(child, len(answer), bounds)
        if parent_is_gone or breach is not None:
            _end(child)
            return None if parent_is_gone else _Outcome(str(breach), 0, bytes(answer))
        if is_closed:
            poller.unregister(reader)
            poll_s = _ENDING_POLL_S
        ended = _reap(child)
        if ended is not None:
            status, cpu_s = ended
            _drain(reader, answer, bounds.max_bytes)
            if os.WIFSIGNALED(status):
                # The kernel kills what exceeds its processor time; others kill for other reasons.
                kind = "cpu" if cpu_s >= bounds.cpu_s else "signal"
                return _Outcome(kind, os.WTERMSIG(status), bytes(answer))
            code = os.waitstatus_to_exitcode(status)
            return _Outcome("answered" if code == 0 else "exit", code, bytes(answer))


def _find_breach(child: int, num_bytes: int, bounds: _Bounds) -> str | None:
    if num_bytes > bounds.max_bytes:
        return "overflow"
    if _processor_s(child) > bounds.cpu_s:
        return "cpu"
    return "wall" if time.monotonic() > bounds.until else None


def _processor_s(child: int) -> float:
    """Processor time that a child has used; 0 where the system does not tell before it ends."""
    try:
        return time.clock_gettime((~child << 3) | _PROCESS_CPU_CLOCK)
    except OSError:
        return 0.0


def _drain(reader: int, answer: bytearray, max_bytes: int) -> bool:
    """Read what is there; True when the child has closed its end."""
    while len(answer) <= max_bytes:
        try:
            chunk = os.read(reader, 2**20)
        except BlockingIOError:
            return False
        if not chunk:
            return True
        answer += chunk
    return False


def _reap(child: int) -> tuple[int, float] | None:
    """The status of a child that has ended, and the processor time that it used."""
    pid, status, used = os.wait4(child, os.WNOHANG)
    return (status, used.ru_utime + used.ru_stime) if pid == child else None


def _end(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _kill_descendants() -> None:
    """Kill whatever the child left behind: as subreaper, this process has adopted it."""
    for _ in range(1_000):
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0 if _children() else os.WNOHANG)
        except ChildProcessError:
            return


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]
    except (OSError, ValueError):
        return []


def _split_report(stream: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """What the child said of its jail before candidate code ran, and its answer."""
    try:
        report, answer = wire.unpack_first(stream)
    except wire.WireError:
        return None, b""
    return report, answer


def _run_child(zygote: int, writer: int, request: dict[str, Any]) -> None:
    """The child's whole life: confine, say so, trace, write one frame, end without clean-up."""
    code = 1
    try:
        gates = GatesConfig(**request["gates"])
        cpu_s, wall_s = (float(request[name]) + _SPARE_S for name in ("cpu_s", "wall_s"))
        report = confine_child(zygote, writer, gates.trace_memory_mb, cpu_s, wall_s)
        # In the pipe before candidate code runs, so that it cannot be forged.
        _write(writer, wire.pack(report.to_plain()))
        _write(writer, _trace(request, gates))
        code = 0
    except BaseException:
        code = 3
    finally:
        # Candidate code may have registered exit handlers: none of them runs.
        os._exit(code)


def _write(writer: int, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(writer, view) :]


def _trace(request: dict[str, Any], gates: GatesConfig) -> bytes:
    from openevolve_unified.candidate.tracing.inside.capture import CaptureRequest, capture

    try:
        payload = capture(
            CaptureRequest(
                source=request["source"],
                framework=request["framework"],
                sizes=tuple(SizeConfig(**size) for size in request["sizes"]),
                seq_len=request["seq_len"],
                seeds=tuple(request["seeds"]),
                gates=gates,
                batch_size=request["batch_size"],
            )
        )
    except CandidateError as error:
        return wire.pack({"status": "rejected", "stage": error.stage, "reason": error.reason})
    return wire.pack({"status": "traced"}, payload)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
