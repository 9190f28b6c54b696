"""The fifth size: predicted from a finding's records, then trained, then judged.

The prediction is sealed and dated in the finding's ``prediction.json`` before a step of training;
it is never written again, and what was measured is added beside it with a seal of its own. Models
that were trained in the replay's folder before there was a prediction are refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import CheckedProgram, train_requests
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.judgement.prediction import Prediction, predict, predict_by_line
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.files import write_json
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TrainRun
from openevolve_unified.validation.arms import ARMS, Arm
from openevolve_unified.validation.export import versions
from openevolve_unified.validation.finding import PREDICTION, Finding
from openevolve_unified.validation.finding_arms import FindingArms, arm_config
from openevolve_unified.validation.manifest import is_sealed, read_sealed, sealed
from openevolve_unified.validation.statistics import losses_of
from openevolve_unified.validation.tasks import CountRequest

DEFAULT_SEEDS = 3
"""Of the finding's seeds, the first ones."""
_SIZE = re.compile(r"(\d{1,6})x(\d{1,4})x(\d{1,4})")


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """What was said of a size before it was trained."""

    manifest_hash: str
    """Of the finding whose records it rests on."""
    size: SizeConfig
    seeds: tuple[int, ...]
    num_params: dict[str, float]
    """By arm, non-embedding."""
    predictions: dict[str, Any]
    """By arm the mean loss; ``difference`` is evolved less standard. See ``Prediction``."""
    versions: dict[str, str]
    written_at: str
    """UTC, before any training of this size."""

    def prediction(self, name: str) -> Prediction:
        """One of ``predictions``."""
        return from_mapping(Prediction, self.predictions[name], name)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What training this size gave."""

    foretold_hash: str
    losses: dict[str, Any]
    """By arm: one per seed, nats per token; None where a run has no loss."""
    means: dict[str, Any]
    """As in ``Foretold.predictions``; None where a run has no loss."""
    inside: dict[str, Any]
    """Whether each mean lies inside its interval; None: not measured."""
    measured_at: str


@dataclass(frozen=True, kw_only=True)
class JudgedPrediction:
    """A prediction, and what came of it; ``measured`` is None until all models are trained."""

    foretold: Foretold
    measured: Measured | None


def parse_size(text: str) -> SizeConfig:
    """``256x3x16`` as hidden_dim 256, 3 layers, 16 heads.

    Raises:
        ConfigError: not of this form, or no possible size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"size: got {text!r}, wanted HIDDEN_DIMxLAYERSxHEADS, for example 256x3x16"
        )
    hidden_dim, num_layers, num_heads = map(int, match.groups())
    try:
        return SizeConfig(hidden_dim=hidden_dim, num_layers=num_layers, num_heads=num_heads)
    except ConfigError as error:
        raise ConfigError(f"size {text}: {error}") from None


def read_predictions(finding: Finding) -> list[JudgedPrediction]:
    """All predictions in a finding's ``prediction.json``.

    Raises:
        ConfigError: a byte of it was changed, or it is another finding's.
    """
    path = finding.folder / PREDICTION
    try:
        record = read_sealed(path)
    except FileNotFoundError:
        return []
    if record is None:
        raise _changed(finding)
    found = []
    for entry in record["predictions"]:
        foretold, measured = entry["foretold"], entry["measured"]
        if not is_sealed(foretold) or (measured is not None and not is_sealed(measured)):
            raise _changed(finding)
        if measured is not None and measured["foretold_hash"] != foretold["hash"]:
            raise _changed(finding)
        if foretold["manifest_hash"] != finding.manifest_hash:
            raise ConfigError(
                f"finding {finding.folder}: {PREDICTION} rests on the records of another finding; "
                "remove it"
            )
        found.append(
            JudgedPrediction(
                foretold=from_mapping(Foretold, _unsealed(foretold), PREDICTION),
                measured=(
                    None
                    if measured is None
                    else from_mapping(Measured, _unsealed(measured), PREDICTION)
                ),
            )
        )
    return found


def predict_and_train(
    arms: FindingArms, size: SizeConfig, seeds: Sequence[int], say: Callable[[str], None]
) -> JudgedPrediction:
    """Predict, seal, train and judge one size; what is done already is not done again.

    Args:
        seeds: empty: those of the prediction that is there, else the first ``DEFAULT_SEEDS``.

    Raises:
        ConfigError: the size is not beyond the ladder, a prediction of it for other seeds is there,
            it was trained before it was predicted, or the folder of the finding cannot be written.
        MachineError: the machine could not finish; the same call continues.
    """
    finding, known = arms.finding, read_predictions(arms.finding)
    own = next((judged for judged in known if judged.foretold.size == size), None)
    if own is not None and seeds and tuple(seeds) != own.foretold.seeds:
        raise ConfigError(
            f"--seeds: got {list(seeds)}, but the prediction of {size.name} was written for "
            f"{list(own.foretold.seeds)} at {own.foretold.written_at} and is not written again"
        )
    if own is not None and own.measured is not None:
        return own
    chosen = own.foretold.seeds if own else tuple(seeds) or finding.about.seeds[:DEFAULT_SEEDS]
    say(f"prediction of {size.name}: both programs at this size, through the jail and every check")
    pipelines = {arm: _pipeline(arms, arm, size, chosen) for arm in ARMS}
    checked = {arm: _check(pipelines[arm], arms.finding.programs[arm], arm) for arm in ARMS}
    if own is None:
        own = JudgedPrediction(
            foretold=_foretell(arms, pipelines, checked, size, chosen), measured=None
        )
        known = [*known, own]
        _write(finding, known)
        say(f"prediction of {size.name}: written and sealed at {own.foretold.written_at}")
    say(f"prediction of {size.name}: now it is trained, seeds {list(chosen)} of both arms")
    losses = {arm: _train(pipelines[arm], checked[arm], size, chosen) for arm in ARMS}
    judged = dataclasses.replace(own, measured=_measure(own.foretold, losses))
    _write(finding, [judged if entry is own else entry for entry in known])
    return judged


