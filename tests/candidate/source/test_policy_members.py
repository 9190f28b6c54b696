"""A program's own members do not take names of the base classes."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from openevolve_unified import frameworks
from openevolve_unified.candidate.source.members import FRAMEWORK_MEMBERS, MODULE_MEMBERS
from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

BODY = "return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)"


def reason(source, framework="coefficient_dynamics"):
    with pytest.raises(CandidateError) as caught:
        check_source(source, framework, GatesConfig())
    assert caught.value.stage == "policy"
    return caught.value.reason


@pytest.mark.parametrize("framework", NOTATIONS)
def test_the_table_holds_what_the_base_class_has(framework):
    base = getattr(frameworks, NOTATIONS[framework].base_class)
    found = {name for name in dir(base(8, 2)) if not name.startswith("__")}
    own = found - set(dir(nn.Module()))
    assert own == FRAMEWORK_MEMBERS[framework], "write the difference into candidate/members.py"


TORCH_VERSION = tuple(map(int, torch.__version__.split(".")[:2]))


@pytest.mark.skipif(TORCH_VERSION > (2, 13), reason="the table was written for torch up to 2.13")
def test_the_table_holds_what_a_torch_module_has():
    found = {name for name in dir(nn.Module()) if not name.startswith("__")}
    assert found <= MODULE_MEMBERS, "write the difference into candidate/members.py"
    public = {name for name in MODULE_MEMBERS if not name.startswith("_")}
    assert public <= found, "torch.nn.Module has lost them"


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        ("coefficient_dynamics", "readout"),
        ("coefficient_dynamics", "mix"),
        ("coefficient_dynamics", "rotate"),
        ("test_time_regression", "ridge"),
        ("matrix_mixer", "diagonal"),
        ("matrix_mixer", "train"),
        ("matrix_mixer", "parameters"),
        ("test_time_regression", "named_parameters"),
        ("test_time_regression", "forward"),
        ("test_time_regression", "register_buffer"),
    ],
)
def test_a_member_with_the_name_of_a_base_method_is_refused_with_the_line(desk, framework, name):
    line = f"self.{name} = nn.Linear(hidden_dim, num_heads)"
    source = desk.program(BODY, framework, members=line)
    number = 1 + [text.strip() for text in source.splitlines()].index(line)
    wanted = f"line {number}: self.{name} is a method of the base class; choose another name"
    assert reason(source, framework) == wanted


@pytest.mark.parametrize(
    "line",
    [
        'self.register_buffer("readout", torch.zeros(3))',
        'self.register_parameter("readout", nn.Parameter(torch.zeros(3)))',
        'self.add_module("readout", nn.Identity())',
        "self.readout, self.other = 1, 2",
        "self.readout: int = 1",
    ],
)
def test_every_way_to_register_a_member_counts(desk, line):
    assert "self.readout is a method of the base class" in reason(desk.program(BODY, members=line))


def test_what_the_base_class_has_set_is_not_set_again(desk):
    source = desk.program(BODY, members="self.head_dim = hidden_dim // num_heads")
    assert "self.head_dim is set by the base class already: leave this line out" in reason(source)


def test_a_method_with_the_name_of_a_module_method_is_refused(desk):
    source = desk.program(BODY)
    for name in ("apply", "train", "parameters"):
        method = f"    def {name}(self, z):\n        return z\n    def coefficients("
        assert f"{name} is a member of torch.nn.Module" in reason(
            source.replace("    def coefficients(", method)
        )


def test_names_of_their_own_and_redefined_parts_are_accepted(desk):
    members = """
self.readout_gate = nn.Linear(hidden_dim, num_heads)
self.register_buffer("taps", torch.zeros(3))
self.ridge = 0.1
"""
    methods = """    def readout(self, z):
        return z
    def rotate(self, z):
        return z
    def extra_repr(self):
        return "two"
    def coefficients("""
    source = desk.program(BODY, members=members).replace("    def coefficients(", methods)
    check_source(source, "coefficient_dynamics", GatesConfig())


def test_another_class_of_the_block_has_its_own_names(desk):
    helper = "class Gate(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    helper += "        self.readout = nn.Linear(2, 2)\n\n\n"
    source = desk.program(BODY).replace("class Evolvable", helper + "class Evolvable", 1)
    check_source(source, "coefficient_dynamics", GatesConfig())
