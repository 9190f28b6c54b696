"""The seed plan: disjoint seeds for search, confirmation and validation.

A winner was chosen because of its luck at the search seeds, so it is confirmed at others, and what
is published about it rests on a third set. The noise floor is measured on the baseline's search and
confirmation seeds first, because the baseline is trained there anyway, and on further ones of its
own: it never touches the validation seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openevolve_unified.judgement.noise import MIN_SEEDS

STRIDE = 1000
"""Distance between the sets: seed 42 is confirmed at 1042 and validated at 2042."""


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """Which seeds serve what.

    Raises:
        ValueError: a seed twice in one set, or in two sets that must be disjoint.
    """

    search: tuple[int, ...]
    """In the order in which a candidate is given them."""
    confirmation: tuple[int, ...]
    validation: tuple[int, ...]
    noise: tuple[int, ...]
    """May share seeds with search and confirmation: only the baseline and its twin run there."""

    def __post_init__(self) -> None:
        sets = {
            name: getattr(self, name) for name in ("search", "confirmation", "validation", "noise")
        }
        for name, seeds in sets.items():
            if len(set(seeds)) != len(seeds):
                raise ValueError(
                    f"seeds: {name} names a seed twice ({list(seeds)}); wanted each once"
                )
        for first, second in (
            ("search", "confirmation"),
            ("search", "validation"),
            ("confirmation", "validation"),
            ("noise", "validation"),
        ):
            shared = sorted(set(sets[first]) & set(sets[second]))
            if shared:
                raise ValueError(
                    f"seeds: {first} and {second} share {shared}; wanted disjoint sets, because a "
                    "program chosen at a seed is lucky there"
                )


def seed_plan(
    search_seeds: Sequence[int],
    *,
    max_seeds: int,
    num_confirmation: int,
    num_validation: int,
    num_noise: int,
) -> SeedPlan:
    """Derive every set from the configured search seeds, the same way each time.

    Args:
        search_seeds: as configured; continued by the next free integers up to ``max_seeds``.

    Raises:
        ValueError: no or repeated search seeds, more of them than ``max_seeds``, or numbers of
            seeds that are too small.
    """
    if not 0 < len(search_seeds) <= max_seeds:
        raise ValueError(
            f"seeds: got {len(search_seeds)} search seeds with max_seeds {max_seeds}, wanted at "
            "least one and at most max_seeds"
        )
    if num_noise < MIN_SEEDS:
        raise ValueError(
            f"noise seeds: got {num_noise}, wanted at least {MIN_SEEDS}: one value has no spread"
        )
    if num_confirmation < 1 or num_validation < 0:
        raise ValueError(
            f"seeds: got {num_confirmation} for confirmation and {num_validation} for validation, "
            "wanted at least 1 and at least 0"
        )
    taken = set(search_seeds)
    search = (*search_seeds, *next_free(search_seeds[0], max_seeds - len(search_seeds), taken))
    confirmation = next_free(search_seeds[0] + STRIDE, num_confirmation, taken)
    validation = next_free(search_seeds[0] + 2 * STRIDE, num_validation, taken)
    shared = (*search, *confirmation)[:num_noise]
    own = next_free(search_seeds[0] + 3 * STRIDE, num_noise - len(shared), taken)
    return SeedPlan(
        search=search, confirmation=confirmation, validation=validation, noise=(*shared, *own)
    )


def next_free(start: int, number: int, taken: set[int]) -> tuple[int, ...]:
    """The next ``number`` integers from ``start`` on that are not taken; they are then."""
    found: list[int] = []
    candidate = start
    while len(found) < number:
        if candidate not in taken:
            found.append(candidate)
            taken.add(candidate)
        candidate += 1
    return tuple(found)
