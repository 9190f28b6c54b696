"""Validations with real training on a tiny ladder: verdicts, equal tuning, what is refused."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from killed_validation import validate_until_killed
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.noise_floor import measure_noise_floor
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.config.validation import SearchSpace, TuningConfig, ValidationConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.report.validation_table import plan_lines, validation_lines
from openevolve_unified.store import Store
from openevolve_unified.validation.arms import ValidationArm
from openevolve_unified.validation.plan import validation_seeds
from openevolve_unified.validation.validate import Request, validate

pytest.importorskip("optuna")
pytest.importorskip("statsmodels")
MEAN = next(
    m.source
    for m in mechanisms()
    if (m.name, m.framework) == ("causal_mean", "coefficient_dynamics")
)
READOUT = "return self.normaliser(self.readout(z), mask)"
TWIN = INITIAL.replace(READOUT, "return self.normaliser(self.readout(z * 3.0) / 3.0, mask)")
HOT = {"learning_rate": (3e-3, 1e-2), "warmup_steps": (2, 5), "batch_sizes": (8,)}
NO_TUNING = TuningConfig(mode="none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("validate")


@pytest.fixture(scope="module")
def base(folder, one_worker):
    """A pipeline whose machine all tests share."""
    config = tiny_config(
        folder,
        ExecutionConfig(num_workers=1, deadline_s=240),
        training_steps=60,
        eval_frequency=60,
        learning_rate=5e-3,
    )
    pipeline, _ = build_pipeline(config, folder, "store", one_worker)
    return pipeline


def with_validation(base, initial=INITIAL, **settings):
    config = dataclasses.replace(base.config, validation=ValidationConfig(**settings))
    return Pipeline(dataclasses.replace(base.context, config=config), initial)


def request(folder, name, evolved, **more):
    place = folder / name
    place.mkdir(exist_ok=True)
    more = {"despite_power": True, **more}
    return Request(evolved=evolved, folder=place, config_hash="-", config_name="my.yaml", **more)


def told(_):
    """Nobody listens."""


@pytest.fixture(scope="module")
def worse(base, folder):
    """Averaging against attention, both tuned: two trials, eight pairs."""
    pipeline = with_validation(
        base,
        num_seeds=8,
        tuning=TuningConfig(num_trials=2, space=SearchSpace(**HOT), size="smallest"),
    )
    asked = request(folder, "worse", MEAN)
    return SimpleNamespace(pipeline=pipeline, request=asked, found=validate(pipeline, asked, told))


def runs_in(store):
    return {p.name: p.stat().st_mtime_ns for p in (store.root / "runs").rglob("*.json")}


def test_a_planted_worse_mechanism_is_worse(worse):
    assert worse.found.judgement.verdict == "worse"
    assert worse.found.judgement.estimate("relative gain").ci95[1] < 0


def test_both_arms_are_tuned_with_the_same_trials_and_steps(worse, folder):
    tuned = worse.found.tuned
    assert {name: len(trials) for name, trials in tuned.trials.items()} == {
        "standard": 2,
        "evolved": 2,
    }
    first, second = (trials[0] for trials in tuned.trials.values())
    assert first.settings() == second.settings(), "the search begins alike"
    for name, trials in tuned.trials.items():
        best = min(trials, key=lambda trial: sum(trial.losses_nats))
        training = tuned.trainings[name]
        assert training.learning_rate == best.learning_rate
        assert training.weight_decay == best.weight_decay
        for trial in trials:
            keys = [trial.job_key, *(found.job_key for found in trial.again)]
            runs = [worse.pipeline.context.store.get("runs", key) for key in keys]
            assert [(run["seed"], run["step"]) for run in runs] == [
                (4042, 60),
                (4043, 60),
                (4044, 60),
            ]
        assert (folder / "worse" / f"tuning_{name}.log").exists()
    assert tuned.note is None


def test_the_record_has_every_run_and_no_time(worse, folder):
    record = json.loads((folder / "worse" / "validation.json").read_text())
    assert record == worse.found.record
    for arm in record["arms"].values():
        assert arm["seeds"] == list(range(2042, 2050))
        assert all(len(row) == 3 for row in arm["runs"])
        assert not {"train_time_s", "energy_joules", "certificate"} & set(arm["runs"][0][0])
        assert arm["runs"][0][0]["test_loss_nats"] > 0
    standard, evolved = (arm["runs"] for arm in record["arms"].values())
    assert standard[0][0]["job_key"] != evolved[0][0]["job_key"]
    text = "\n".join(plan_lines(worse.found.registration) + validation_lines(worse.found))
    assert "pilot, 60 of 100,000 steps" in text
    assert text.splitlines()[-1].startswith("worse: ")
    assert len([line for line in text.splitlines() if line.startswith("    0.00")]) == 4


def test_the_same_call_again_trains_nothing_and_writes_the_same_bytes(worse, folder):
    store = worse.pipeline.context.store
    before = runs_in(store)
    path = folder / "worse" / "validation.json"
    whole = path.read_bytes()
    path.unlink()
    validate(worse.pipeline, worse.request, told)
    assert path.read_bytes() == whole
    assert runs_in(store) == before


def test_a_validation_that_was_killed_among_its_pairs_ends_with_the_same_bytes(worse, folder):
    """Its trials and all but three of its runs were done; one more is when it is killed."""
    pipeline, config = worse.pipeline, worse.pipeline.config
    shutil.copytree(folder / "store", folder / "killed_store")
    again = Store(folder / "killed_store")
    for run in worse.found.runs["evolved"][3]:
        again.path("runs", run.job_key).unlink()
    left = runs_in(again)
    seeds = validation_seeds(pipeline, None).all_used
    arms = [ValidationArm("evolved", source, pipeline, seeds) for source in (INITIAL, MEAN)]
    checked = {arm.program.source: arm.checked(config.training.batch_size) for arm in arms}
    asked = request(folder, "killed", MEAN)
    shutil.copy(folder / "worse" / "registration.json", asked.folder)
    process = multiprocessing.get_context("spawn").Process(
        target=validate_until_killed,
        args=(folder, "killed_store", config, asked, checked, folder / "store", 1),
    )
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert len(runs_in(again)) == len(left) + 1
    assert (asked.folder / "tuning_evolved.log").exists()
    assert not (asked.folder / "validation.json").exists()
    kept = runs_in(again)
    context = dataclasses.replace(pipeline.context, store=again)
    validate(Pipeline(context, INITIAL), asked, told)
    whole = (folder / "worse" / "validation.json").read_bytes()
    assert (asked.folder / "validation.json").read_bytes() == whole
    assert kept.items() <= runs_in(again).items()
    assert len(runs_in(again)) == len(kept) + 2, "what was left was trained"


def test_another_plan_in_the_same_folder_is_refused(worse):
    validation = dataclasses.replace(worse.pipeline.config.validation, alpha=0.1)
    changed = with_validation(worse.pipeline, **vars(validation))
    with pytest.raises(ConfigError, match=r"another plan is registered: criteria.alpha"):
        validate(changed, worse.request, told)


def test_one_seed_that_fails_stays_in_the_record_and_is_named(worse):
    """Its pair is left out of the tests, and the outcome says which and why."""
    store = worse.pipeline.context.store
    key = worse.found.runs["evolved"][2][1].job_key
    path, whole = store.path("runs", key), store.get("runs", key)
    diverged = {"status": "diverged", "step": 7, "final_loss_nats": None, "test_loss_nats": None}
    written = path.read_bytes()
    try:
        store.put("runs", key, {**whole, **diverged})
        found = validate(worse.pipeline, worse.request, told)
    finally:
        path.write_bytes(written)
    assert found.judgement.failed_seeds == (2044,)
    assert found.record["arms"]["evolved"]["runs"][2][1]["status"] == "diverged"
    assert len(found.record["arms"]["evolved"]["runs"]) == 8
    text = "\n".join(validation_lines(found))
    assert "failed    evolved, seed 2044, 24x1: not finite at step 7" in text
    assert "7 pairs" in found.judgement.sentence
    validate(worse.pipeline, worse.request, told)


def test_a_planted_better_mechanism_is_improved(base, folder):
    """Attention against averaging, at seeds where no test trained either before."""
    seeds = tuple(range(5001, 5009))
    pipeline = with_validation(base, initial=MEAN, seeds=seeds, tuning=NO_TUNING)
    found = validate(pipeline, request(folder, "better", INITIAL), told)
    assert found.judgement.verdict == "improved", found.judgement.sentence
    assert "neither arm was tuned" in found.tuned.note


def test_results_that_were_known_before_the_registration_are_refused_or_declared(worse, folder):
    """The runs of ``worse``, with the other program as the initial one: nothing is trained."""
    settings, store = vars(worse.pipeline.config.validation), worse.pipeline.context.store
    pipeline, before = with_validation(worse.pipeline, initial=MEAN, **settings), runs_in(store)
    asked = request(folder, "mirrored", INITIAL)
    with pytest.raises(ConfigError, match=r"trained at the seeds \[2042, .*, 2049\] before"):
        validate(pipeline, asked, told)
    assert not (asked.folder / "registration.json").exists()
    declared = dataclasses.replace(asked, deviation="they are those of the other way round")
    found = validate(pipeline, declared, told)
    assert found.judgement.estimate("relative gain").ci95[0] > 0
    assert "deviation they are those of the other way" in "\n".join(validation_lines(found))
    assert runs_in(store) == before


@pytest.mark.slow
def test_an_equal_twin_is_equal(base, folder):
    pipeline = with_validation(base, num_seeds=8, tuning=NO_TUNING)
    found = validate(pipeline, request(folder, "twin", TWIN), told)
    assert found.judgement.verdict == "equal within the margin", found.judgement.sentence


def test_an_arm_that_only_borrows_its_settings_says_so(base, folder):
    tuning = TuningConfig(
        mode="shared", num_trials=3, num_finalists=2, space=SearchSpace(**HOT), size="smallest"
    )
    pipeline = with_validation(base, num_seeds=3, seeds=(7001, 7002, 7003), tuning=tuning)
    found = validate(pipeline, request(folder, "shared", MEAN), told)
    assert list(found.tuned.trials) == ["standard"]
    assert found.tuned.trainings["evolved"] == found.tuned.trainings["standard"]
    assert "handicap of the evolved arm" in "\n".join(validation_lines(found))
    assert found.judgement.verdict == "inconclusive", "three pairs decide nothing after Holm"
    trials = found.tuned.trials["standard"]
    finalists = [trial for trial in trials if trial.again]
    assert (
        sorted(finalists, key=lambda trial: trial.loss_nats)
        == sorted(trials, key=lambda trial: trial.loss_nats)[:2]
    )
    best = min(finalists, key=lambda trial: sum(trial.losses_nats))
    assert found.tuned.trainings["standard"].learning_rate == best.learning_rate
    store = pipeline.context.store
    lost = store.get("runs", best.again[1].job_key)
    store.put("runs", lost["job_key"], {**lost, "status": "diverged", "final_loss_nats": None})
    (other,) = [trial for trial in finalists if trial is not best]
    found = validate(pipeline, request(folder, "shared", MEAN), told)
    assert found.tuned.trainings["standard"].learning_rate == other.learning_rate
    assert f"{best.loss_nats:.4f} {best.again[0].loss_nats:.4f} failed" in "\n".join(
        validation_lines(found)
    )


@pytest.mark.parametrize(
    "evolved", [INITIAL, INITIAL.replace("self.readout(z)", "self.readout( z )")]
)
def test_the_initial_program_is_no_candidate(base, folder, evolved):
    pipeline = with_validation(base, num_seeds=3, tuning=NO_TUNING)
    with pytest.raises(ConfigError, match="the program is the initial program"):
        validate(pipeline, request(folder, "same", evolved), told)
    assert not (folder / "same" / "registration.json").exists()


@pytest.mark.parametrize(("seed", "part"), [(42, "the search"), (1042, "the confirmation")])
def test_seeds_that_had_a_part_are_refused(base, folder, seed, part):
    pipeline = with_validation(base, seeds=(seed, 2042, 2043), tuning=NO_TUNING)
    with pytest.raises(ConfigError, match=rf"\[{seed}\] had a part in {part}"):
        validate(pipeline, request(folder, "seen", MEAN), told)


def test_a_tuned_validation_is_not_registered_anew_in_another_folder(worse, folder):
    """With another alpha, say: its runs trained with tuned settings, and count as seen too."""
    validation = dataclasses.replace(worse.pipeline.config.validation, alpha=0.1)
    changed = with_validation(worse.pipeline, **vars(validation))
    again = request(folder, "worse_again", MEAN)
    with pytest.raises(ConfigError, match=r"trained at the seeds \[2042, .*, 2049\] before"):
        validate(changed, again, told)
    assert not (again.folder / "registration.json").exists()


def test_a_plan_without_power_is_refused_unless_told_to_go_on(base, folder):
    pipeline = with_validation(base, num_seeds=3, tuning=NO_TUNING, seeds=(8001, 8002, 8003))
    asked = request(folder, "hopeless", MEAN, despite_power=False)
    with pytest.raises(ConfigError, match="the noise of this configuration was not measured"):
        validate(pipeline, asked, told)
    measure_noise_floor(pipeline, (42, 1042), False, told)
    with pytest.raises(ConfigError, match=r"power: 3 pairs find .* \(--despite-power\)"):
        validate(pipeline, asked, told)
    assert not (asked.folder / "registration.json").exists()


def test_a_record_of_another_version_or_a_damaged_one_is_refused(base, folder):
    pipeline = with_validation(base, num_seeds=3, tuning=NO_TUNING)
    asked = request(folder, "old", MEAN)
    path = Path(asked.folder) / "validation.json"
    for text, reason in (('{"version": 99}', "version 99"), ("{", "cannot be read as a validat")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason):
            validate(pipeline, asked, told)
    assert path.exists(), "nothing is lost"


def test_a_seed_that_fails_is_kept_and_counts_against_the_arm(base, folder):
    """A learning rate that no arm survives: every run diverges, and all are reported."""
    config = dataclasses.replace(base.config.training, learning_rate=1e6, grad_clip=1e9)
    hot = dataclasses.replace(base.config, training=config)
    pipeline = Pipeline(dataclasses.replace(base.context, config=hot), INITIAL)
    pipeline = with_validation(pipeline, num_seeds=3, seeds=(6001, 6002, 6003), tuning=NO_TUNING)
    with pytest.raises(ConfigError, match=r"got 0 pairs .*failed: seeds \[6001, 6002, 6003\]"):
        validate(pipeline, request(folder, "failing", MEAN), told)
