"""What a contestant counts of its steps."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from openevolve_unified.bench.worker import _Contestant


@pytest.mark.parametrize(("where", "num_bytes"), [("batch", 0), ("step", 2 * 3 * 4000)])
def test_traffic_is_counted_of_the_step_and_not_of_drawing_its_batch(where, num_bytes):
    """On a GPU a batch is drawn from all tokens, which no step touches."""
    values = torch.ones(1000)

    def work(here):
        return (values + values if here == where else values).numel()

    contestant = _Contestant("ours")
    contestant._device = torch.device("cpu")
    contestant._num_done = 0
    contestant._batches = SimpleNamespace(at=lambda number: work("batch"))
    contestant._step = contestant._plain_step = lambda tokens, number: work("step")
    with contextlib.closing(contestant._settings):
        found = contestant.steps(2, counts_traffic=True)
    assert found["num_done"] == 2
    assert found["num_bytes"] == num_bytes
