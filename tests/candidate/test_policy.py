"""The look at a program's text gives readable reasons."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from openevolve_unified.candidate import policy
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError

FRAMEWORK = "coefficient_dynamics"
BODY = "return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)"


def reason(source: str, framework: str = FRAMEWORK, gates: GatesConfig | None = None) -> str:
    with pytest.raises(CandidateError) as caught:
        policy.check_source(source, framework, gates or GatesConfig())
    assert caught.value.stage == "policy"
    return caught.value.reason


def test_an_honest_program_passes(desk):
    policy.check_source(desk.program(BODY), FRAMEWORK, GatesConfig())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import os", "import of 'os'"),
        ("import numpy as np", "import of 'numpy'"),
        ("from torch.utils import data", "import of 'torch.utils'"),
        ("from torch import load", "load"),
        ("eval('1')", "'eval'"),
        ("open('x')", "'open'"),
        ("__import__('os')", "'__import__'"),
        ("q.__class__", "'__class__'"),
        ("gc.collect()", "'gc'"),
        ("with torch.no_grad(): pass", "detach"),
        ("torch.compile(self)", "torch.compile"),
        ("torch.autograd.Function", "backward"),
        ("q.register_hook(print)", "hooks"),
        ("q = q + torch.randn(1)", "deterministic"),
        ("q = F.dropout(q)", "dropout is fixed"),
        ("q = self.q_proj(x)", "self.q_proj is fixed"),
        ("q = q * 2 if self.training else q", "self.training"),
        ("global n", "global"),
        ("yield q", "generators"),
        ("torch._C", "private"),
        ("q = " + "(" * 130 + "q" + " + 1)" * 130, "nested"),
    ],
)
def test_what_cannot_work_is_named(desk, line, words):
    assert words in reason(desk.program(line + "\n" + BODY))


def test_random_initial_values_and_ordinary_imports_are_fine(desk):
    members = """
from math import sqrt
import torch.nn.functional as G
self.w = nn.Parameter(torch.randn(num_heads))
nn.init.normal_(self.w)
"""
    policy.check_source(desk.program(BODY, members=members), FRAMEWORK, GatesConfig())


def test_a_syntax_error_is_given_with_its_line(desk):
    source = desk.program("return q @@ k")
    line = source.splitlines().index("        return q @@ k") + 1
    assert f"line {line} is not valid Python" in reason(source)


def test_a_program_that_is_too_long_is_refused(desk):
    assert "bytes" in reason(desk.program(BODY), gates=GatesConfig(max_source_bytes=100))


def test_overriding_forward_is_refused(desk):
    source = desk.program(BODY + "\n\ndef forward(self, x, mask=None):\n    return x")
    assert "forward" not in ast.dump(ast.parse(desk.program(BODY)))
    moved = source.replace("        def forward", "    def forward").replace(
        "            return x", "        return x"
    )
    assert "forward is fixed: change coefficients" in reason(moved)


def test_the_class_must_be_there_once_with_the_right_base(desk):
    good = desk.program(BODY)
    assert "it has 0" in reason(good.replace("class EvolvableAttention", "class Other"))
    assert "MatrixMixer belongs to the framework matrix_mixer" in reason(
        good.replace("(CoefficientDynamics)", "(MatrixMixer)")
    )
    assert "it inherits nn.Module" in reason(good.replace("(CoefficientDynamics)", "(nn.Module)"))


def test_a_class_without_an_evolvable_method_is_refused(desk):
    source = desk.program(BODY).replace("def coefficients", "def coefficient")
    assert "overrides none of coefficients" in reason(source)


def test_statements_at_the_top_of_the_block_are_refused(desk):
    source = desk.program(BODY).replace(
        "class EvolvableAttention", "for i in range(3):\n    pass\nclass EvolvableAttention"
    )
    assert "classes, functions and constants only" in reason(source)


def test_the_fixed_names_are_those_of_the_frameworks():
    from openevolve_unified.frameworks import attention

    assert set(policy.FIXED_MEMBERS) <= attention.FIXED_ATTRIBUTES
    assert set(policy.FIXED_METHODS) <= attention.FIXED_METHODS


def test_the_parent_side_imports_no_torch():
    program = (
        "import sys\n"
        "import openevolve_unified.candidate.block, openevolve_unified.candidate.policy\n"
        "import openevolve_unified.candidate.tracer\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
