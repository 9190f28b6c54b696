from __future__ import annotations

import math

import pytest
import torch

from openevolve_unified.training import divergence
from openevolve_unified.training.divergence import DivergedError, LossMonitor

CPU = torch.device("cpu")


def _feed(monitor: LossMonitor, losses: list[float]) -> None:
    for step, loss in enumerate(losses, start=1):
        monitor.add(torch.tensor(loss), step)
    monitor.look(len(losses))


@pytest.mark.parametrize("check_every", [1, 4, 50])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_step_that_is_not_finite_is_named_however_late_it_is_seen(
    monkeypatch, check_every, bad
):
    monkeypatch.setitem(divergence.CHECK_EVERY, "cpu", check_every)
    losses = [1.0] * 6 + [bad] + [1.0, math.nan] * 3
    with pytest.raises(DivergedError, match="not finite at step 7") as caught:
        _feed(LossMonitor(CPU), losses)
    assert caught.value.step == 7


@pytest.mark.parametrize("check_every", [1, 4, 50])
def test_finite_losses_pass_and_are_averaged(monkeypatch, check_every):
    monkeypatch.setitem(divergence.CHECK_EVERY, "cpu", check_every)
    monitor = LossMonitor(CPU)
    _feed(monitor, [1.0, 2.0, 6.0])
    assert monitor.last == 6.0
    assert monitor.take_mean() == 3.0
    _feed(monitor, [4.0])
    assert monitor.take_mean() == 4.0


def test_the_mean_continues_from_what_a_checkpoint_kept():
    monitor = LossMonitor(CPU, total=9.0, count=2)
    _feed(monitor, [3.0])
    assert monitor.take_mean() == 4.0
