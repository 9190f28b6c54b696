"""What a contestant counts of its steps."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
from test_eager_twin import JOB

from openevolve_unified.bench import contestant_process as worker


@pytest.mark.parametrize(("where", "num_bytes"), [("batch", 0), ("step", 2 * 3 * 4000)])
def test_traffic_is_counted_of_the_step_and_not_of_drawing_its_batch(where, num_bytes):
    """On a GPU a batch is drawn from all tokens, which no step touches."""
    values = torch.ones(1000)

    def work(here):
        return (values + values if here == where else values).numel()

    contestant = worker._Contestant("ours")
    contestant._device = torch.device("cpu")
    contestant._num_done = 0
    contestant._batches = SimpleNamespace(at=lambda number: work("batch"))
    contestant._step = contestant._plain_step = lambda tokens, number: work("step")
    with contextlib.closing(contestant._settings):
        found = contestant.steps(2, counts_traffic=True)
    assert found["num_done"] == 2
    assert found["num_bytes"] == num_bytes


def test_our_step_is_built_in_the_configured_form(monkeypatch):
    asked = []

    def choose(kind, step, tokens, num_done, num_left):
        asked.append(kind)
        return kind, step

    for name in ("build_model", "TrainStep"):
        monkeypatch.setattr(worker, name, lambda *arguments: None)
    monkeypatch.setattr(worker, "choose_step", choose)
    contestant = worker._Contestant("ours")
    contestant._job, contestant._device = JOB, torch.device("cpu")
    with contextlib.closing(contestant._settings):
        contestant._build(None, None, "compiled")
    assert asked == [contestant._step_kind] == ["compiled"]
