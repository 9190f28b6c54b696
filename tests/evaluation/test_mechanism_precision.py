"""The precision of a mechanism's products: where it may be set, what it changes, what is told."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hand_made_job import Softmax, hand_made_job
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified import records
from openevolve_unified.calibration.noise_record import noise_settings
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.rounding import (
    MAX_ROUNDING,
    measure_rounding,
    require_small_rounding,
    rounding_evidence,
)
from openevolve_unified.execution.resources import Node, resolve_cluster, resolve_resources
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import Evaluation
from openevolve_unified.training.step import build_model

KEY_OF_BEFORE = "56080ecaea74c8cdead3701bfced94389a73ab5e6eda0e5ab3863dd126144df2"
"""Of the hand-made job at ``TRAINING_VERSION`` 4, before there was the setting."""
TOKENS = torch.arange(40).view(4, 10)


def test_at_its_default_no_key_and_no_record_knows_of_it(monkeypatch):
    monkeypatch.setattr(records, "TRAINING_VERSION", 4)
    job, execution = hand_made_job(), ExecutionConfig()
    for plain in (to_plain(job), to_plain(execution), resolve_resources(execution, 0).precisions):
        assert "mechanism_precision" not in plain
    assert job.key == KEY_OF_BEFORE
    assert hand_made_job(mechanism_precision="float32").key == job.key


def test_below_it_job_and_record_are_others():
    keys = {hand_made_job(mechanism_precision=name).key for name in ("float32", "tf32", "bfloat16")}
    assert len(keys) == 3
    half = ExecutionConfig(precision="bfloat16", mechanism_precision="bfloat16")
    assert to_plain(half)["mechanism_precision"] == "bfloat16"
    assert resolve_resources(half, 0).precisions == {
        "precision": "bfloat16",
        "mechanism_precision": "bfloat16",
    }


@pytest.mark.parametrize("resolve", ["here", "on Ray"])
@pytest.mark.parametrize(
    ("precision", "wanted", "num_gpus", "refusal"),
    [
        ("auto", "tf32", 0, "got tf32 on a CPU, wanted float32 or bfloat16"),
        ("auto", "tf32", 1, None),
        ("auto", "bfloat16", 0, "got bfloat16 in a model of precision float32, wanted float32"),
        ("bfloat16", "bfloat16", 0, None),
        ("auto", "bfloat16", 1, None),
        ("float32", "tf32", 1, "got tf32 in a model of precision float32, wanted float32"),
        ("float32", "float32", 0, None),
    ],
)
def test_it_is_refused_where_there_is_none(resolve, precision, wanted, num_gpus, refusal):
    execution = ExecutionConfig(precision=precision, mechanism_precision=wanted)

    def resolved():
        if resolve == "here":
            return resolve_resources(execution, num_gpus)
        node = Node(num_cpus=4, num_gpus=num_gpus, available_bytes=None)
        return resolve_cluster(execution, [node])

    if refusal is None:
        assert resolved().mechanism_precision == wanted
        return
    with pytest.raises(ConfigError) as refused:
        resolved()
    assert str(refused.value).startswith(f"scaling_law.execution.mechanism_precision: {refusal}")


class Cancels(Softmax):
    """The same scores, as a small difference of large products."""

    def scores(self, q, k):
        return super().scores(q + 300, k) - super().scores(torch.full_like(q, 300.0), k)


def built(mechanism, precision):
    job = hand_made_job(precision="bfloat16", mechanism_precision=precision)
    traced = lambda layer: torch.fx.symbolic_trace(mechanism())  # noqa: E731
    return build_model(job, traced, torch.device("cpu")), job


def test_rounding_is_that_of_the_products():
    assert measure_rounding(*built(Softmax, "float32"), TOKENS) == 0.0
    assert 1e-4 < measure_rounding(*built(Softmax, "bfloat16"), TOKENS) < MAX_ROUNDING


def test_a_mechanism_that_rounding_makes_another_one_is_refused():
    require_small_rounding(*built(Softmax, "bfloat16"), TOKENS)
    require_small_rounding(*built(Cancels, "float32"), TOKENS)
    with pytest.raises(CandidateError, match=r"products in bfloat16.* differs from float32") as it:
        require_small_rounding(*built(Cancels, "bfloat16"), TOKENS)
    assert it.value.stage == "numerics"


def test_the_evidence_names_what_was_checked_and_what_trained():
    assert rounding_evidence(*built(Softmax, "float32"), TOKENS) == {}
    found = rounding_evidence(*built(Softmax, "bfloat16"), TOKENS)
    assert found.pop("rounding") > 0
    assert found == {"trained_precision": "bfloat16", "checked_precision": "float32"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounded")
    execution = ExecutionConfig(
        num_workers=1, deadline_s=300, precision="bfloat16", mechanism_precision="bfloat16"
    )
    pipeline, _ = build_pipeline(tiny_config(folder, execution), folder, "store")
    with pipeline.context.machine:
        yield pipeline


@pytest.mark.slow
def test_an_evaluation_below_float32_says_so_everywhere(pipeline):
    result = pipeline.evaluate(INITIAL)
    assert isinstance(result, Evaluation), result
    assert result.checks["precision"] == {
        "mechanism_trained": "bfloat16",
        "checked": "float64 and float32",
    }
    for size in result.sizes:
        for run in size.runs:
            assert run.certificate["trained_precision"] == "bfloat16"
            assert 0 < run.certificate["rounding"] < MAX_ROUNDING
    assert noise_settings(pipeline)["scaling_law.execution.mechanism_precision"] == "bfloat16"


@pytest.mark.slow
def test_a_candidate_that_rounding_makes_another_one_is_not_trained(pipeline):
    method = """
    def coefficients(self, q, k, x, mask):
        big = torch.full_like(q, 300.0)
        scores = ((q + big) @ k.transpose(-2, -1) - big @ k.transpose(-2, -1)) / 3.0
        return scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
"""
    source = INITIAL.replace("# EVOLVE-BLOCK-END", f"{method}\n\n# EVOLVE-BLOCK-END", 1)
    config = dataclasses.replace(pipeline.config.gates, max_flops_ratio=9.0)
    loose = dataclasses.replace(pipeline.config, gates=config)
    context = dataclasses.replace(pipeline.context, config=loose)
    result = type(pipeline)(context, INITIAL).evaluate(source)
    assert (result.stage, "products in bfloat16" in result.reason) == ("numerics", True), result
