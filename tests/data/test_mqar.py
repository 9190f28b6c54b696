"""Associative recall: rows whose answers can be known, asked of recallers that are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openevolve_unified.config.diagnostics import RecallConfig
from openevolve_unified.data.mqar import Recall, accuracy
from openevolve_unified.errors import ConfigError

TASK = Recall(vocab_size=256, seq_len=64, num_pairs=(4, 8, 16))
ROWS = TASK.rows("validation", 60)


def perfect(rows):
    """What followed the same token last."""
    foretold = np.zeros((len(rows), rows.shape[1] - 1), dtype=np.int64)
    for row, own in zip(rows, foretold, strict=True):
        follows = {}
        for place in range(len(own)):
            own[place] = follows.get(row[place], 0)
            follows[row[place]] = row[place + 1]
    return foretold


def causal_mean(rows, num_keys):
    """The value that was shown most often so far: what is left where all pairs are averaged."""
    foretold = np.zeros((len(rows), rows.shape[1] - 1), dtype=np.int64)
    for row, own in zip(rows, foretold, strict=True):
        counts = np.zeros(256)
        for place in range(len(own)):
            counts[row[place]] += row[place] >= num_keys
            own[place] = counts.argmax()
    return foretold


def test_every_answer_was_shown_before_its_key_was_asked_for():
    assert ROWS.shape == (60, 65)
    for index, row in enumerate(ROWS):
        num_pairs = (4, 8, 16)[index % 3]
        keys, values = row[0:-1:2], row[1::2]
        assert (keys < TASK.num_keys).all()
        assert (values >= TASK.num_keys).all()
        shown = dict(zip(keys[:num_pairs], values[:num_pairs], strict=True))
        assert len(shown) == num_pairs, "distinct keys"
        assert [shown[key] for key in keys[num_pairs:]] == list(values[num_pairs:])
        first = keys[num_pairs : 2 * num_pairs]
        assert set(first) == set(shown), "all are asked for once before one is again"
        assert list(row[TASK.answers(index)]) == [shown[key] for key in first]


def test_rows_are_a_function_of_the_task_and_the_split():
    assert (TASK.rows("validation", 60) == ROWS).all()
    assert (TASK.rows("validation", 10) == ROWS[:10]).all()
    assert (TASK.rows("train", 60) != ROWS).any()
    assert TASK.fingerprint == dataclasses.replace(TASK).fingerprint
    assert TASK.fingerprint != dataclasses.replace(TASK, vocab_size=8192).fingerprint


def test_a_perfect_recaller_is_always_right_and_an_average_is_not():
    assert accuracy(TASK, ROWS, perfect(ROWS)) == {4: 1.0, 8: 1.0, 16: 1.0}
    averaged = accuracy(TASK, ROWS, causal_mean(ROWS, TASK.num_keys))
    assert averaged[16] < 0.15, "about 1 / 16, a guess among the values"
    assert accuracy(TASK, ROWS, np.full((60, 64), 300)) == {4: 0.0, 8: 0.0, 16: 0.0}


@pytest.mark.parametrize(
    "make",
    [
        lambda **changes: Recall(**{**vars(TASK), **changes}),
        lambda **changes: RecallConfig(**{"lengths": (changes.pop("seq_len", 64),), **changes}),
    ],
    ids=["task", "config"],
)
def test_pairs_that_do_not_fit_are_refused(make):
    assert make(num_pairs=(4, 16))
    with pytest.raises(
        ConfigError, match=r"num_pairs: got '\[4, 17\] at length 64', wanted 4 x pairs"
    ):
        make(num_pairs=(4, 17))
    with pytest.raises(ConfigError, match="1 to 8"):
        make(seq_len=32, num_pairs=(9,))
    with pytest.raises(ConfigError, match="at most 4: half of it are keys"):
        make(vocab_size=8, num_pairs=(5,))
    with pytest.raises(ConfigError, match="num_pairs"):
        make(num_pairs=())
