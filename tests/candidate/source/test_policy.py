"""The look at a program's text gives readable reasons."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from openevolve_unified.candidate.source import policy
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.notations import NOTATIONS

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
        ("torch.os.environ", "torch.os is not for mechanisms"),
        ("torch.sys.modules['gc']", "torch.linalg, torch.fft and torch.special may be reached"),
        ("torch.builtins.open('x')", "torch.builtins is not"),
        ("torch.threading.Thread()", "torch.threading is not"),
        ("torch.ctypes.CDLL(None)", "torch.ctypes is not"),
        ("torch.random.random.random()", "torch.random is not"),
        ("torch.storage.UntypedStorage(3)", "torch.storage is not"),
        ("torch.functional.torch.os", "torch.functional is not"),
        ("torch.nn.modules.module.torch", "torch.nn.modules is not"),
        ("nn.modules.Module", "nn.modules is not"),
        ("F.torch.abs(q)", "F.torch is not"),
        ("nn.functional.math.pi", "nn.functional.math is not"),
        ("m = torch.os", "torch.os is not"),
        ("from torch import sys", "torch.sys is not"),
        ("import torch as t\nt.os.getpid()", "t.os is not"),
        ("torch.serialization.load('x')", "torch.serialization"),
        ("torch.load('x')", "torch.load"),
        ("k.detach_()", "write .detach()"),
        ("torch.hub.time", "torch.hub"),
        ("self.last = k", "self.last is written outside __init__: no state between calls"),
        ("self.calls += 1", "or make self.calls a parameter or a buffer in __init__"),
        ("self.a, self.b = q, k", "self.a is written"),
        ("self.memory[0] = k", "self.memory is written"),
        ("del self.last", "self.last is written"),
        ("for self.i in range(3): pass", "self.i is written"),
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


def test_what_torch_offers_to_mechanisms_may_be_reached(desk):
    members = """
self.net = nn.Sequential(nn.Linear(hidden_dim, 1))
self.table = nn.Parameter(torch.zeros(num_heads))
torch.nn.init.normal_(self.table)
self.sizes = [hidden_dim]
self._reset(num_heads)
"""
    body = """
q = torch.linalg.solve_triangular(torch.eye(4), q.mT, upper=False).mT
k = torch.fft.irfft(torch.fft.rfft(k), n=4) + torch.special.expit(k) * torch.finfo(k.dtype).eps
d = torch.trace(torch.select(q, 0, 0)[0]) + torch.float32.itemsize + torch.Tensor.abs(q).mean()
rows = {}
rows[0] = q.new_zeros(3)
rows[0][1] = 1.0
"""
    source = desk.program(body + BODY, members=members)
    reset = "    def _reset(self, n):\n        self.n = n\n    def coefficients("
    policy.check_source(source.replace("    def coefficients(", reset), FRAMEWORK, GatesConfig())


def test_state_of_a_helper_class_is_refused_too(desk):
    helper = "class Memory(nn.Module):\n    def forward(self, k):\n        self.k = k\n\n"
    source = desk.program(BODY)
    source = source.replace("class Evolvable", helper + "class Evolvable")
    assert "self.k is written outside __init__" in reason(source)


@pytest.mark.parametrize("mechanism", mechanisms(), ids=lambda m: f"{m.framework}-{m.name}")
def test_no_published_mechanism_is_refused(mechanism):
    policy.check_source(mechanism.source, mechanism.framework, GatesConfig())


@pytest.mark.parametrize("framework", NOTATIONS)
def test_no_initial_program_is_refused(desk, framework):
    policy.check_source(desk.initial_source(framework), framework, GatesConfig())


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
        "import openevolve_unified.candidate.source.block\n"
        "import openevolve_unified.candidate.source.policy\n"
        "import openevolve_unified.candidate.tracing.tracer\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
