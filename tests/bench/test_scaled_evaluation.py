"""From a bounded evaluation to the configured number of steps, with numbers known by hand."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from openevolve_unified.bench import evaluation
from openevolve_unified.bench.evaluation import TimedEvaluation, TimedJob, bounded_training
from openevolve_unified.config.schema import TrainingConfig

# Two workers: one takes 10 steps of 0.4 s and 1 s more, the other 10 of 0.1 s and 1 s more.
BOUNDED = TimedEvaluation(
    check_s=3.0,
    ladder_s=7.0,
    jobs=(
        TimedJob(total_s=5.0, step_s=0.4, num_steps=10),
        TimedJob(total_s=2.0, step_s=0.1, num_steps=10),
    ),
    num_workers=2,
)


def test_at_its_own_number_of_steps_nothing_is_scaled():
    assert BOUNDED.seconds(10) == pytest.approx(3.0 + 7.0)


def test_only_steps_are_multiplied():
    # 3 s check, 2 s of start-up between the jobs, then 1 s + 100 steps of 0.4 s.
    assert BOUNDED.seconds(100) == pytest.approx(3.0 + 2.0 + 1.0 + 40.0)


def test_overhead_is_what_the_busiest_worker_does_besides_steps():
    assert BOUNDED.overhead_share(100) == pytest.approx(6.0 / 46.0)
    assert BOUNDED.overhead_share(100_000) < 0.001


def test_steps_that_were_timed_as_slower_than_they_ran_leave_no_negative_overhead():
    job = TimedJob(total_s=1.0, step_s=0.2, num_steps=10)
    timed = TimedEvaluation(check_s=0.5, ladder_s=1.0, jobs=(job,), num_workers=1)
    assert timed.overhead_share(10) == 0.0


def test_steps_are_not_timed_by_the_first_few_of_a_bounded_evaluation(monkeypatch):
    """Two slow first steps, carried on to a hundred thousand, would be all that counts."""
    run = SimpleNamespace(train_time_s=20.0, step=2, tokens_per_s=0.1)
    monkeypatch.setattr(evaluation, "from_mapping", lambda *arguments: run)
    monkeypatch.setattr(evaluation, "train_ladder", lambda *arguments: ())
    monkeypatch.setattr(evaluation, "train_requests", lambda *arguments: [MagicMock()] * 2)
    context = MagicMock()
    context.machine.resources.return_value.num_workers = 1
    pipeline = SimpleNamespace(
        context=context, check=lambda source: None, initial=SimpleNamespace(source="")
    )
    timed = evaluation.time_evaluation(pipeline, [1.0, 3.0])
    # Largest first, the two steps that were run at what they took.
    assert [job.seconds(102) for job in timed.jobs] == [20.0 + 300.0, 20.0 + 100.0]


def test_a_bounded_training_keeps_its_evaluations_and_stays_valid():
    full = TrainingConfig(training_steps=1000, eval_frequency=250, warmup_steps=100, seeds=(3, 4))
    bounded = bounded_training(full, 20)
    assert (bounded.training_steps, bounded.eval_frequency, bounded.seeds) == (20, 5, (3,))
    assert bounded.warmup_steps == 19
    assert bounded_training(full, 5000).training_steps == 1000
    assert bounded_training(full, 5000).eval_frequency == 250
