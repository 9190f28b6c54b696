"""Drift: do the held-out documents come from the same distribution as the training documents?

The Jensen-Shannon divergence between the token frequencies of two sets of documents is never zero,
so it is compared with what chance gives: the same documents, dealt into two sets at random. Whole
documents are dealt, because the tokens within one are alike. What this cannot see: a shift that
leaves the token frequencies alone, such as another order of the same sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_PERMUTATIONS = 199
MIN_Z = 4.0
"""Standard deviations above chance, besides exceeding every permutation; both are asked for."""
MAX_TOKENS = 300_000
"""Tokens per side that are looked at."""


def check_drift(
    train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], vocab_size: int, seed: int
) -> dict[str, Any]:
    """Compare two sets of tokenized documents, each (num_tokens,) uint16.

    Returns:
        ``divergence_nats`` (Jensen-Shannon), ``chance_mean_nats`` and ``chance_std_nats`` over the
        permutations, ``z``, ``p_value`` (one-sided, by permutation), the sizes, and ``is_shifted``.
    """
    train, held_out = _at_most(train), _at_most(held_out)
    documents = [*train, *held_out]
    tokens = np.concatenate(documents)
    owner = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    is_held_out = np.arange(len(documents)) >= len(train)
    observed = _divergence(tokens, is_held_out[owner], vocab_size)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 2))))
    chance = np.array(
        [
            _divergence(tokens, generator.permutation(is_held_out)[owner], vocab_size)
            for _ in range(NUM_PERMUTATIONS)
        ]
    )
    spread = float(chance.std(ddof=1))
    z = (observed - float(chance.mean())) / spread if spread > 0 else 0.0
    return {
        "divergence_nats": observed,
        "chance_mean_nats": float(chance.mean()),
        "chance_std_nats": spread,
        "z": z,
        "p_value": float((1 + (chance >= observed).sum()) / (1 + NUM_PERMUTATIONS)),
        "num_train_documents": len(train),
        "num_held_out_documents": len(held_out),
        "is_shifted": bool(observed > chance.max() and z > MIN_Z),
    }


def describe_drift(split: str, report: dict[str, Any]) -> str:
    """One line for people."""
    verdict = "differs from" if report["is_shifted"] else "has the distribution of"
    return (
        f"the {split} split {verdict} the training split: divergence "
        f"{report['divergence_nats']:.2g} nats, chance gives {report['chance_mean_nats']:.2g} "
        f"+- {report['chance_std_nats']:.1g} (z = {report['z']:+.1f})"
    )


def _at_most(documents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first documents up to ``MAX_TOKENS`` tokens; they are in shuffled order."""
    ends = np.cumsum([len(document) for document in documents])
    return list(documents[: int(np.searchsorted(ends, MAX_TOKENS)) + 1])


def _divergence(tokens: np.ndarray, is_held_out: np.ndarray, vocab_size: int) -> float:
    """Jensen-Shannon divergence in nats, 0 to ln 2, between the tokens of the two sides."""
    p = np.bincount(tokens[~is_held_out], minlength=vocab_size).astype(np.float64)
    q = np.bincount(tokens[is_held_out], minlength=vocab_size).astype(np.float64)
    if not p.sum() or not q.sum():
        return 0.0
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