def _foretell(
    arms: FindingArms,
    pipelines: dict[Arm, Pipeline],
    checked: dict[Arm, CheckedProgram],
    size: SizeConfig,
    seeds: tuple[int, ...],
) -> Foretold:
    finding = arms.finding
    arrays, counts = {}, {}
    targets: dict[str, float] = {}
    common = sorted(
        {s.job.seed for s in finding.runs["standard"]}
        & {s.job.seed for s in finding.runs["evolved"]}
    )
    for arm in ARMS:
        pipeline = pipelines[arm]
        requests = [r for r in train_requests(pipeline.context, checked[arm]) if r.job.size == size]
        for request in requests:
            if pipeline.context.store.get("runs", request.job.key) is not None:
                raise ConfigError(
                    f"--predict-size: {size.name} was trained in {arms.folder} before it was "
                    "predicted, so that would be no prediction; choose another size"
                )
        counting = CountRequest(
            trace_path=requests[0].trace_path,
            gates=requests[0].gates,
            size_name=size.name,
        )
        (counted,) = pipeline.perform([counting.task()])
        targets[arm] = float(counted["num_params_non_embedding"])
        counts[arm], losses = losses_of(finding.runs[arm], common)
        arrays[arm] = losses
        if targets[arm] <= counts[arm][-1]:
            raise ConfigError(
                f"--predict-size: {size.name} has {targets[arm]:,.0f} parameters, wanted more than "
                f"the largest size of the finding ({counts[arm][-1]:,.0f}): inside the ladder the "
                "loss is measured, not predicted"
            )
    sound = np.isfinite(arrays["standard"]).all(axis=1) & np.isfinite(arrays["evolved"]).all(axis=1)
    if not sound.any():
        raise ConfigError("--predict-size: no seed of the finding finished at every size")
    number = len(seeds)
    predictions = {
        arm: predict(counts[arm], arrays[arm][sound], targets[arm], number) for arm in ARMS
    }
    difference = predict_by_line(
        counts["standard"],
        (arrays["evolved"] - arrays["standard"])[sound],
        targets["standard"],
        number,
    )
    return Foretold(
        manifest_hash=finding.manifest_hash,
        size=size,
        seeds=seeds,
        num_params=targets,
        predictions=to_plain({**predictions, "difference": difference}),
        versions=versions(),
        written_at=_now(),
    )


def _measure(foretold: Foretold, losses: dict[Arm, list[float | None]]) -> Measured:
    means: dict[str, float | None] = {}
    for arm in ARMS:
        found = [loss for loss in losses[arm] if loss is not None]
        means[arm] = float(np.mean(found)) if len(found) == len(losses[arm]) else None
    standard, evolved = means["standard"], means["evolved"]
    means["difference"] = None if standard is None or evolved is None else evolved - standard
    return Measured(
        foretold_hash=sealed(to_plain(foretold))["hash"],
        losses={arm: losses[arm] for arm in ARMS},
        means=means,
        inside={
            name: None if mean is None else foretold.prediction(name).holds(mean)
            for name, mean in means.items()
        },
        measured_at=_now(),
    )


def _pipeline(arms: FindingArms, arm: Arm, size: SizeConfig, seeds: tuple[int, ...]) -> Pipeline:
    """An arm's, with the new size and these seeds."""
    pipeline = arms.pipelines[arm]
    config = arm_config(arms.finding, arm, seeds, (size,))
    context = dataclasses.replace(pipeline.context, config=config)
    return Pipeline(context, pipeline.initial.source)


def _check(pipeline: Pipeline, source: str, arm: Arm) -> CheckedProgram:
    try:
        return pipeline.check(source)
    except CandidateError as error:
        raise ConfigError(
            f"--predict-size: the {arm} program is refused at this size, at stage '{error.stage}': "
            f"{error.reason}"
        ) from None


def _train(
    pipeline: Pipeline, checked: CheckedProgram, size: SizeConfig, seeds: tuple[int, ...]
) -> list[float | None]:
    """The loss of each seed; what is in the store is not trained again."""
    requests = [r for r in train_requests(pipeline.context, checked) if r.job.size == size]
    results = pipeline.perform([request.training() for request in requests])
    runs = {run.seed: run for run in (from_mapping(TrainRun, one, "run") for one in results)}
    return [runs[seed].final_loss_nats for seed in seeds]


def _write(finding: Finding, judged: Sequence[JudgedPrediction]) -> None:
    entries = [
        {
            "foretold": sealed(to_plain(one.foretold)),
            "measured": None if one.measured is None else sealed(to_plain(one.measured)),
        }
        for one in judged
    ]
    write_json(finding.folder / PREDICTION, sealed({"predictions": entries}))


def _unsealed(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "hash"}


def _changed(finding: Finding) -> ConfigError:
    return ConfigError(
        f"finding {finding.folder}: {PREDICTION} was changed since it was sealed; take it from "
        "where it was written, or remove it and predict again"
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
