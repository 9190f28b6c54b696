"""A validation in a process of its own, killed on the way; no worker runs, its losses are old."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tiny_ladder import INITIAL, build_pipeline

from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.evaluation.ladder import CheckedProgram, Workplace
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.store import Store
from openevolve_unified.validation.validate import Request, validate


def validate_until_killed(
    folder: Path,
    store: str,
    config: ScalingLawConfig,
    request: Request,
    checked: dict[str, CheckedProgram],
    known: Path,
    num_trained: int,
) -> None:
    """Go on until ``num_trained`` jobs were 'trained', which takes their records out of ``known``.

    Args:
        checked: by source, what the checks would find.
    """
    old, trained = Store(known), []

    def run(self, tasks):
        for place, task in enumerate(tasks):
            if len(trained) == num_trained:
                os.kill(os.getpid(), signal.SIGKILL)
            record = old.get("runs", task.record.key)
            self.store.put("runs", task.record.key, record)
            trained.append(task.record.key)
            yield place, record

    Pipeline.check = lambda self, source: checked[source]
    Workplace.run = run
    pipeline, _ = build_pipeline(config, folder, store)
    assert pipeline.initial.source == INITIAL
    validate(pipeline, request, lambda text: None)
