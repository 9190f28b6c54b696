"""Distances between traced programs: by the operators they are made of, and by what they compute.

Both run from 0 to 1. Two programs may be written alike and compute something else, or the other way
round, so neither stands for the other.
"""

from __future__ import annotations

import numpy as np

from openevolve_unified.records import Traits

SAME_FUNCTION = 0.003
"""Outputs that differ by no more are those of one function class. Rewriting a program moves them by
rounding alone; the nearest two published mechanisms differ by ten times as much."""


def operator_distance(one: Traits, other: Traits) -> float:
    """Share of the operator bigrams that only one of both has.

    ``1 - 2 * common / (all of one + all of other)``, counted with repetitions: the q-gram distance
    (Ukkonen 1992, Theoretical Computer Science 92:191) over its largest value, which is the
    dissimilarity of Bray and Curtis (1957, Ecological Monographs 27:325).
    """
    total = sum(one.bigrams.values()) + sum(other.bigrams.values())
    common = sum(min(count, other.bigrams.get(name, 0)) for name, count in one.bigrams.items())
    return 1.0 - 2.0 * common / total if total else 0.0


def output_distance(one: Traits, other: Traits) -> float:
    """Relative difference of the outputs, ``|a - b| / (|a| + |b|)``, at the parameters where it is
    largest; Euclidean norms.

    Raises:
        ValueError: the outputs were not measured alike.
    """
    shapes = [[len(vector) for vector in traits.outputs] for traits in (one, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"outputs: got vectors of {shapes[0]} and {shapes[1]} numbers")
    return max(map(_relative_difference, one.outputs, other.outputs), default=0.0)


def _relative_difference(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    a, b = np.asarray(one), np.asarray(other)
    scale = float(np.linalg.norm(a) + np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / scale if scale else 0.0
