"""Distances between programs: bounded, zero where they should be, and by hand where they can be."""

from __future__ import annotations

import pytest

from openevolve_unified.judgement.distance import operator_distance, output_distance
from openevolve_unified.records import Traits


def traits(bigrams=None, *outputs):
    return Traits(bigrams=bigrams or {}, outputs=outputs)


def test_operators_are_compared_with_repetitions():
    one, other = traits({"q>mul": 3, "mul>exp": 1}), traits({"q>mul": 1, "mul>tanh": 1})
    assert operator_distance(one, other) == operator_distance(other, one)
    assert operator_distance(one, other) == pytest.approx(1 - 2 * 1 / (4 + 2))
    assert operator_distance(one, one) == 0.0
    assert operator_distance(one, traits({"x>linear": 2})) == 1.0
    assert operator_distance(traits(), traits()) == 0.0


def test_outputs_differ_by_their_relative_difference_where_it_is_largest():
    one, other = traits({}, (1.0, 0.0), (3.0, 4.0)), traits({}, (1.0, 0.0), (0.0, 5.0))
    assert output_distance(one, other) == pytest.approx(10**0.5 / 10)
    assert output_distance(one, traits({}, (-1.0, 0.0), (3.0, 4.0))) == 1.0
    assert output_distance(one, one) == 0.0
    assert output_distance(traits({}, (0.0,)), traits({}, (0.0,))) == 0.0


def test_outputs_that_were_measured_otherwise_are_not_compared():
    with pytest.raises(ValueError, match=r"vectors of \[1\] and \[2\] numbers"):
        output_distance(traits({}, (1.0,)), traits({}, (1.0, 2.0)))
