"""The overfit gate on a tiny ladder: broken mechanisms are refused, weak ones are not."""

from __future__ import annotations

import dataclasses

import pytest
from shipped import shipped_source
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.ranking import without_overfit_gate
from openevolve_unified.config.overfit import OverfitConfig
from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import Workplace
from openevolve_unified.evaluation.overfit_gate import overfit_request, pass_overfit_gate
from openevolve_unified.execution.executor import WorkerDiedError
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.records import Evaluation, Failure

CD = "coefficient_dynamics"
GATES = GatesConfig(max_flops_ratio=9.0, max_params_ratio=9.0, overfit=OverfitConfig(max_steps=150))


def softmax(result):
    """The initial program with ``result`` in place of its coefficients."""
    method = f"""
    def coefficients(self, q, k, x, mask):
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
        return {result}
"""
    return INITIAL.replace("# EVOLVE-BLOCK-END", f"{method}\n\n# EVOLVE-BLOCK-END", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def pipeline(folder, one_worker):
    config = tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=300))
    config = dataclasses.replace(config, gates=GATES)
    return build_pipeline(config, folder, "store", one_worker)[0]


def trained(pipeline):
    return sorted((pipeline.context.store.root / "runs").rglob("*.json"))


def through_the_gate(pipeline, source):
    """What the gate finds of a program that passed every check, and what it says on the way."""
    events = []
    place = Workplace(pipeline.context, events.append)
    return pass_overfit_gate(place, pipeline.check(source)), events


def test_a_sound_program_passes_and_its_figures_are_kept_and_told(pipeline):
    result = pipeline.evaluate(INITIAL)
    assert isinstance(result, Evaluation), result
    found = result.overfit
    assert found.settings == GATES.overfit
    assert (found.size, found.num_steps % 10) == ("16x1", 0)
    assert found.accuracy > 0.9 > found.context_free_accuracy
    assert f"{found.accuracy:.1%} of the tokens of 16 texts" in artifacts(result)["by_heart"]
    assert pipeline.evaluate(INITIAL).overfit == found, "from the store"


def test_it_is_found_once_and_is_the_same_bits_elsewhere(pipeline, folder, monkeypatch):
    found, _ = through_the_gate(pipeline, INITIAL)
    other, _ = build_pipeline(pipeline.config, folder, "other", pipeline.context.machine)
    assert through_the_gate(other, INITIAL)[0] == found
    checked = other.check(INITIAL)
    monkeypatch.setattr(Workplace, "run", lambda *_: pytest.fail("it was known"))
    assert pass_overfit_gate(Workplace(other.context, print), checked) == found


def test_the_gate_starts_from_the_training_s_own_weights_without_its_rate(pipeline):
    place = Workplace(pipeline.context, print)
    job = overfit_request(place, pipeline.check(INITIAL)).job
    assert (job.size.name, job.seed) == ("16x1", pipeline.config.training.seeds[0])
    assert (job.training.learning_rate, job.training.batch_size) == (0.01, 16)
    assert job.training.dropout == 0.0


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("constant", softmax("weights * 0.0")),
        ("wrong scale", softmax("weights * 1e-6")),
        ("dead gradient", softmax("torch.eye(mask.shape[-1]) * torch.round(weights)")),
        ("only itself", shipped_source("identity", CD)),
    ],
)
def test_a_broken_mechanism_is_refused_before_its_ladder(name, source, pipeline):
    before = trained(pipeline)
    result = pipeline.evaluate(source)
    assert isinstance(result, Failure), name
    assert result.stage == "overfit"
    assert "so nothing of the earlier tokens arrives: look for an output" in result.reason
    assert "wanted over 90% within 150" in result.reason
    assert trained(pipeline) == before, "no ladder was spent on it"


@pytest.mark.parametrize("name", ["causal_mean", "linear_attention"])
def test_a_weak_mechanism_that_looks_back_passes(name, pipeline):
    found, events = through_the_gate(pipeline, shipped_source(name, CD))
    assert found.accuracy > 0.9
    assert [event.stage for event in events if event.kind == "stage"] == ["overfit"]


def test_a_ranking_does_without_the_gate_so_that_its_controls_have_a_place(pipeline):
    config = without_overfit_gate(pipeline.config)
    assert config.gates == dataclasses.replace(GATES, overfit=None)
    place = Workplace(dataclasses.replace(pipeline.context, config=config), print)
    assert pass_overfit_gate(place, pipeline.check(shipped_source("identity", CD))) is None


def test_a_lost_worker_is_no_verdict(pipeline, monkeypatch):
    source = softmax("weights * 0.5")
    run = Workplace.run

    def lose(place, tasks):
        if tasks[0].function.endswith("overfit"):
            raise WorkerDiedError("a worker was lost")
        return run(place, tasks)

    with monkeypatch.context() as patch:
        patch.setattr(Workplace, "run", lose)
        lost = pipeline.evaluate(source)
    assert (lost.stage, lost.is_machine_trouble) == ("worker", True)
    assert isinstance(pipeline.evaluate(source), Evaluation), "it is done again"


def test_a_split_that_is_too_small_is_one_line(pipeline, folder):
    overfit = dataclasses.replace(GATES.overfit, num_sequences=256)
    data = dataclasses.replace(pipeline.config.data, max_train_sequences=100)
    gates = dataclasses.replace(GATES, overfit=overfit)
    config = dataclasses.replace(pipeline.config, data=data, gates=gates)
    small, _ = build_pipeline(config, folder, "small", pipeline.context.machine)
    wanted = r"gates\.overfit\.num_sequences: got 256, wanted at most the 100 sequences of the"
    with pytest.raises(ConfigError, match=wanted):
        small.evaluate(INITIAL)


def test_the_initial_program_goes_through_it_too(pipeline, folder):
    overfit = dataclasses.replace(GATES.overfit, max_steps=10)
    config = dataclasses.replace(pipeline.config, gates=dataclasses.replace(GATES, overfit=overfit))
    hasty, _ = build_pipeline(config, folder, "hasty", pipeline.context.machine)
    with pytest.raises(CandidateError, match="cannot learn 16 short texts by heart"):
        through_the_gate(hasty, INITIAL)
