"""Traits: equal for programs that compute the same, whatever their text, and apart for others."""

from __future__ import annotations

import functools

import pytest

from openevolve_unified.candidate.checks.traits import NUM_OUTPUTS, measure_traits
from openevolve_unified.judgement.distance import (
    SAME_FUNCTION,
    operator_distance,
    output_distance,
)
from openevolve_unified.mechanisms.catalog import mechanisms


@pytest.fixture(scope="module")
def traits_of(desk):
    @functools.cache
    def measure(source, framework="coefficient_dynamics"):
        traced = desk.trace(source, framework).sizes["16x2"]
        return measure_traits(traced, 7)

    return measure


def shipped(name, framework):
    return next(m.source for m in mechanisms() if (m.name, m.framework) == (name, framework))


def test_a_renamed_program_has_the_same_traits(desk, traits_of):
    source = desk.initial_source("coefficient_dynamics")
    renamed = source.replace("def readout(self, z):", "def readout(self, own):").replace(
        "return z", "return own  # renamed"
    )
    assert renamed != source
    assert traits_of(source) == traits_of(renamed)


@pytest.mark.slow
def test_a_mechanism_computes_the_same_in_every_notation(traits_of):
    own = [traits_of(shipped("alibi", f), f) for f in ("coefficient_dynamics", "matrix_mixer")]
    assert output_distance(*own) < SAME_FUNCTION / 100
    assert operator_distance(*own) > 0


def test_mechanisms_that_differ_lie_apart(desk, traits_of):
    softmax = traits_of(desk.initial_source("coefficient_dynamics"))
    assert [len(vector) for vector in softmax.outputs] == [NUM_OUTPUTS, NUM_OUTPUTS]
    for name in ("alibi", "learned_temperature"):
        other = traits_of(shipped(name, "coefficient_dynamics"))
        assert SAME_FUNCTION < output_distance(softmax, other) <= 1
        assert 0 < operator_distance(softmax, other) <= 1


def test_a_gate_that_is_closed_at_first_shows_at_scrambled_parameters(desk, traits_of):
    softmax = traits_of(desk.initial_source("coefficient_dynamics"))
    learned = traits_of(shipped("learned_temperature", "coefficient_dynamics"))
    assert softmax.outputs[0] == learned.outputs[0], "its temperature begins at 1"
    assert output_distance(softmax, learned) > SAME_FUNCTION
