"""Groups of hunks: the smallest ones that can be reverted alone and kept alone legally.

A hunk that only works together with another (a method and its call, a parameter and its use) is
put into one group with it. All hunks together are the two programs themselves, which are legal, so
there always is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.hunks import Difference

MAX_GROUPS = 12
"""Each costs two programs to train, and every test more makes the corrected ones weaker."""

Group = tuple[int, ...]
"""Places of hunks, from 0, ascending."""


def asked_groups(num_hunks: int, asked: Sequence[Sequence[int]]) -> tuple[Group, ...]:
    """The hunks as a person wants them put together, by their numbers from 1; the rest alone.

    Raises:
        ConfigError: a number that there is not, or twice.
    """
    groups: list[Group] = []
    taken: set[int] = set()
    for numbers in asked:
        for number in numbers:
            if not 1 <= number <= num_hunks:
                raise ConfigError(
                    f"--group: got hunk {number}, wanted numbers of 1 to {num_hunks} (--list shows "
                    "the hunks)"
                )
            if number in taken:
                raise ConfigError(f"--group: hunk {number} is there twice; wanted it in one group")
            taken.add(number)
        groups.append(tuple(sorted(number - 1 for number in numbers)))
    groups += [(place,) for place in range(num_hunks) if place + 1 not in taken]
    return tuple(sorted(groups))


def require_few(groups: Sequence[Group]) -> None:
    """
    Raises:
        ConfigError: more than ``MAX_GROUPS``.
    """
    if len(groups) > MAX_GROUPS:
        raise ConfigError(
            f"ablate: got {len(groups)} hunks, wanted at most {MAX_GROUPS}: put those that belong "
            "together into one with --group 1,2,3 (repeatable; --list shows the hunks with their "
            "numbers)"
        )


def legal_groups(
    difference: Difference, groups: Sequence[Group], is_legal: Callable[[str], bool]
) -> tuple[Group, ...]:
    """Merge groups until each can be reverted alone and kept alone.

    An illegal group is merged with the nearest one that makes it legal. Where no single one does
    for any, the first is merged with what remains when the others are taken away one by one, the
    farthest first, as long as it stays legal.

    Args:
        is_legal: whether a program passes every check; asked once for each program.
    """
    known: dict[str, bool] = {}

    def is_known_legal(source: str) -> bool:
        if source not in known:
            known[source] = is_legal(source)
        return known[source]

    def works(group: Group) -> bool:
        sources = difference.with_hunks(group), difference.without_hunks(group)
        return all(map(is_known_legal, sources))

    found = sorted(groups)
    while True:
        illegal = [group for group in found if len(found) > 1 and not works(group)]
        if not illegal:
            return tuple(found)
        merged = next(
            (
                (group, other)
                for group in illegal
                for other in _nearest_first(group, found)
                if works(_union(group, other))
            ),
            None,
        )
        together = merged or (illegal[0], *_fewest(illegal[0], found, works))
        found = sorted([*(one for one in found if one not in together), _union(*together)])


def _nearest_first(group: Group, found: Sequence[Group]) -> list[Group]:
    others = [one for one in found if one != group]
    return sorted(others, key=lambda one: min(abs(a - b) for a in one for b in group))


def _fewest(
    group: Group, found: Sequence[Group], works: Callable[[Group], bool]
) -> tuple[Group, ...]:
    """The other groups of which none can be taken away from their union with this one."""
    needed = _nearest_first(group, found)
    for other in reversed(_nearest_first(group, found)):
        fewer = [one for one in needed if one != other]
        if fewer and works(_union(group, *fewer)):
            needed = fewer
    return tuple(needed)


def _union(*groups: Group) -> Group:
    return tuple(sorted(place for group in groups for place in group))
