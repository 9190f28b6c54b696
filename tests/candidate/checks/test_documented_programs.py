"""The programs of ``docs/programs.md``: accepted, and one function in three frameworks."""

from __future__ import annotations

import pytest
import torch
from documented import blocks

from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.notations import FRAMEWORKS

CLASSES = {block.words: block.text for block in blocks("python") if block.words}


def _program(desk, framework):
    split = split_block(desk.initial_source(framework))
    return split.before + CLASSES[framework] + split.after


def _attention(source):
    names: dict = {}
    exec(source, names)  # our own text, from the documentation
    torch.manual_seed(0)
    return names["EvolvableAttention"](32, 2, 0.0).double().eval()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_documented_program_is_accepted(desk, framework):
    desk.check(_program(desk, framework), framework)


def test_there_is_one_program_for_each_framework():
    assert sorted(CLASSES) == sorted(FRAMEWORKS)


def test_the_three_documented_programs_are_one_function(desk):
    first, *others = (_attention(_program(desk, framework)) for framework in FRAMEWORKS)
    x = torch.randn(2, 12, 32, dtype=torch.float64)
    softmax = _attention(desk.initial_source("coefficient_dynamics"))
    assert not torch.allclose(first(x), softmax(x), atol=1e-3)
    for other in others:
        other.load_state_dict(first.state_dict())
        assert torch.allclose(other(x), first(x), atol=1e-12)
