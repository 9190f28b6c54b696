"""Paired tests of gains over seeds: t, exact sign flips, Wilcoxon's signed ranks, equivalence.

Each takes one gain per pair and asks whether their centre is zero; the equivalence test asks the
opposite. scipy's where it has one that is quick enough; the flips are made here, because scipy
draws a million of them one by one.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import scipy

MOST_PAIRS_EXACT = 20
"""Up to here all 2^n flips are made: a million of them."""
NUM_DRAWN_FLIPS = 99_999
"""Beyond, with the observed one counted in, so that p is never below 1 in 100,000 (Phipson and
Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39)."""
_FLIPS_AT_ONCE = 10_000
_ROUNDING = 1e-12
"""Of the sum of all gains without sign: flips whose sums differ by less are ties."""
_MOST_PAIRS_WILCOXON_EXACT = 50


class PairedTest(NamedTuple):
    """A test's statistic and p-value."""

    statistic: float
    p: float


def paired_t(gains: np.ndarray) -> PairedTest:
    """Student's paired t, two-sided; gains ``(pairs,)``."""
    found = scipy.stats.ttest_1samp(gains, 0.0)
    return PairedTest(float(found.statistic), float(found.pvalue))


def sign_flip(gains: np.ndarray) -> PairedTest:
    """Fisher's sign-flip test of the mean gain, two-sided; see ``sign_flip_p``."""
    return PairedTest(float(np.mean(gains)), float(sign_flip_p(gains)))


def sign_flip_p(gains: np.ndarray) -> np.ndarray:
    """Share of all flips of signs whose sum is at least as far from zero.

    It assumes only that each pair's gain would as likely have had the other sign, as it has when
    the arms are equal. Its least value is 2 / 2^pairs.

    Args:
        gains: ``(..., pairs)``; leading axes are experiments of their own.

    Returns:
        p-values ``(...,)``: exact up to ``MOST_PAIRS_EXACT`` pairs, else of ``NUM_DRAWN_FLIPS``.
    """
    gains = np.asarray(gains, dtype=np.float64)
    reached = np.abs(gains.sum(axis=-1)) - _ROUNDING * np.abs(gains).sum(axis=-1)
    if gains.shape[-1] > MOST_PAIRS_EXACT:
        return _drawn_p(gains, reached)
    # A flip of all signs leaves the distance from zero, so the first pair's sign can stay.
    sums = gains[..., :1]
    for pair in range(1, gains.shape[-1]):
        gain = gains[..., pair, None]
        sums = np.concatenate([sums + gain, sums - gain], axis=-1)
    return (np.abs(sums) >= reached[..., None]).mean(axis=-1)


def least_sign_flip_p(num_pairs: int) -> float:
    """The smallest p that the sign-flip test can give."""
    if num_pairs > MOST_PAIRS_EXACT:
        return 1 / (NUM_DRAWN_FLIPS + 1)
    return 2.0 ** (1 - num_pairs)


def wilcoxon(gains: np.ndarray) -> PairedTest:
    """Wilcoxon's signed-rank test, two-sided.

    As R's ``wilcox.test``: exact without zeros and ties, else normal with continuity correction.
    """
    sizes = np.abs(gains)
    is_exact = (
        sizes.all()
        and len(np.unique(sizes)) == len(sizes)
        and len(sizes) <= _MOST_PAIRS_WILCOXON_EXACT
    )
    with warnings.catch_warnings():
        # Of scipy 1.11; with zeros or ties it has nothing but the approximation.
        warnings.filterwarnings("ignore", message="Sample size too small for normal")
        found = scipy.stats.wilcoxon(
            gains, correction=True, method="exact" if is_exact else "approx"
        )
    return PairedTest(float(found.statistic), float(found.pvalue))


def equivalence(gains: np.ndarray, standard: np.ndarray, margin: float) -> PairedTest:
    """Two one-sided t tests (Schuirmann 1987) that the arms differ by less than ``margin``.

    The margin is relative to the standard arm's mean, which is itself estimated; so the tests are
    made on ``gain + margin * standard > 0`` and ``gain - margin * standard < 0``, pair by pair.

    Args:
        standard: losses of the standard arm, ``(pairs,)``.

    Returns:
        The larger p, and its t.
    """
    above = scipy.stats.ttest_1samp(gains + margin * standard, 0.0, alternative="greater")
    below = scipy.stats.ttest_1samp(gains - margin * standard, 0.0, alternative="less")
    larger = max(above, below, key=lambda found: found.pvalue)
    return PairedTest(float(larger.statistic), float(larger.pvalue))


def _drawn_p(gains: np.ndarray, reached: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(0)
    as_far = np.zeros(gains.shape[:-1])
    left = NUM_DRAWN_FLIPS
    while left:
        number = min(left, _FLIPS_AT_ONCE)
        signs = random.choice([-1.0, 1.0], (gains.shape[-1], number))
        as_far += (np.abs(gains @ signs) >= reached[..., None]).sum(axis=-1)
        left -= number
    return (as_far + 1) / (NUM_DRAWN_FLIPS + 1)
