"""The attempt: a program on its way to its verdict, traced, checked, and named in the store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.evaluation.ladder import CheckedProgram, Workplace
from openevolve_unified.evaluation.race import Hurdle
from openevolve_unified.evaluation.requests import CheckRequest
from openevolve_unified.evaluation.seeds import traced_seeds
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TRAINING_VERSION, Program, Traits
from openevolve_unified.runs.events import StageStarted

EVALUATION_VERSION = 8
"""Raised whenever the meaning of a stored trace or evaluation changes."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A program on its way to its verdict, and all that this takes."""

    place: Workplace
    program: Program
    initial: Program
    hurdle: Hurdle | None = None

    def key(self, seeds: tuple[int, ...]) -> str:
        """Of the verdict in the store: all that it is a function of."""
        config, resources = self.place.config, self.place.resources
        return content_hash(
            {
                "version": EVALUATION_VERSION,
                "training_version": TRAINING_VERSION,
                "program": self.program,
                "initial": self.initial.source_hash,
                "sizes": config.sizes,
                "data": self.place.data.fingerprint,
                "training": dataclasses.replace(config.training, seeds=seeds),
                "traced_seeds": traced_seeds(config),
                "gates": config.gates,
                "fitness": config.fitness,
                **resources.precisions,
                "device_type": resources.device_type,
            }
        )

    def check(self) -> CheckedProgram:
        """Trace the program and hold it to every check; raises like ``Pipeline.check``."""
        self.place.say(StageStarted(stage="trace"))
        self.place.warm_up()
        trace_path, isolation = self.trace(self.program)
        return self.check_trace(trace_path, isolation, self.place.config.gates)

    def check_trace(
        self, trace_path: Path, isolation: dict[str, Any], gates: GatesConfig
    ) -> CheckedProgram:
        """Hold a trace of the program to every check."""
        place, config = self.place, self.place.config
        baseline_path, _ = self.trace(self.initial)
        place.say(StageStarted(stage="checks"))
        request = CheckRequest(
            trace_path=str(trace_path),
            baseline_path=str(baseline_path),
            gates=gates,
            seq_len=config.data.seq_len,
            vocab_size=place.data.vocab_size,
            seeds=traced_seeds(config),
            batch_size=config.training.batch_size,
            store=str(place.store.root),
            num_slots=place.resources.num_workers,
        )
        ((_, report),) = place.run([request.task()])
        return CheckedProgram(
            program=self.program,
            trace_path=trace_path,
            fingerprint=report["fingerprint"],
            job_fingerprints=report["job_fingerprints"],
            features=report["features"],
            evidence={**report["evidence"], "isolation": isolation, **self._precisions()},
            traits=from_mapping(Traits, report["traits"], "traits"),
        )

    def _precisions(self) -> dict[str, Any]:
        """What the checks vouch for, where a mechanism trains below it."""
        trained = self.place.resources.mechanism_precision
        if trained == "float32":
            return {}
        return {"precision": {"mechanism_trained": trained, "checked": "float64 and float32"}}

    def trace(self, program: Program) -> tuple[Path, dict[str, Any]]:
        """The traced program's file and how it was confined, from the store or made now."""
        config, gates = self.place.config, self.place.config.gates
        request = {
            "version": EVALUATION_VERSION,
            "source": program.source_hash,
            "framework": program.framework,
            "sizes": config.sizes,
            "seq_len": config.data.seq_len,
            "seeds": traced_seeds(config),
            "batch_size": config.training.batch_size,
            "bounds": (gates.max_nodes, gates.max_constant_elements),
        }
        store, key = self.place.store, content_hash(request)
        path = store.path("traces", key, ".safetensors")
        record = store.get("traces", key)  # written last: with it, the trace beside it is whole
        if record is None or not path.exists():
            training = config.training
            isolation = self.place.tracer().trace(
                program,
                config.sizes,
                config.data.seq_len,
                traced_seeds(config),
                gates,
                training.batch_size,
                path,
            )
            record = {"isolation": isolation.to_plain()}
            store.put("traces", key, record)
        return path, record["isolation"]
