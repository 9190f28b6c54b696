"""The documentation: its links lead somewhere, and the commands in it are commands of ours.

They are read by the real parsers, and their settings by the real reader of configurations; what
they do is tested where they live. Programs in it: ``candidate/checks/test_documented_programs.py``.
"""

from __future__ import annotations

import argparse
import re
import shlex

import pytest
from documented import DOCUMENTS, ROOT, commands

from openevolve_unified.cli import app, evolve
from openevolve_unified.config.experiment import load_experiment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openevolve-unified")
    parser.add_argument("--version", action="store_true")
    added = parser.add_subparsers()
    for command in app.COMMANDS:
        command.add(added)
    return parser


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
