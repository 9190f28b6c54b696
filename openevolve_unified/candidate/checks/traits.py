"""Traits of a mechanism: its operator bigrams, and its outputs on fixed inputs as short vectors.

The vector of a program's outputs on fixed inputs is what genetic programming calls its semantics
(Moraglio, Krawiec and Johnson 2012, PPSN XII). Thousands of outputs are drawn together into
``NUM_OUTPUTS`` by fixed random directions, which keep the distances between programs to about 9%
(Johnson and Lindenstrauss 1984).
"""

from __future__ import annotations

import functools
import math

import torch

from openevolve_unified.candidate.checks.attention import (
    ReferenceAttention,
    model_inputs,
    random_weights,
    scramble,
)
from openevolve_unified.candidate.program.bigrams import operator_bigrams
from openevolve_unified.candidate.program.traced import TracedSize
from openevolve_unified.records import Traits

NUM_OUTPUTS = 64
_STREAM = 20_261_128
_DIGITS = 6


def measure_traits(traced: TracedSize, seed: int) -> Traits:
    """The traits at one size; inputs and projections are the same for every program of that size.

    Outputs are measured at the initial parameters and at scrambled ones, which open the gates that
    are closed at first.

    Args:
        seed: a training seed that the candidate was traced for; it gives the initial parameters.
    """
    size, T = traced.size, traced.seq_len
    generator = torch.Generator().manual_seed(_STREAM)
    weights = random_weights(size, generator, torch.float64)
    x = model_inputs(1, T, size, generator, torch.float64, T)
    initial = traced.initial_parameters(seed, 0)
    outputs = []
    for parameters in (initial, scramble(initial, 1.0, generator)):
        mechanism = traced.double_mechanism(T, parameters, seed).requires_grad_(False)
        y = ReferenceAttention(traced.framework, size, mechanism, weights)(x).flatten()
        found = (y @ _directions(y.numel())).tolist()
        outputs.append(tuple(_rounded(value) for value in found))
    return Traits(bigrams=operator_bigrams(traced.program.graph), outputs=tuple(outputs))


@functools.lru_cache(maxsize=2)
def _directions(num_elements: int) -> torch.Tensor:
    """(num_elements, NUM_OUTPUTS), of which the squared lengths are kept on average."""
    generator = torch.Generator().manual_seed(_STREAM)
    shape = (num_elements, NUM_OUTPUTS)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn / math.sqrt(NUM_OUTPUTS)


def _rounded(value: float) -> float:
    """As it is written down; scrambled parameters may overflow."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else 0.0
