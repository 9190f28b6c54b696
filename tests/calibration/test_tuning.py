"""Tuning: only numbers change, and only legal programs come."""

from __future__ import annotations

import random

import pytest
from made_judge import MadeJudge
from tiny_ladder import INITIAL, ROOT

from openevolve_unified.calibration.tuning import MAX_DRAWS, numbers, perturbed, tuned_programs
from openevolve_unified.candidate.source.block import require_same_outside
from openevolve_unified.errors import ConfigError

BLOCK = """import math

SIZE = 3 * 7
# EVOLVE-BLOCK-START
class A:
    '''2 * 3 in words: \u03b1'''
    def f(self, q, dim: int = 4, p: float = 0.1):
        s = q @ q.transpose(-2, -1) / math.sqrt(self.head_dim * 2)
        s = 0.5 * s + 1 - 0 * s
        return s.softmax(dim=-1)[2:]
# EVOLVE-BLOCK-END
TAIL = 5 * 5
"""


def test_numbers_are_literals_in_arithmetic_and_values_of_math_inside_the_block():
    texts = [number.text for number in numbers(BLOCK)]
    assert texts == ["math.sqrt(self.head_dim * 2)", "0.5", "1"]


@pytest.mark.parametrize("path", sorted((ROOT / "initial_programs").glob("*.py")), ids=str)
def test_every_shipped_initial_program_has_a_temperature(path):
    assert [n.text for n in numbers(path.read_text())] == ["math.sqrt(self.head_dim)"]


def test_a_perturbed_program_differs_in_numbers_only():
    found = numbers(BLOCK)
    for seed in range(20):
        source = perturbed(BLOCK, found, random.Random(seed))
        require_same_outside(source, BLOCK)
        assert source != BLOCK
        assert "\u03b1" in source
        skeleton = source
        for number in found:
            before, _, after = skeleton.partition(f" * {number.text})")
            if after:
                skeleton = before[: before.rindex("(")] + number.text + after
        assert skeleton == BLOCK


def test_the_same_seed_draws_the_same_distinct_programs():
    judge = MadeJudge(lambda source: 0.0)
    first, again = (
        [next(programs) for _ in range(5)]
        for programs in (tuned_programs(judge, 3), tuned_programs(judge, 3))
    )
    assert first == again
    assert len({INITIAL, *first}) == 6
    assert next(tuned_programs(judge, 4)) not in first


def test_only_legal_programs_come():
    judge = MadeJudge(lambda source: "causality" if "(0." in source else 0.0)
    programs = tuned_programs(judge, 0)
    assert all("(0." not in next(programs) for _ in range(8))


def test_without_a_legal_program_or_a_number_there_is_one_line():
    judge = MadeJudge(lambda source: "causality")
    with pytest.raises(ConfigError, match=f"no legal program in {MAX_DRAWS} draws"):
        next(tuned_programs(judge, 0))
    judge.initial = type(judge.initial)(
        source=INITIAL.replace("math.sqrt(self.head_dim)", "self.head_dim"), framework="-"
    )
    with pytest.raises(ConfigError, match=r"has none that enters arithmetic; leave tuning out"):
        next(tuned_programs(judge, 0))
