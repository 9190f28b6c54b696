"""The pipeline on a real, tiny ladder: verdicts, what is kept, and what is never done twice."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.config.diagnostics import DiagnosticsConfig, RecallConfig
from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation import attempt
from openevolve_unified.evaluation.diagnostics.measure import diagnose
from openevolve_unified.evaluation.ladder import Workplace, train_requests
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.seeds import seeds_of, traced_seeds
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import Evaluation, Failure, Program
from openevolve_unified.redteam.catalog import CHEATS
from openevolve_unified.store import Store
from openevolve_unified.training.step import build_model

READOUT = "    def readout(self, z):"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def pipeline_and_events(folder, one_worker):
    config = tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=300))
    pipeline, events = build_pipeline(config, folder, "store", one_worker)
    return pipeline, events


@pytest.fixture(scope="module")
def pipeline(pipeline_and_events):
    return pipeline_and_events[0]


@pytest.fixture(scope="module")
def baseline_and_events(pipeline_and_events):
    pipeline, events = pipeline_and_events
    return pipeline.evaluate(INITIAL), list(events)


@pytest.fixture(scope="module")
def baseline(baseline_and_events):
    return baseline_and_events[0]


def changed(text):
    """The initial program with another readout."""
    return INITIAL.replace(f"{READOUT}\n", f"{READOUT}\n{text}", 1).replace(
        "        return z\n", "        return z2\n", 1
    )


def run_files(folder, store="store"):
    return {path.name: path.stat().st_mtime for path in (folder / store / "runs").rglob("*.json")}


def test_the_initial_program_gets_a_fit_and_evidence(baseline, folder):
    assert isinstance(baseline, Evaluation)
    assert baseline.fit.num_points == 3
    assert baseline.features["params_ratio"] == 1.0
    assert baseline.checks["isolation"]["level"] in ("full", "partial", "none")
    assert baseline.is_pilot
    assert baseline.traits.bigrams["softmax>output"] == 1
    records = [Store(folder / "store").get("runs", Path(name).stem) for name in run_files(folder)]
    for record in records:
        assert record["trained_fingerprint"]
        assert record["certificate"]["max_prefix_change"] < 1e-4
        assert record["certificate"]["canary_change_nats"] != 0.0
    assert list((folder / "store").rglob("checkpoints/*/*")) == []


def test_a_known_program_is_answered_from_the_store(baseline, pipeline):
    again = pipeline.evaluate(INITIAL)
    assert again.cached
    assert again.fit == baseline.fit


def test_comments_and_names_do_not_make_a_new_mechanism(baseline, pipeline, folder):
    before = run_files(folder)
    twin = pipeline.evaluate(changed("        # a remark\n        z2 = z\n"))
    assert isinstance(twin, Evaluation), twin
    assert not twin.cached
    assert twin.fingerprint == baseline.fingerprint
    assert twin.fit == baseline.fit
    assert run_files(folder) == before, "nothing was trained again"


def test_a_changed_mechanism_is_trained_against_the_baseline(baseline, pipeline):
    result = pipeline.evaluate(changed("        z2 = 0.5 * z\n"))
    assert isinstance(result, Evaluation), result
    assert result.fingerprint != baseline.fingerprint
    assert result.baseline == baseline.sizes
    assert result.fit.slope != baseline.fit.slope


def test_everything_about_each_run_is_reached_from_an_evaluation(baseline, pipeline):
    result = pipeline.evaluate(changed("        z2 = 0.5 * z\n"))
    requests = train_requests(pipeline.context, pipeline.check(INITIAL))
    runs = [size.runs[0] for size in result.baseline]
    assert [run.job_key for run in runs] == [request.job.key for request in requests]
    for size in (*result.sizes, *result.baseline):
        (run,) = size.runs
        stored = pipeline.context.store.get("runs", run.job_key)
        assert to_plain(run) == stored, "the whole record, as training left it"
        assert [point.step for point in run.curve] == [10, 20]
        assert run.curve[-1].validation_loss_nats == run.final_loss_nats == size.mean_loss_nats
        assert run.versions["torch"]
        assert run.step_kind
        assert run.train_time_s > 0
    assert result.score == score(
        result.fit, result.sizes, result.baseline, pipeline.config.fitness.guard_tolerance_nats
    )
    again = pipeline.evaluate(result.program.source)
    assert again == dataclasses.replace(result, cached=True), "as it is read from the store"


def test_a_further_seed_trains_what_is_missing_and_nothing_twice(baseline, pipeline, folder):
    source = changed("        z2 = 0.75 * z\n")
    first = pipeline.evaluate(source)
    before = run_files(folder)
    both = pipeline.evaluate(source, seeds=(42, 43))
    assert isinstance(both, Evaluation), both
    assert [size.seeds for size in (*both.sizes, *both.baseline)] == [(42, 43)] * 6
    assert [size.on_seeds([42]) for size in both.sizes] == list(first.sizes)
    new = run_files(folder).keys() - before.keys()
    assert len(new) == 6, "three sizes of the program and of the baseline, at the further seed"
    assert run_files(folder).items() >= before.items(), "what was trained is as it was"
    assert pipeline.evaluate(source, seeds=(42, 43)).cached
    assert pipeline.evaluate(source) == dataclasses.replace(first, cached=True)


def test_a_program_is_traced_and_checked_once_for_all_seeds_it_may_get(baseline, pipeline, folder):
    plan = seeds_of(pipeline.config)
    assert set(plan.search).isdisjoint(plan.confirmation)
    checked = pipeline.check(INITIAL)
    seeds = (*plan.search, *plan.confirmation)
    assert traced_seeds(pipeline.config) == seeds
    assert set(checked.job_fingerprints) == {
        f"{size.name}:{seed}" for size in pipeline.config.sizes for seed in seeds
    }
    source = changed("        z2 = 0.625 * z\n")
    pipeline.check(source)
    traces = set((folder / "store" / "traces").rglob("*.json"))
    pipeline.evaluate(source, seeds=plan.search[1:])
    assert set((folder / "store" / "traces").rglob("*.json")) == traces


def test_without_a_confirmation_no_seed_is_traced_for_it(pipeline):
    config = dataclasses.replace(
        pipeline.config, selection=SelectionConfig(max_seeds=2, num_confirmation_seeds=0)
    )
    assert traced_seeds(config) == (42, 43)
    three = dataclasses.replace(config.training, seeds=(5, 6, 9))
    assert traced_seeds(dataclasses.replace(config, training=three)) == (5, 6, 9)


OWN = """
        self.gate = nn.Parameter(torch.zeros(num_heads, 1, 1))
        self.tilt = nn.Linear(hidden_dim, num_heads)
