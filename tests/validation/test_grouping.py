"""Groups of hunks: legal in both directions, no larger than they must be, and never refused."""

from __future__ import annotations

import itertools
import random

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.grouping import (
    MAX_GROUPS,
    asked_groups,
    legal_groups,
    require_few,
)
from openevolve_unified.validation.hunks import difference

NUM = 6


def program(values):
    lines = "".join(f"v{place} = {value}\n# {'-' * place}\n" for place, value in enumerate(values))
    return f"# EVOLVE-BLOCK-START\n{lines}# EVOLVE-BLOCK-END\n"


DIFFERENCE = difference(program(["old"] * NUM), program(["new"] * NUM))


def chosen(source):
    """The places whose hunk a program has."""
    return {place for place in range(NUM) if f"v{place} = new\n" in source}


def groups_where(*rules, num=NUM):
    """The groups where hunk ``b`` needs hunk ``a``, for every rule ``(a, b)``."""

    def is_legal(source):
        asked.append(source)
        return all(b not in chosen(source) or set(a) <= chosen(source) for *a, b in rules)

    asked: list[str] = []
    found = legal_groups(DIFFERENCE, [(place,) for place in range(num)], is_legal)
    assert len(asked) == len(set(asked)), "no program is checked twice"
    return found


def test_independent_hunks_stay_alone():
    assert groups_where() == ((0,), (1,), (2,), (3,), (4,), (5,))


def test_a_hunk_joins_the_one_that_it_needs_and_no_other():
    assert groups_where((1, 4)) == ((0,), (1, 4), (2,), (3,), (5,))


def test_two_pairs_do_not_become_four():
    assert groups_where((0, 5), (2, 3)) == ((0, 5), (1,), (2, 3), (4,))


def test_a_hunk_that_needs_two_others_joins_both_of_them():
    assert groups_where((0, 2, 5)) == ((0, 2, 5), (1,), (3,), (4,))


def test_whatever_is_legal_the_groups_are_legal_and_hold_every_hunk_once():
    for seed in range(40):
        rng = random.Random(seed)
        tables = {}

        def is_legal(source, rng=rng, tables=tables):
            if len(chosen(source)) in (0, NUM):
                return True
            return tables.setdefault(source, rng.random() < 0.4)

        found = legal_groups(DIFFERENCE, [(place,) for place in range(NUM)], is_legal)
        assert sorted(itertools.chain(*found)) == list(range(NUM))
        for group in found:
            assert is_legal(DIFFERENCE.with_hunks(group))
            assert is_legal(DIFFERENCE.without_hunks(group))


def test_hunks_are_put_together_as_asked_and_the_rest_stays_alone():
    assert asked_groups(5, [(4, 2)]) == ((0,), (1, 3), (2,), (4,))


@pytest.mark.parametrize(
    ("num_hunks", "asked", "wanted"),
    [
        (3, [(1, 4)], "--group: got hunk 4, wanted numbers of 1 to 3"),
        (3, [(1, 2), (2, 3)], "--group: hunk 2 is there twice"),
    ],
)
def test_wrong_groups_are_one_clear_line(num_hunks, asked, wanted):
    with pytest.raises(ConfigError, match=wanted):
        asked_groups(num_hunks, asked)


def test_too_many_hunks_are_refused_and_groups_bring_them_under_the_maximum():
    with pytest.raises(ConfigError, match=r"got 13 hunks, wanted at most 12: .*--group 1,2,3"):
        require_few(asked_groups(MAX_GROUPS + 1, []))
    require_few(asked_groups(MAX_GROUPS + 1, [(1, 2)]))
