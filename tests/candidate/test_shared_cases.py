"""Programs from use that went wrong once, where they lie beside the tree; each has its outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from openevolve_unified.candidate.source.block import require_same_outside
from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

PROGRAMS = Path(__file__).parents[3] / "shared" / "cases" / "programs"
pytestmark = pytest.mark.skipif(not PROGRAMS.is_dir(), reason="the cases lie beside the tree")

REFUSED = {
    "unmasked_maximum": ("causality", "it cancels except for rounding (and underflow)"),
    "leak_in_some_layers": ("causality", "when the input from position"),
    "member_named_readout": ("policy", "self.readout is a method of the base class; choose"),
    "writes_into_a_library": ("policy", "F.gelu is assigned"),
    "result_cache": ("policy", "_CACHE is written, but it outlives the call"),
}
ACCEPTED = ("orthogonal_to_own_value", "no_grad_in_init")


def judge(desk, name):
    source = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    framework = next(
        framework
        for framework, notation in NOTATIONS.items()
        if f"import {notation.base_class}" in source
    )
    require_same_outside(source, desk.initial_source(framework))
    check_source(source, framework, desk.gates)
    return desk.check(source, framework)


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_refused_is_refused_for_its_reason(desk, name):
    with pytest.raises(CandidateError) as caught:
        judge(desk, name)
    stage, words = REFUSED[name]
    assert caught.value.stage == stage
    assert words in caught.value.reason


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_honest_is_accepted(desk, name):
    assert judge(desk, name).evidence["causality"]["sizes"]
