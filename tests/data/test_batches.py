from __future__ import annotations

import numpy as np
import pytest

from openevolve_unified.data.batches import batch_indices


def test_an_epoch_reads_every_row_once():
    batches = [batch_indices(12, 4, seed=3, step=step) for step in range(3)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(12))


def test_the_rows_that_fill_no_batch_are_left_out_of_an_epoch():
    batches = np.concatenate([batch_indices(14, 4, seed=3, step=step) for step in range(3)])
    assert len(set(batches.tolist())) == 12


def test_epochs_and_seeds_have_orders_of_their_own():
    first, second, other = (
        np.concatenate([batch_indices(64, 8, seed, step) for step in steps])
        for seed, steps in ((0, range(8)), (0, range(8, 16)), (1, range(8)))
    )
    assert sorted(first) == sorted(second) == sorted(other)
    assert (first != second).any()
    assert (first != other).any()


def test_a_batch_depends_on_seed_and_step_only():
    expected = batch_indices(100, 10, seed=7, step=23).copy()
    for step in (0, 99, 5, 1_000):
        batch_indices(100, 10, seed=8, step=step)
        batch_indices(50, 10, seed=7, step=step)
    assert (batch_indices(100, 10, seed=7, step=23) == expected).all()
    assert batch_indices(100, 10, seed=7, step=23).dtype == np.int64


def test_batches_are_the_same_on_every_machine_and_version():
    assert batch_indices(10, 5, seed=0, step=0).tolist() == [8, 0, 3, 7, 6]


def test_a_batch_cannot_be_changed_by_its_reader():
    with pytest.raises(ValueError, match="read-only"):
        batch_indices(10, 5, seed=0, step=0)[0] = 3


def test_fewer_rows_than_a_batch_are_refused():
    assert len(batch_indices(5, 5, seed=0, step=0)) == 5
    with pytest.raises(ValueError, match="got 5, wanted 1 to 4"):
        batch_indices(4, 5, seed=0, step=0)
