"""The documentation: its links lead somewhere, its Python runs, its commands and settings are ours.

Commands are read by the real parsers, and their settings by the real reader of configurations; what
they do is tested where they live. Programs in it: ``candidate/checks/test_documented_programs.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shlex

import numpy as np
import pytest
from documented import (
    DOCUMENTS,
    OURS,
    ROOT,
    blocks,
    command_lines,
    commands,
    every_block,
    inline_code,
)
from openevolve.evaluation_result import EvaluationResult

from openevolve_unified import ScalingLawEvaluator
from openevolve_unified.cli import app, evolve
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.diagnostics import Diagnostics, ExampleMatrices, diagnostics_of
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.stages import STAGE_MEANINGS

ELSEWHERE = {
    **dict.fromkeys((".", "mypy", "pip", "pytest", "python3", "ruff"), ".ci/run runs it"),
    "openevolve-run": "run by plugin/test_example.py and scenarios/test_language_model.py",
    "test": "needs Slurm: a line of its job script",
}
"""Commands that are not ours, and why no test here runs them."""

FOREIGN = ("--head",)
"""Options of their commands."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openevolve-unified")
    parser.add_argument("--version", action="store_true")
    _add_commands(parser)
    return parser


def _add_commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    added = parser.add_subparsers()
    for command in app.COMMANDS:
        command.add(added)
    return dict(added.choices)


@pytest.fixture(scope="module")
def helps():
    """What ``--help`` says, by the words before it."""
    parsers = _add_commands(argparse.ArgumentParser())
    helps = {("openevolve-unified", name): one.format_help() for name, one in parsers.items()}
    return {("openevolve",): evolve.parser().format_help(), **helps}


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_every_command_in_the_documentation_is_one_of_ours(words, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    parser = evolve.parser() if words[0] == "openevolve" else _parser()
    options = parser.parse_args([word for word in words[1:] if word != "$continue"])
    config = getattr(options, "config", None)
    if config is not None:
        load_experiment(ROOT / config, getattr(options, "overrides", None) or ())


def test_a_command_that_is_none_of_ours_is_refused(capsys):
    with pytest.raises(SystemExit):
        _parser().parse_args(["invent", "configs/quickstart.yaml"])
    assert "invalid choice: 'invent'" in capsys.readouterr().err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_are_there(document):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (document.parent / target).exists()]


def test_every_block_says_what_it_is():
    assert {block.language for block in every_block()} == {"python", "console", "bash", "text"}


def test_every_command_is_ours_or_says_who_runs_it():
    first = {words[0] for words in command_lines() if "=" not in words[0]}
    assert first == {*OURS, *ELSEWHERE}


def test_every_documented_command_of_ours_is_run_by_a_test():
    here = ROOT / "tests"
    texts = [path.read_text() for path in here.rglob("test_*.py") if path.parent != here]
    names = {words[1] for words in commands() if words[0] == OURS[1]}
    assert [name for name in names if not any(f'"{name}"' in text for text in texts)] == []


def test_every_block_of_python_has_a_test():
    found = {(block.document, block.words) for block in blocks("python")}
    programs = {("programs.md", framework) for framework in FRAMEWORKS}
    assert found == {("README.md", ""), ("diagnostics.md", ""), *programs}


def test_the_python_of_the_readme_evaluates_a_program(monkeypatch, capsys, tmp_path):
    evaluated = []

    def evaluate(self, path):
        evaluated.append((self.experiment.scaling_law.framework, path))
        return EvaluationResult(metrics={"combined_score": 0.1, "score_stderr": 0.02}, artifacts={})

    monkeypatch.setattr(ScalingLawEvaluator, "evaluate", evaluate)  # hours on a GPU
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks("python") if block.document == "README.md")
    exec(block.text.replace('device="cuda"', 'device="cpu"'), {})
    assert evaluated == [("matrix_mixer", "my_attention.py")]
    assert capsys.readouterr().out == "0.1 0.02\n"


def test_the_python_of_the_diagnostics_reads_a_record(tmp_path):
    example = ExampleMatrices.of(np.ones((1, 1, 2, 2)), ("a", "b"), (0,))
    run = {"diagnostics": to_plain(Diagnostics(repeated_share=0.0, example=example))}
    path = tmp_path / "0003_ab12cd34ef56.json"
    path.write_text(json.dumps({"losses": [{"runs": [run]}]}))
    names = {"json": json, "path": path, "diagnostics_of": diagnostics_of}
    (block,) = (block for block in blocks("python") if block.document == "diagnostics.md")
    exec(block.text, names)
    assert names["found"].example.matrices.shape == (1, 1, 2, 2)
    assert names["found"].example.tokens == ("a", "b")


def test_every_option_in_a_sentence_is_one_of_its_command(helps):
    everywhere = "\n".join(helps.values())
    for document, text in inline_code():
        words = text.split()
        if words[0] in OURS and not words[-1].startswith("--print"):
            named = words[0] == OURS[1] and len(words) > 1 and not words[1].startswith("-")
            known = helps[tuple(words[:2])] if named else everywhere
        elif words[0].startswith("--"):
            known = everywhere
        else:
            continue
        options = re.findall(r"(?<!\S)\[?(--[a-z-]+)", text)
        unknown = [o for o in options if o not in FOREIGN and not re.search(rf"{o}\b", known)]
        assert unknown == [], f"{document}: {text}"


def test_every_setting_in_a_sentence_is_one_of_ours():
    config = dataclasses.asdict(load_experiment(ROOT / "configs/quickstart.yaml").scaling_law)
    for document, text in inline_code():
        for dotted in re.findall(r"(?<![\w./])[a-z_]+(?:\.[a-z_]+)+", text):
            names = dotted.removeprefix("scaling_law.").split(".")
            module = ROOT / "openevolve_unified" / "/".join(names)
            if names[-1] in ("json", "md", "py") or module.with_suffix(".py").exists():
                continue
            if names[0] not in config and not dotted.startswith("scaling_law."):
                continue
            value = config
            for name in names:
                assert name in value, f"{document}: {dotted}"
                value = value[name] if isinstance(value[name], dict) else {}


def test_every_check_that_can_refuse_a_program_is_explained():
    stages = list(STAGE_MEANINGS)
    checks = {*stages[: stages.index("stopped_early")]} - {"read"}
    text = (ROOT / "docs" / "checks.md").read_text()
    assert {name for name in checks if f"[`{name}`]" not in text} == set()
