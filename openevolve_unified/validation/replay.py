"""The replay: a finding judged again where it arrived, believing nothing that can be computed.

Its bytes were compared with the manifest when it was read. What follows here, from cheap to dear:
the records among themselves, the programs through the ordinary jail and checks, the text by this
package and by an independent reader, the verdict from the records, and every model whose weights
are there by an independent loss. So a record that was forged, manifest and all, is caught where its
weights are there, and by ``retrain`` where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.errors import CandidateError, ConfigError, nearest
from openevolve_unified.evaluation.ladder import CheckedProgram, train_requests
from openevolve_unified.judgement.estimates import t_quantile
from openevolve_unified.plain.files import disk_errors
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import TRAINING_VERSION, TrainJob, TrainRun
from openevolve_unified.validation.arms import ARMS, Arm, operations_ratios
from openevolve_unified.validation.export import held_out_hashes, rows_hash, versions
from openevolve_unified.validation.finding import Finding, StoredRun
from openevolve_unified.validation.finding_arms import FindingArms
from openevolve_unified.validation.independent_reader import HeldOut, read_held_out
from openevolve_unified.validation.registered import doubts
from openevolve_unified.validation.statistics import recompute
from openevolve_unified.validation.tasks import RescoreRequest

TOLERANCE_NATS = 1e-5
"""Between a recorded loss (float32) and the independent one. On a CPU the order of sums moves a
mean over tokens by 1e-7; the rest is room for a GPU's."""
Outcome = Literal["agrees", "differs", "not checked"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was held against the finding."""

    name: str
    outcome: Outcome
    words: str


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """One loss of trained weights, as recorded and by the independent loss; nats per token."""

    arm: Arm
    size: str
    seed: int
    split: Literal["validation", "test"]
    recorded: float
    scored: float
    tolerance: float = TOLERANCE_NATS

    @property
    def difference(self) -> float:
        return self.scored - self.recorded

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """One model trained again."""

    arm: Arm
    size: str
    seed: int
    recorded: float
    trained: float | None
    """None: it diverged or was refused here."""
    is_same: bool
    """The same job, versions, processor and form of the step: then the same bits are expected."""
    allowed: float | None
    """How far another rounding moves this loss in 95 of 100 cases, from the spread over seeds;
    None: one seed, unknown."""

    @property
    def how(self) -> str:
        """What was found, in words."""
        if self.trained is None:
            return "no loss here"
        if self.trained == self.recorded:
            return "bit-equal"
        if self.is_same:
            return "not bit-equal, on the same versions and processor"
        if self.allowed is None:
            return "not bit-equal; one seed: the noise is unknown"
        is_near = abs(self.trained - self.recorded) <= self.allowed
        return "within seed noise, not bit-equal" if is_near else "beyond seed noise"

    @property
    def agrees(self) -> bool:
        return self.how in ("bit-equal", "within seed noise, not bit-equal")


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """All that a replay found."""

    manifest_hash: str
    verdict: str | None
    checks: tuple[Check, ...]
    rescored: tuple[Rescored, ...] = ()
    retrained: tuple[Retrained, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing that was checked differs."""
        return all(
            (
                *(check.outcome != "differs" for check in self.checks),
                *(row.agrees for row in self.rescored),
                *(row.agrees for row in self.retrained),
            )
        )


def replay(arms: FindingArms, retrain: SizeConfig | None, say: Callable[[str], None]) -> Replayed:
    """Check all that can be checked without training, and train one model again if asked.

    Args:
        retrain: the size of the model of the evolved arm that is trained again, at its first seed.
        say: told what comes next.

    Raises:
        ConfigError: the text is not to be had, or weights do not fit their program.
        MachineError: the machine could not finish; the same call continues.
    """
    finding = arms.finding
    say("replay: records, versions")
    checks = [_versions(finding), _records(finding)]
    if finding.about.kind == "validation":
        checks.append(_registration(finding))
    say("replay: programs, through the jail and every check")
    checked, programs = _programs(arms)
    say("replay: the text, by this package and by an independent reader")
    held_out, data = _data(arms)
    checks += [programs, *data, _statistics(finding, checked)]
    rescored: tuple[Rescored, ...] = ()
    retrained: tuple[Retrained, ...] = ()
    if checked is not None:
        say(f"replay: {len(finding.with_weights())} models by the independent loss")
        rescored = _rescore(arms, checked, held_out)
        if retrain is not None:
            say(f"replay: {retrain.name} of the evolved arm is trained again")
            retrained = (_retrain(arms, checked["evolved"], retrain),)
    return Replayed(
        manifest_hash=finding.manifest_hash,
        verdict=finding.about.verdict,
        checks=tuple(checks),
        rescored=rescored,
        retrained=retrained,
    )


def size_named(finding: Finding, name: str | None) -> SizeConfig:
    """The size of the finding with this name; None: the smallest.

    Raises:
        ConfigError: it has no such size.
    """
    sizes = {size.name: size for size in finding.config.sizes}
    if name is not None and name not in sizes:
        raise ConfigError(
            f"--retrain: got {name!r}, wanted a size of the finding: {', '.join(sizes)}"
            f"{nearest(name, sizes)}"
        )
    return finding.config.sizes[0] if name is None else sizes[name]


def _versions(finding: Finding) -> Check:
    """Other versions are told, and refute nothing by themselves."""
    here, there = versions(), finding.about.versions
    differing = [
        f"{name} {there.get(name, 'unknown')} there, {here[name]} here"
        for name in here
        if here[name] != there.get(name)
    ]
    if finding.about.training_version != TRAINING_VERSION:
        differing.append(
            f"training {finding.about.training_version} there, {TRAINING_VERSION} here"
        )
    if differing:
        return Check(name="versions", outcome="not checked", words="; ".join(differing))
    return Check(name="versions", outcome="agrees", words="the same packages as the sender's")


def _records(finding: Finding) -> Check:
    """Each record against its own job, and within itself."""
    doubts = [
        f"{arm} {stored.name}: {doubt}"
        for arm in ARMS
        for stored in finding.runs[arm]
        for doubt in _doubts(stored, finding)
    ]
    number = sum(len(runs) for runs in finding.runs.values())
    if doubts:
        return Check(name="records", outcome="differs", words="; ".join(doubts[:3]))
    return Check(name="records", outcome="agrees", words=f"{number} records fit their jobs")


def _doubts(stored: StoredRun, finding: Finding) -> list[str]:
    job, run, found = stored.job, stored.run, []
    if finding.about.training_version == TRAINING_VERSION and job.key != run.job_key:
        found.append("its key is not that of its job")
    if job.program_fingerprint != run.trained_fingerprint:
        found.append("another program was trained than the job asked for")
    if run.curve and run.status == "finished":
        last = run.curve[-1].validation_loss_nats
        if run.curve[-1].step == run.step and last != run.final_loss_nats:
            found.append(f"its curve ends at {last}, its final loss is {run.final_loss_nats}")
    if job.data_fingerprint != finding.about.held_out.fingerprint:
        found.append("it was trained on other text")
    return found


def _registration(finding: Finding) -> Check:
    found = doubts(finding)
    if found:
        return Check(name="registration", outcome="differs", words="; ".join(found[:3]))
    words = "programs, seeds, criteria, data and every run are those of the registered plan"
    return Check(name="registration", outcome="agrees", words=words)


def _programs(arms: FindingArms) -> tuple[dict[Arm, CheckedProgram] | None, Check]:
    """Both programs, checked here, against the fingerprints in the records."""
    checked: dict[Arm, CheckedProgram] = {}
    for arm in ARMS:
        try:
            checked[arm] = arms.pipelines[arm].check(arms.finding.programs[arm])
        except CandidateError as error:
            words = f"the {arm} program is refused at stage '{error.stage}': {error.reason}"
            return None, Check(name="programs", outcome="differs", words=words)
        for stored in arms.finding.runs[arm]:
            here = checked[arm].job_fingerprints[f"{stored.job.size.name}:{stored.job.seed}"]
            if here != stored.job.program_fingerprint:
                words = (
                    f"{arm} {stored.name} was trained with another program than programs/{arm}.py, "
                    "or it is traced otherwise here"
                )
                return None, Check(name="programs", outcome="differs", words=words)
    words = "both pass every check; what was trained is what they are"
    return checked, Check(name="programs", outcome="agrees", words=words)


def _data(arms: FindingArms) -> tuple[HeldOut, list[Check]]:
    """The rows to score on, and what two readers say of them."""
    finding, data = arms.finding, arms.pipelines["standard"].context.data()
    wanted, ours = finding.about.held_out, held_out_hashes(data)
    number = len(data.validation) + len(data.test)
    if ours == wanted:
        words = f"{number:,} held-out rows and the whole corpus are those of the records"
        own = Check(name="data", outcome="agrees", words=words)
    else:
        names = [name for name, value in vars(ours).items() if value != getattr(wanted, name)]
        words = f"this package makes other text of it here: {', '.join(names)}"
        own = Check(name="data", outcome="differs", words=words)
    if finding.corpus is None and finding.config.data.source == "stories":
        rows = HeldOut(
            validation=np.asarray(data.validation),
            test=np.asarray(data.test),
            vocab_size=data.vocab_size,
        )
        words = "the stories were left out of the finding"
        return rows, [own, Check(name="independent reader", outcome="not checked", words=words)]
    rows = read_held_out(finding.config.data, finding.corpus)
    differing = [
        name
        for name in ("validation", "test")
        if rows_hash(getattr(rows, name)) != getattr(wanted, name)
    ]
    if differing:
        words = f"it makes other rows of the {' and '.join(differing)} split"
        return rows, [own, Check(name="independent reader", outcome="differs", words=words)]
    words = "its tokens of validation and test have the same hashes"
    return rows, [own, Check(name="independent reader", outcome="agrees", words=words)]


def _statistics(finding: Finding, checked: Mapping[Arm, CheckedProgram] | None) -> Check:
    name = "statistics"
    if checked is None:
        return Check(name=name, outcome="not checked", words="the programs differ")
    try:
        found = recompute(finding, operations_ratios(checked["evolved"]))
    except (ConfigError, ValueError) as error:
        return Check(name=name, outcome="differs", words=f"no verdict comes of it: {error}")
    if found is None:
        words = "no verdict is claimed"
        return Check(name=name, outcome="not checked", words=words)
    if found.verdict != finding.about.verdict:
        words = f"the records give {found.sentence}; claimed is '{finding.about.verdict}'"
        return Check(name=name, outcome="differs", words=words)
    return Check(name=name, outcome="agrees", words=found.sentence)


def _rescore(
    arms: FindingArms, checked: Mapping[Arm, CheckedProgram], held_out: HeldOut
) -> tuple[Rescored, ...]:
    finding = arms.finding
    wanted = finding.with_weights()
    rows_path = arms.folder / "held_out.npz"
    with disk_errors(rows_path):
        np.savez(rows_path, validation=held_out.validation, test=held_out.test)
    tasks = [
        RescoreRequest(
            job=stored.job,
            trace_path=str(checked[arm].trace_path),
            gates=finding.config.gates,
            weights_path=str(finding.weights_path(arm, stored)),
            rows_path=str(rows_path),
        ).task()
        for arm, stored in wanted
    ]
    results = arms.pipelines["standard"].perform(tasks)
    found = []
    for (arm, stored), scored in zip(wanted, results, strict=True):
        losses = {"validation": stored.run.final_loss_nats, "test": stored.run.test_loss_nats}
        for split, recorded in losses.items():
            if recorded is not None:
                found.append(
                    Rescored(
                        arm=arm,
                        size=stored.job.size.name,
                        seed=stored.job.seed,
                        split="validation" if split == "validation" else "test",
                        recorded=recorded,
                        scored=scored[split],
                    )
                )
    return tuple(found)


def _retrain(arms: FindingArms, checked: CheckedProgram, size: SizeConfig) -> Retrained:
    pipeline, runs = arms.pipelines["evolved"], arms.finding.runs["evolved"]
    own = [s for s in runs if s.job.size == size and s.run.final_loss_nats is not None]
    if not own:
        raise ConfigError(f"--retrain: no finished model of {size.name} is in the finding")
    stored = own[0]
    request = next(
        request
        for request in train_requests(pipeline.context, checked, [stored.job.seed])
        if request.job.size == size
    )
    (result,) = pipeline.perform([request.training()])
    recorded = [s.run.final_loss_nats for s in own if s.run.final_loss_nats is not None]
    allowed = None
    if len(recorded) > 1:
        spread = float(np.std(recorded, ddof=1)) * math.sqrt(2)
        allowed = t_quantile(0.975, len(recorded) - 1) * spread
    run = from_mapping(TrainRun, result, "run")
    return Retrained(
        arm="evolved",
        size=size.name,
        seed=stored.job.seed,
        recorded=recorded[0],
        trained=run.final_loss_nats,
        is_same=_are_bits_expected(arms.finding, stored, request.job, run),
        allowed=allowed,
    )


def _are_bits_expected(finding: Finding, stored: StoredRun, job: TrainJob, run: TrainRun) -> bool:
    """Whether the finding was made on what trains here; a GPU and compiled steps never promise."""
    return (
        stored.run.job_key == job.key
        and stored.run.versions == run.versions
        and finding.about.versions.get("processor") == versions()["processor"]
        and job.device_type == "cpu"
        and stored.run.step_kind == run.step_kind == "plain"
    )
