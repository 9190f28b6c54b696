"""Traces at other shapes: a traced program is one for its own size and length only.

The candidate's source is traced once more by the confined child, and kept in the store under the
trace that it belongs to. It serves a diagnostic alone: what cannot be traced so is no worse a
candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.records import Program
from openevolve_unified.store import Store

VERSION = 1
FACTOR = 2
"""Times the length of the training, for ``longer``."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a program is traced for."""

    size: SizeConfig
    seq_len: int
    batch_size: int
    seeds: tuple[int, ...]


def trace_at(
    store: Store,
    tracer: Callable[[], Tracer],
    program: Program,
    trace: Path,
    shape: Shape,
    gates: GatesConfig,
) -> tuple[str | None, str]:
    """Where the trace at ``shape`` is, or why there is none.

    Args:
        trace: of the same program as it is trained; its name says what it is a function of.

    Returns:
        A path and no words, or None and the reason.

    Raises:
        ConfigError, MachineError: see ``Context.tracer`` and ``Tracer.trace``.
    """
    key = content_hash({"version": VERSION, "trace": trace.stem, "shape": shape})
    path = store.path("other_traces", key, ".safetensors")
    record = store.get("other_traces", key)  # written last, as that of every trace
    if record is None or not (record["refused"] or path.exists()):
        try:
            tracer().trace(
                program, (shape.size,), shape.seq_len, shape.seeds, gates, shape.batch_size, path
            )
            record = {"refused": ""}
        except CandidateError as error:
            record = {"refused": error.reason}
        store.put("other_traces", key, record)
    refused: str = record["refused"]
    return (None, refused) if refused else (str(path), "")
