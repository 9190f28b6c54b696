from __future__ import annotations

from itertools import pairwise

import pytest

from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.training.schedule import learning_rate


def _rates(schedule: str, warmup_steps: int = 10) -> list[float]:
    training = TrainingConfig(
        training_steps=50, warmup_steps=warmup_steps, learning_rate=2.0, schedule=schedule
    )
    return [learning_rate(training, step) for step in range(50)]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_the_rate_climbs_in_a_line_to_its_full_value(schedule):
    assert _rates(schedule)[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])


def test_constant_stays():
    assert set(_rates("constant")[10:]) == {2.0}


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_others_fall_to_zero_at_the_last_step(schedule):
    rates = _rates(schedule)[9:]
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert rates[-1] == 0.0


def test_half_way_down_cosine_and_line_meet():
    assert _rates("cosine")[29] == pytest.approx(1.0)
    assert _rates("linear")[29] == pytest.approx(1.0)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert _rates("constant", warmup_steps=0)[0] == 2.0


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("warmup_steps", [10, 50, 80])
def test_beyond_the_last_step_the_rate_is_never_below_zero(schedule, warmup_steps):
    training = TrainingConfig(training_steps=50, warmup_steps=warmup_steps, schedule=schedule)
    later = [learning_rate(training, step) for step in range(max(50, warmup_steps), 120)]
    assert set(later) == {0.0}
