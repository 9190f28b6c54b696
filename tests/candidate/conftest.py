"""One warm tracer for the whole session, and programs built from the initial ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from assembled_programs import build_program, initial_source

from openevolve_unified.candidate.checks import CheckReport, run_checks
from openevolve_unified.candidate.program.traced import TracedCandidate, load_traced
from openevolve_unified.candidate.tracing.tracer import Tracer
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.records import Program

SEQ_LEN = 16
VOCAB_SIZE = 512
BATCH_SIZE = 6
"""Of training; the other checks run at most four sequences."""
SIZES = tuple(SizeConfig(hidden_dim=d, num_layers=2, num_heads=h) for d, h in ((16, 2), (24, 3)))
GATES = GatesConfig(
    max_flops_ratio=3.0, max_params_ratio=1.2, trace_deadline_s=60.0, trace_memory_mb=1_024
)
"""A wide budget: at these sizes every (time, time) product is a large share of the model."""
SEEDS = (7, 8)


@dataclass(frozen=True)
class Desk:
    """What most tests need: trace a program, or trace and check it."""

    tracer: Tracer
    folder: Path
    baselines: dict[str, TracedCandidate]
    gates: GatesConfig = GATES
    sizes: tuple[SizeConfig, ...] = SIZES
    seq_len: int = SEQ_LEN
    seeds: tuple[int, ...] = SEEDS
    batch_size: int = BATCH_SIZE

    def initial_source(self, framework: str) -> str:
        return initial_source(framework)

    def program(self, body: str, framework: str = "coefficient_dynamics", members: str = "") -> str:
        return build_program(body, framework, members)

    def refusal(
        self, source: str, framework: str = "coefficient_dynamics", gates: GatesConfig = GATES
    ) -> CandidateError:
        with pytest.raises(CandidateError) as caught:
            self.check(source, framework, gates)
        return caught.value

    def trace(self, source: str, framework: str, gates: GatesConfig = GATES) -> TracedCandidate:
        out_path = self.folder / "candidate.safetensors"
        program = Program(source=source, framework=framework)
        self.tracer.trace(program, SIZES, SEQ_LEN, SEEDS, gates, BATCH_SIZE, out_path)
        return load_traced(out_path, gates)

    def check(self, source: str, framework: str, gates: GatesConfig = GATES) -> CheckReport:
        if framework not in self.baselines:
            self.baselines[framework] = self.trace(initial_source(framework), framework)
        candidate = self.trace(source, framework, gates)
        baseline = self.baselines[framework]
        return run_checks(
            candidate, baseline, SEQ_LEN, VOCAB_SIZE, gates, SEEDS[0], self.batch_size
        )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tracer() -> Iterator[Tracer]:
    with Tracer() as tracer:
        yield tracer


@pytest.fixture(scope="session")
def desk(tracer: Tracer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tracer, tmp_path_factory.mktemp("traced"), {})
