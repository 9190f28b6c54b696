"""The folder of a run with everything that its report draws, and nothing trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from made_ablation import made_report as made_ablation
from made_control import made_control
from made_noise import made_noise
from made_run import MadeRun
from validated_arms import arms_of

from openevolve_unified.health import Health, HealthPoint
from openevolve_unified.judgement.criteria import Criteria
from openevolve_unified.judgement.validation import judge
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.records import CurvePoint, Evaluation, SizeResult
from openevolve_unified.report.ablation_table import ablation_json
from openevolve_unified.report.control_table import control_json
from openevolve_unified.runs.events import IterationEnded, NoiseKnown
from openevolve_unified.store import open_store

STEPS = (75, 150, 375, 750)
GAINS = (0.01, -0.02, 0.02, 0.005, 0.011)
"""Of the validation's pairs, relative."""


class MadeRecords:
    """Writes a run, and what every other command left in its folder.

    Args:
        parents: by iteration, the iteration of its parent (0: the initial program).
    """

    def __init__(
        self,
        folder: Path,
        *,
        gains: Sequence[float] = (-0.01, 0.02, 0.05),
        parents: Sequence[int] = (0, 0, 2),
        has_reports: bool = True,
        **changes,
    ):
        self.made = MadeRun(folder, gains=gains, **changes)
        self.folder, self._store = folder, open_store(folder.parent / "store")
        found = [self.made.evaluation(self.made.initial, 0.0)]
        found += [
            self.made.evaluation(self.made.source(number), gain)
            for number, gain in enumerate(gains, 1)
        ]
        for one in found:
            self._keep(one)
        self._name_parents(parents)
        self._write_checkpoint(found)
        if has_reports:
            self._write_reports()

    def _keep(self, found: Evaluation) -> None:
        """Evaluation and trainings, with their curves, in the store."""
        whole = dataclasses.replace(found, sizes=tuple(map(_with_curves, found.sizes)))
        for size in whole.sizes:
            for run in size.runs:
                self._store.put("runs", run.job_key, run)
        key = content_hash(found.program.source)
        self._store.put("evaluations", key, {"Evaluation": to_plain(whole)})

    def _name_parents(self, parents: Sequence[int]) -> None:
        """Tell every proposal anew, with its parent."""
        sources = [self.made.initial, *(self.made.source(n + 1) for n in range(len(parents)))]
        hashes = [content_of(source) for source in sources]
        for number, parent in enumerate(parents, 1):
            known = next(p for p in self.made.proposals.proposals if p.iteration == number)
            self.made.log(IterationEnded.of(dataclasses.replace(known, parent=hashes[parent])))

    def _write_checkpoint(self, found: Sequence[Evaluation]) -> None:
        place = self.folder / "checkpoints" / f"checkpoint_{len(found) - 1}"
        cells = {f"{number % 8}-{number // 8}": str(number) for number in range(len(found))}
        stats = {name: {"min": 0.0, "max": 1.0} for name in ("lookback", "log10_operators")}
        metadata = {"island_feature_maps": [cells], "feature_stats": stats}
        write_json(place / "metadata.json", metadata)
        for number, one in enumerate(found):
            metrics = {"combined_score": one.score.combined, "mean_score": one.score.combined}
            write_json(
                place / "programs" / f"{number}.json",
                {"code": one.program.source, "metrics": metrics, "metadata": {}},
            )

    def _write_reports(self) -> None:
        self.made.log(NoiseKnown(noise=to_plain(made_noise())))
        write_json(self.folder / "control" / "control.json", control_json(made_control()))
        write_json(self.folder / "ablation.json", ablation_json(made_ablation()))
        write_validation(self.folder / "validation")


def write_validation(folder: Path, gains: Sequence[float] = GAINS) -> None:
    """A validation whose evolved arm is better by these relative gains."""
    criteria = Criteria()
    arms = dict(zip(("standard", "evolved"), arms_of(gains), strict=True))
    sizes = ["32x2", "48x2", "64x2", "96x2"]

    def runs(losses) -> list[list[dict]]:
        return [[{"status": "finished", "final_loss_nats": x} for x in row] for row in losses]

    write_json(
        folder / "validation.json",
        {
            "horizon": "pilot, 750 of 100,000 steps",
            "judgement": to_plain(judge(*arms.values(), criteria)),
            "arms": {
                name: {"sizes": sizes, "seeds": arm.seeds, "runs": runs(arm.final_losses.tolist())}
                for name, arm in arms.items()
            },
        },
    )
    write_json(folder / "registration.json", {"plan": {"criteria": to_plain(criteria)}})


def content_of(source: str) -> str:
    """The first digits of a program's hash."""
    import hashlib

    return hashlib.sha256(source.encode()).hexdigest()[:12]


def _with_curves(size: SizeResult) -> SizeResult:
    return dataclasses.replace(
        size,
        runs=tuple(
            dataclasses.replace(
                run,
                curve=tuple(
                    CurvePoint(step=step, train_loss_nats=loss + 0.1, validation_loss_nats=loss)
                    for step in STEPS
                    for loss in [run.final_loss_nats + math.log(STEPS[-1] / step)]
                ),
                health=Health(points=tuple(_health_point(step) for step in STEPS)),
            )
            for run in size.runs
        ),
    )


def _health_point(step: int) -> HealthPoint:
    return HealthPoint(
        step=step,
        train_loss_nats=3.0 - math.log10(step),
        loss_sd_nats=0.1,
        gradient_norm=100 / step,
        own_gradient_share=None,
        input_gradient_share=0.5,
        update_to_weight=1 / step,
        vanished_gradients=0.0,
        output_variance=0.5 if step % 50 == 0 else None,
        largest_coefficient=1.0 if step % 50 == 0 else None,
        coefficient_entropy=0.7 if step % 50 == 0 else None,
        log_z=None,
    )
