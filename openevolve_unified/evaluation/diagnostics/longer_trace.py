"""The trace at twice the length: a traced program is one for its own length only.

One size and the program's own source, like every trace by the confined child, kept in the store
under the trace that it belongs to. It serves a diagnostic alone: what cannot be traced so is no
worse a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.records import Program
from openevolve_unified.store import Store

FACTOR = 2
"""Times the length of the training."""
VERSION = 1


def trace_longer(
    store: Store,
    tracer: Callable[[], Tracer],
    config: ScalingLawConfig,
    program: Program,
    trace: Path,
    seeds: Sequence[int],
) -> tuple[str | None, str]:
    """Where the program is traced at the largest size and ``FACTOR`` times the length, or why not.

    Args:
        trace: of the same program at its own length; its name says what it is a function of.
        seeds: those of that trace.

    Returns:
        A path and no words, or None and the reason.

    Raises:
        ConfigError, MachineError: see ``Context.tracer`` and ``Tracer.trace``.
    """
    size = config.sizes[-1]
    key = content_hash({"version": VERSION, "trace": trace.stem, "size": size, "factor": FACTOR})
    path = store.path("longer_traces", key, ".safetensors")
    record = store.get("longer_traces", key)  # written last, as that of every trace
    if record is None or not (record["refused"] or path.exists()):
        try:
            tracer().trace(
                program,
                (size,),
                FACTOR * config.data.seq_len,
                seeds,
                config.gates,
                config.training.batch_size,
                path,
            )
            record = {"refused": ""}
        except CandidateError as error:
            record = {"refused": error.reason}
        store.put("longer_traces", key, record)
    refused: str = record["refused"]
    return (None, refused) if refused else (str(path), "")
