"""Machine: devices, memory, processes, and how well it confines programs that nobody has read."""

from __future__ import annotations

from collections.abc import Iterator

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.doctor.observation import Observation
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.execution.memory import available_bytes
from openevolve_unified.execution.open_files import require_open_files
from openevolve_unified.execution.resources import has_gpu_driver, num_cores
from openevolve_unified.plugin.semaphores import require_semaphores

_GIB = 2**30
MIN_MEMORY_BYTES = 2 * _GIB
"""The quickstart's processes hold a little less; most of it is torch, once for each process."""
DEGRADED = (
    "programs of a language model are refused unless --allow-degraded-isolation is given; wanted "
    "Linux with Landlock and seccomp (a container may have to allow them)"
)


def machine(needs_full_isolation: bool = False) -> Iterator[Observation]:
    """Devices, what processes need, and isolation; takes about as long as to import torch.

    Args:
        needs_full_isolation: whether the experiment that was asked about needs it.
    """
    with Tracer() as tracer:  # its child is imported meanwhile
        yield Observation(
            topic="device", name="processor", level="ok", text=f"{num_cores()} cores to use"
        )
        yield _memory()
        yield from _gpus()
        yield from _processes()
        yield from _isolation(tracer, needs_full_isolation)


def _memory() -> Observation:
    free = available_bytes()
    text = "not known here" if free is None else f"{free / _GIB:.1f} GiB available"
    is_short = free is not None and free < MIN_MEMORY_BYTES
    return Observation(
        topic="device",
        name="memory",
        level="note" if is_short else "ok",
        text=text,
        mend="fewer workers need less: --set scaling_law.execution.num_workers=1"
        if is_short
        else None,
    )


def _gpus() -> Iterator[Observation]:
    if not has_gpu_driver():
        yield Observation(topic="device", name="gpu", level="ok", text="none; a CPU will do")
        return
    import torch

    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        text = f"{about.name}, {about.total_memory / _GIB:.0f} GiB"
        yield Observation(topic="device", name=f"cuda:{index}", level="ok", text=text)
    if not torch.cuda.device_count():
        yield Observation(
            topic="device",
            name="gpu",
            level="note",
            text="a driver is there, but torch finds none",
            mend="install a CUDA build of torch that fits the driver, and see CUDA_VISIBLE_DEVICES",
        )


def _processes() -> Iterator[Observation]:
    for name, require in (
        ("open files", require_open_files),
        ("semaphores", require_semaphores),
    ):
        try:
            require()
        except ConfigError as error:
            yield Observation(topic="process", name=name, level="fault", text=str(error))
        else:
            yield Observation(topic="process", name=name, level="ok", text="enough")


def _isolation(tracer: Tracer, needs_full: bool) -> Iterator[Observation]:
    try:
        report = tracer.start()
    except MachineError as error:
        yield Observation(
            topic="isolation", name="tracing child", level="fault", text=f"cannot start: {error}"
        )
        return
    is_full = report.level == "full"
    yield Observation(
        topic="isolation",
        name="isolation",
        level="ok" if is_full else "fault" if needs_full else "note",
        text=f"{report.level} ({', '.join(report.layers) or 'no layer'})",
        mend=None if is_full else DEGRADED,
    )
    for layer in report.missing:
        yield Observation(
            topic="isolation", name=layer.name, level="note", text=f"missing: {layer.reason}"
        )
