"""What a proposer is told names everything that a program is held to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
PROGRAMS = sorted((REPOSITORY / "initial_programs").glob("*.py"))
CONTRACT = ("1j", "torch.polar", "torch.vmap", "odd", "time", "no state between calls", "in-place")
"""Complex numbers, vmap, odd numbers of heads, loops over time, state, writes into inputs."""


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_system_message_names_the_contract(path):
    message = yaml.safe_load(path.read_text(encoding="utf-8"))["prompt"]["system_message"]
    assert [term for term in (*CONTRACT, "loops over time") if term not in words(message)] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_system_message_says_that_small_differences_are_luck(path):
    message = yaml.safe_load(path.read_text(encoding="utf-8"))["prompt"]["system_message"]
    assert "Only a difference beyond twice its stated error is evidence" in words(message)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_the_initial_program_names_the_contract(path):
    text = words(path.read_text(encoding="utf-8"))
    assert [term for term in (*CONTRACT, "loops over time") if term not in text] == []


def test_the_rules_of_the_prompt_name_the_contract():
    text = words((REPOSITORY / "configs" / "prompts" / "diff_user.txt").read_text(encoding="utf-8"))
    assert [term for term in (*CONTRACT, "loop over time is unrolled") if term not in text] == []
    assert "torch.export" not in text  # how a program is recorded, as it no longer is


TEXTS = [*CONFIGS, *PROGRAMS, REPOSITORY / "configs" / "prompts" / "diff_user.txt"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_nothing_forbids_what_is_traced(path):
    """Complex literals and a map over heads; only a map over the batch is refused."""
    text = words(path.read_text(encoding="utf-8"))
    assert [term for term in ("no 1j", "never 1j", "no torch.vmap") if term in text] == []
