"""A fitness that nothing can determine is refused in one line, before work is spent on it."""

from __future__ import annotations

import dataclasses

import pytest
from made_results import made_sizes
from tiny_ladder import tiny_config

from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.scoring import require_identified, require_target_beyond

BASELINE = (2.40, 2.31, 2.25, 2.15)


@pytest.fixture
def config(tmp_path):
    config = tiny_config(tmp_path, ExecutionConfig())
    return dataclasses.replace(config, ladder="quickstart")


def with_fitness(config, **settings):
    return dataclasses.replace(config, fitness=FitnessConfig(**settings))


def refusal_of(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["slope", "predicted_loss"])
def test_a_target_inside_the_ladder_is_refused_before_anything_is_trained(kind, config):
    refusal = refusal_of(
        require_target_beyond, with_fitness(config, kind=kind, target_params=240_000)
    )
    assert refusal.startswith("scaling_law.fitness.target_params: got 240000, wanted more than")
    assert "the largest size has 223,872" in refusal
    require_target_beyond(with_fitness(config, kind=kind, target_params=250_000))
    require_target_beyond(with_fitness(config, kind=kind))


def test_a_target_that_a_larger_candidate_would_pass_is_refused(config):
    target = with_fitness(config, target_params=250_000)
    require_target_beyond(target)
    loose = dataclasses.replace(target.gates, max_params_ratio=1.5)
    assert "max_params_ratio is 1.5" in refusal_of(
        require_target_beyond, dataclasses.replace(target, gates=loose)
    )


def test_losses_that_do_not_identify_the_kind_are_refused(config):
    bent, straight = made_sizes((2.90, 2.50, 2.10, 2.28)), made_sizes(BASELINE)
    predicted = with_fitness(config, kind="predicted_loss")
    refusal = refusal_of(require_identified, predicted, bent)
    assert refusal.startswith("scaling_law.fitness.kind: got 'predicted_loss', which the losses")
    require_identified(predicted, straight)
    require_identified(with_fitness(config, kind="largest_loss"), bent)


def test_the_initial_programs_own_parameters_count(config):
    larger = made_sizes(BASELINE, counts=(30_000, 60_000, 110_000, 240_000))
    target = with_fitness(config, target_params=250_000)
    assert "the largest size has 240,000" in refusal_of(require_identified, target, larger)


def test_three_sizes_predict_nothing_that_could_be_tested(config):
    three = config.sizes[:3]
    with pytest.raises(ConfigError, match=r"fitness.kind: got 'predicted_loss with 3 sizes'"):
        dataclasses.replace(config, ladder=three, fitness=FitnessConfig(kind="predicted_loss"))
    dataclasses.replace(config, ladder=three, fitness=FitnessConfig(kind="largest_loss"))
