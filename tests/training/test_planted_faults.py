"""Planted faults, each named in time, and healthy trainings, of which nothing is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn as nn
from training_jobs import CPU, Softmax, Tokens, make_job, repeating_tokens, softmax

from openevolve_unified.judgement.health import hopeless, quick_verdict, verdict_of_run
from openevolve_unified.training.loop import train

FEW = [3]
MANY = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 149)]
SEEDS = FEW + MANY
BEGINS = 60
"""Steps before a planted fault."""


class Late(Softmax):
    """Softmax that is told apart step by step; ``factor`` scales its coefficients."""

    def __init__(self):
        super().__init__()
        self.step = 0

    def forward(self, q, k, v, x, mask):
        if torch.is_grad_enabled():  # a step, not a look at it
            self.step += 1
        return super().forward(q, k, v, x, mask) * self.factor()

    def factor(self) -> float:
        return 1.0


class Starved(Softmax):
    """Its own parameters have a thousandth of their gradient."""

    def forward(self, q, k, v, x, mask):
        turn = 0.001 * self.turn + 0.999 * self.turn.detach()
        scale = 0.001 * self.log_scale + 0.999 * self.log_scale.detach()
        scores = (q @ turn) @ k.transpose(-2, -1) / 4 * scale.exp()
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


class Collapsed(nn.Module):
    """A learned constant, whatever it reads."""

    def __init__(self):
        super().__init__()
        self.answer = nn.Parameter(torch.full((16,), 0.1))

    def forward(self, q, k, v, x, mask):
        return v * 1e-4 + self.answer


class Exploding(Late):
    def factor(self) -> float:
        return 1.3 ** max(0, self.step - BEGINS)


class Spiking(Late):
    def factor(self) -> float:
        return 300.0 if self.step >= BEGINS and self.step % 20 == 0 else 1.0


class Blind(Softmax):
    """Nothing depends on the parameters any more."""

    def forward(self, q, k, v, x, mask):
        return super().forward(q, k, v, x, mask).detach()


def trained(mechanism, seed, data=None, steps=BEGINS + 100, framework=None, **settings):
    job = make_job(training_steps=steps, eval_frequency=50, seed=seed, dropout=0.0, **settings)
    job = dataclasses.replace(job, framework=framework or job.framework)

    def stopped_because(health):
        found = hopeless(health)
        return None if found is None else found.words

    return train(
        job,
        lambda layer: mechanism(),
        data or repeating_tokens(),
        CPU,
        *(lambda report: None, None, lambda model: "f"),
        hopeless=stopped_because,
    )


def faults(run):
    return {finding.fault: finding.step for finding in verdict_of_run(run).findings}


@pytest.mark.parametrize("seed", SEEDS)
def test_starved_parameters_are_named_after_a_hundred_steps(seed):
    run = trained(Starved, seed, steps=100)
    assert faults(run).keys() == {"starved"}
    assert quick_verdict(run.health).state == "warned"
    (finding,) = verdict_of_run(run).findings
    assert "the mechanism's own parameters are 0." in finding.words


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mechanism_that_gives_every_text_the_same_is_collapsed(seed):
    run = trained(Collapsed, seed, steps=100, framework="test_time_regression")
    assert "collapsed" in faults(run)
    assert faults(run)["collapsed"] <= 100


@pytest.mark.parametrize("seed", SEEDS)
def test_what_grows_from_a_step_on_is_exploding_within_a_hundred_steps(seed):
    run = trained(Exploding, seed)
    found = faults(run)
    assert BEGINS < found["exploding"] <= BEGINS + 100
    assert "collapsed" not in found, "what a rising loss brings along may be named beside it"


@pytest.mark.parametrize("seed", SEEDS)
def test_losses_that_jump_from_a_step_on_are_spiking_within_a_hundred_steps(seed):
    found = faults(trained(Spiking, seed))
    assert BEGINS < found["spiking"] <= BEGINS + 100


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_has_nothing_left_to_learn_is_plateaued(seed):
    draw = np.random.default_rng(seed).integers
    noise = Tokens(*(draw(0, 97, (n, 17)).astype(np.uint16) for n in (4_000, 21, 13)))
    found = faults(trained(softmax_of_one, seed, noise, steps=200))
    assert found["plateaued"] <= 200
    assert found.keys() <= {"plateaued", "starved"}, "there is nothing to attend to either"


def softmax_of_one():
    return softmax(0)


def test_a_loss_that_is_not_finite_is_stopped_at_its_step():
    class Breaking(Late):
        def factor(self) -> float:
            return float("nan") if self.step > BEGINS else 1.0

    run = trained(Breaking, 3)
    verdict = verdict_of_run(run)
    assert (verdict.state, faults(run)) == ("stopped", {"not finite": BEGINS + 1})
    assert str(verdict) == f"stopped: the loss was not finite at step {BEGINS + 1}"


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_healthy_training_nothing_is_said(seed):
    run = trained(softmax_of_one, seed, steps=150)
    assert str(verdict_of_run(run)) == "healthy"
    assert quick_verdict(run.health).state == "healthy"