"""


def test_every_result_holds_evidence_that_its_own_code_was_trained(baseline, pipeline):
    for size in baseline.sizes:
        (run,) = size.runs
        assert run.seed == pipeline.config.training.seeds[0]
        assert abs(run.certificate["canary_change_nats"]) > 1e-6
        assert run.parameter_changes == {}, "the initial program has no parameters of its own"
    first = "        super().__init__(hidden_dim, num_heads, dropout)\n"
    text = "        z2 = z * (1 + self.gate)\n"
    source = changed(text).replace(first, first + OWN, 1)
    weight = "torch.sigmoid(self.tilt(x)).transpose(1, 2)[..., None]"
    source = source.replace("return k / math", f"return {weight} * k / math", 1)
    result = pipeline.evaluate(source)
    assert isinstance(result, Evaluation), result
    prints = set()
    for size, before in zip(result.sizes, baseline.sizes, strict=True):
        (run,) = size.runs
        prints |= {run.trained_fingerprint, before.runs[0].trained_fingerprint}
        assert run.parameter_changes["gate"] == 1.0, "it started at zero"
        assert set(run.parameter_changes) >= {"gate", "tilt.weight", "tilt.bias"}
        assert all(0 < change <= 2 for change in run.parameter_changes.values())
    assert len(prints) == 6, "each size of each program has a fingerprint of its own"
    assert pipeline.evaluate(source).sizes == result.sizes, "from the store"


def test_a_finding_after_training_is_kept_and_not_trained_for_again(pipeline, baseline, folder):
    (cheat,) = (c for c in CHEATS if c.name.startswith("open where all of many values"))
    source = cheat.source(INITIAL)
    first = pipeline.evaluate(source)
    assert isinstance(first, Failure)
    assert first.stage == "trained_causality"
    before = run_files(folder)
    twin = source.replace("class Evolvable", "# a remark\nclass Evolvable", 1)
    events = []
    pipeline.context.listener, listener = events.append, pipeline.context.listener
    try:
        second = pipeline.evaluate(twin)
    finally:
        pipeline.context.listener = listener
    assert (second.stage, second.reason) == (first.stage, first.reason)
    assert run_files(folder) == before
    assert not [event for event in events if event.kind == "training"]


def test_every_run_has_its_health_and_one_that_was_stopped_refuses_the_program(
    pipeline, baseline, folder
):
    for size in baseline.sizes:
        assert [point.step for point in size.runs[0].health.points] == [20]
    other, _ = build_pipeline(pipeline.config, folder, "stopped", pipeline.context.machine)
    checked = other.check(INITIAL)
    key = train_requests(other.context, checked)[0].job.key
    run = dataclasses.replace(
        baseline.sizes[0].runs[0], status="diverged", final_loss_nats=None, rejection="it is blind"
    )
    other.context.store.put("runs", key, run)
    with pytest.raises(CandidateError, match="training at size 16x1 was stopped: it is blind"):
        other.train(checked)
    refused = other.evaluate(INITIAL)
    assert (refused.stage, refused.traits) == ("diverged", baseline.traits)
    assert refused.fingerprint == baseline.fingerprint


def test_trained_models_are_diagnosed_and_the_largest_also_at_twice_its_length(baseline, pipeline):
    for size in baseline.sizes:
        found = size.runs[0].diagnostics
        layers, heads = size.size.num_layers, size.size.num_heads
        assert np.array(found.mixing.effective_rank).shape == (layers, heads)
        assert np.array(found.mixing.row_sum) == pytest.approx(1.0), "softmax"
        assert found.floor_nats == pipeline.context.data().entropy_floor_nats
        weights = (found.repeated_share, 1 - found.repeated_share)
        mean = np.dot(weights, (found.repeated_nats, found.rest_nats))
        assert mean == pytest.approx(size.mean_loss_nats, rel=1e-5)
    *others, largest = [size.runs[0].diagnostics for size in baseline.sizes]
    assert {found.no_extrapolation for found in others} == {"measured at the largest size only"}
    assert largest.extrapolation.num_tokens == 16 * 16
    assert [found.example for found in others] == [None, None]
    assert largest.example.matrices.shape == (1, 4, 16, 16)
    assert largest.example.tokens[0] == "<|endoftext|>"


def test_diagnostics_change_no_loss_and_can_be_left_out(baseline, pipeline, folder):
    none = dataclasses.replace(pipeline.config, diagnostics=DiagnosticsConfig(mode="none"))
    other, _ = build_pipeline(none, folder, "undiagnosed", pipeline.context.machine)
    runs = [size.runs[0] for size in other.train(other.check(INITIAL))]
    assert [run.diagnostics for run in runs] == [None] * 3
    for run, size in zip(runs, baseline.sizes, strict=True):
        assert run.job_key == size.runs[0].job_key
        assert (run.curve, run.test_loss_nats) == (size.runs[0].curve, size.runs[0].test_loss_nats)
    # What was trained without them is read, told as such, and not trained again for them.
    asking, _ = build_pipeline(pipeline.config, folder, "undiagnosed", pipeline.context.machine)
    result = asking.evaluate(INITIAL)
    assert [size.runs[0] for size in result.sizes] == runs
    assert artifacts(result)["diagnostics"] == "not measured"


def test_an_induction_head_pays_less_for_repeated_pairings_and_a_model_without_one_does_not(
    baseline, pipeline
):
    request = train_requests(pipeline.context, pipeline.check(INITIAL))[0]
    data = pipeline.context.data()
    traced = load_traced(Path(request.trace_path), request.gates).sizes[request.job.size.name]
    model = build_model(request.job, lambda layer: traced.mechanism(42, layer), torch.device("cpu"))
    losses = np.full((len(data.validation), data.seq_len), 5.0, np.float32)
    assert diagnose(model, request, losses, data).induction_nats == 0.0
    for row, own in zip(data.validation.tolist(), losses, strict=True):
        seen = set()
        for place, pairing in enumerate(itertools.pairwise(row)):
            own[place] = 0.5 if pairing in seen else 5.0  # it copies what followed before
            seen.add(pairing)
    found = diagnose(model, request, losses, data)
    assert (found.repeated_nats, found.induction_nats) == (0.5, 4.5)
    assert found.repeated_share == (losses == 0.5).mean() > 0


def test_a_program_that_depends_on_its_length_has_no_extrapolation(baseline, pipeline, folder):
    first = "        super().__init__(hidden_dim, num_heads, dropout)\n"
    own = "        self.places = nn.Parameter(torch.zeros(16, 16))\n"
    text = "        z2 = z + self.places[: z.shape[-2], : z.shape[-1]]\n"
    source = changed(text).replace(first, first + own, 1)
    place = Workplace(pipeline.context, pipeline.context.listener)
    gates = GatesConfig(max_params_ratio=9.0, max_flops_ratio=9.0)
    place.config = dataclasses.replace(pipeline.config, gates=gates)
    checked = dataclasses.replace(
        pipeline.check(INITIAL),
        program=Program(source=source, framework=pipeline.config.framework),
        trace_path=folder / "of another program",
    )
    *_, request = place.requests(checked)
    assert request.longer_trace_path is None
    assert "line 53" in request.no_longer
    assert "[16, 16]" in request.no_longer


def test_recall_is_measured_once_for_a_mechanism_whatever_its_seeds(baseline, pipeline):
    recall = RecallConfig(
        vocab_size=16,
        lengths=(16,),
        num_pairs=(1, 2),
        learning_rates=(1e-3, 1e-2),
        training_steps=2,
        batch_size=4,
        hidden_dim=16,
        num_layers=1,
        num_heads=2,
    )
    diagnostics = DiagnosticsConfig(mode="recall", recall=recall)
    asking = dataclasses.replace(pipeline.config, diagnostics=diagnostics)
    context = dataclasses.replace(pipeline.context, config=asking)
    result = Pipeline(context, INITIAL).evaluate(INITIAL)
    runs = result.recall.runs
    assert [(run.seq_len, run.learning_rate, run.num_steps) for run in runs] == [
        (16, 1e-3, 2),
        (16, 1e-2, 2),
    ]
    assert all(set(run.accuracy) == {"1", "2"} for run in runs)
    assert metrics(result)["recall_accuracy"] == result.recall.best[0].mean_accuracy
    assert "at length 16, one seed" in artifacts(result)["diagnostics"]
    assert result.score == baseline.score
    stored = context.store.root / "recall"
    before = {path: path.stat().st_mtime_ns for path in stored.rglob("*.json")}
    assert len(before) == 2
    again = Pipeline(context, INITIAL).evaluate(INITIAL)
    assert (again.recall, again.cached) == (result.recall, True)
    twin = Pipeline(context, INITIAL).evaluate(changed("        # a remark\n        z2 = z\n"))
    assert twin.recall == result.recall
    assert {path: path.stat().st_mtime_ns for path in stored.rglob("*.json")} == before
    assert pipeline.evaluate(INITIAL).recall == result.recall, "kept, though nobody asks"


def test_a_deadline_is_a_failure_that_is_not_remembered(folder, pipeline):
    hasty = ExecutionConfig(num_workers=1, deadline_s=4)
    config = tiny_config(folder, hasty, training_steps=100_000)
    hurried, _ = build_pipeline(config, folder, "hurried", pipeline.context.machine)
    result = hurried.evaluate(INITIAL)
    assert isinstance(result, Failure)
    assert result.stage == "deadline"
    assert "finished sizes are kept" in result.reason
    assert list((folder / "hurried" / "evaluations").rglob("*.json")) == []


def test_a_tracing_process_that_cannot_start_is_no_verdict_and_not_remembered(
    pipeline, baseline, monkeypatch
):
    source = changed("        z2 = z * 2.5\n")
    folder = pipeline.context.store.root / "evaluations"
    stored = sorted(folder.rglob("*"))
    with monkeypatch.context() as patch:
        pipeline.context.tracer().close()
        patch.setattr("tempfile.tempdir", "/proc/nowhere")
        result = pipeline.evaluate(source)
    assert isinstance(result, Failure)
    assert (result.stage, result.is_machine_trouble) == ("machine", True)
    assert "cannot be started" in result.reason
    assert sorted(folder.rglob("*")) == stored
    assert pipeline.check(source).fingerprint


def test_events_tell_stage_size_step_and_loss(baseline_and_events):
    _, events = baseline_and_events
    stages = [event.stage for event in events if event.kind == "stage"]
    assert stages == ["policy", "trace", "checks", "training"]
    reports = [event for event in events if event.kind == "training"]
    assert {report.size for report in reports} == {"16x1", "24x1", "32x1"}
    last = [report for report in reports if report.size == "16x1"][-1]
    assert last.step == last.total_steps == 20
    assert last.train_loss_nats > 0


@pytest.mark.parametrize("name", ["EVALUATION_VERSION", "TRAINING_VERSION"])
def test_what_another_version_stored_is_not_taken_for_ours(name, pipeline, baseline, monkeypatch):
    assert pipeline.evaluate(INITIAL).cached
    monkeypatch.setattr(attempt, name, 99)
    assert not pipeline.evaluate(INITIAL).cached
