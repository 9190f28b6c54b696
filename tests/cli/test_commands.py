"""What all commands share: help that suffices, JSON, quiet and verbose, statuses, completion."""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
from pathlib import Path

import pytest
from json_keys import documented_commands, undocumented
from rich.console import Console

from openevolve_unified import exits
from openevolve_unified.cli import app, evolve
from openevolve_unified.cli.parsing import SHELLS
from openevolve_unified.report.console import Reporter, Terminal
from openevolve_unified.runs.events import Notice, StageStarted, Training


def parsers():
    """The parser of every command by its name, and ``openevolve`` itself."""
    unified = app.parser()
    (commands,) = [a for a in unified._actions if isinstance(a, argparse._SubParsersAction)]
    return {"openevolve": evolve.parser(), **commands.choices}


ROOT = Path(__file__).parents[2]
PARSERS = parsers()
MOMENTARY = {"compare", "record", "horizon", "doctor", "init", "evaluator-path", "report", "watch"}
"""Commands that only read, look or copy."""
every_command = pytest.mark.parametrize("name", PARSERS)


def options_of(name):
    return {option for action in PARSERS[name]._actions for option in action.option_strings}


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_every_module_of_a_command_is_one():
    assert len(PARSERS) == len(app.COMMANDS) + 1


@every_command
def test_its_help_says_what_it_does_with_an_example_the_defaults_and_the_statuses(name, narrow):
    text = PARSERS[name].format_help()
    assert max(map(len, text.splitlines())) <= 80
    description = PARSERS[name].description
    assert description, f"{name} has no description"
    assert description.endswith(".")
    example = "openevolve-run " if name == "evaluator-path" else f"{PARSERS[name].prog} "
    assert f"\n  {example}" in text, "an example, indented"
    assert " ".join(f"exit status: {exits.TEXT}".split()) in " ".join(text.split())
    for action in PARSERS[name]._actions:
        assert action.help, f"{name} {action.dest}"
        if action.option_strings and action.default not in (None, False, [], argparse.SUPPRESS):
            told = " ".join(text.split())
            assert f"default: {action.default}" in told, f"{name} {action.option_strings[0]}"


@every_command
def test_it_has_json_whose_keys_are_documented(name):
    assert "--json" in options_of(name)
    assert name in documented_commands()


@every_command
def test_it_can_be_quiet_or_verbose_where_it_takes_longer_than_a_moment(name, capsys):
    options = {"--quiet", "--verbose"}
    assert options_of(name) & options == (set() if name in MOMENTARY else options)
    if name not in MOMENTARY:
        with pytest.raises(SystemExit):
            PARSERS[name].parse_args(["--quiet", "--verbose"])
        assert "not allowed with argument" in capsys.readouterr().err


@every_command
def test_the_readme_has_its_line(name):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{PARSERS[name].prog}[ `]", readme, re.MULTILINE)


def test_statuses_are_those_of_one_place():
    statuses = {value for name, value in vars(exits).items() if isinstance(value, int)}
    assert statuses == set(map(int, re.findall(r"\b\d+\b", exits.TEXT)))


def test_wrong_words_have_the_status_of_a_wrong_command(capsys):
    with pytest.raises(SystemExit) as wrong:
        app.main(["bnch"])
    assert wrong.value.code == exits.WRONG
    assert "invalid choice: 'bnch'" in capsys.readouterr().err


@every_command
def test_every_path_is_of_the_type_that_refuses_an_empty_one(name):
    assert all(action.type is not Path for action in PARSERS[name]._actions)


@pytest.mark.parametrize("words", [["", "--output", "run"], ["a.yaml", "--output", ""]])
def test_an_empty_path_is_refused_and_a_dot_is_the_working_folder(words, capsys):
    """An empty variable of a script would be the working folder, too."""
    with pytest.raises(SystemExit):
        app.main(["rank", *words])
    assert "got '', wanted a path (. is the working folder)" in capsys.readouterr().err
    options = app.parser().parse_args(["rank", *(word or "." for word in words)])
    assert Path() in (options.config, options.output)


@pytest.mark.parametrize("name", ["rank", "noise", "ablate"])
def test_an_output_that_is_a_file_is_one_line_before_anything_is_spent(
    name, monkeypatch, capsys, tmp_path
):
    class Begun(Exception):
        pass

    def begin(*args, **kwargs):
        raise Begun

    monkeypatch.setattr("openevolve_unified.evaluation.machine.Machine", begin)
    file = tmp_path / "file"
    file.touch()
    words = [name, str(ROOT / "configs/quickstart.yaml"), "--output"]
    if name == "ablate":
        evolved = tmp_path / "evolved.py"
        initial = (ROOT / "initial_programs/coefficient_dynamics.py").read_text()
        evolved.write_text(initial.replace("softmax(dim=-1)", "softmax(dim=-1) * 1.01"))
        assert evolved.read_text() != initial
        words[1:1] = ["--evolved", str(evolved)]
    assert app.main([*words, str(file)]) == 2
    assert f"cannot write {file}" in capsys.readouterr().err
    with pytest.raises(Begun):
        app.main([*words, str(tmp_path / "folder")])


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_every_command_and_its_options(shell, capsys):
    with pytest.raises(SystemExit) as end:
        app.main(["--print-completion", shell])
    assert end.value.code == exits.DONE
    script = capsys.readouterr().out
    for name in PARSERS.keys() - {"openevolve"}:
        assert name in script
    assert "--despite-power" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


TRAINING = Training(
    size="16x1",
    seed=1,
    step=10,
    total_steps=20,
    train_loss_nats=2.0,
    validation_loss_nats=None,
    tokens_per_step=128,
    tokens_per_s=1000.0,
)


def shown(console, **how):
    reporter = Reporter(console, **how)
    reporter.start_candidate("candidate 1/2")
    for event in (StageStarted(stage="trace"), TRAINING, Notice(message="rebuilt")):
        reporter(event)
    reporter.show_verdict({"verdict": "rejected", "stage": "causality", "reason": "it leaks"})
    reporter.close()
    return console.file.getvalue()


def test_quiet_keeps_notes_and_verbose_tells_every_stage(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def on_terminal():
        return Console(file=io.StringIO(), force_terminal=True, width=100)

    assert shown(on_terminal(), is_quiet=True) == "note: rebuilt\n"
    plain = shown(on_terminal())
    assert "rejected at 'causality'" in plain
    assert "candidate 1/2: trace" not in plain
    assert "candidate 1/2: trace" in shown(on_terminal(), is_verbose=True)


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|9[0-7])[0-9;]*m")


@pytest.mark.parametrize("no_color", [None, "1"])
def test_no_color_takes_the_colours_away(no_color, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    console = Terminal(file=io.StringIO(), force_terminal=True, width=100)
    assert bool(COLOUR.search(shown(console))) is (no_color is None)


@pytest.mark.parametrize("command", ["init", "evaluator-path"])
def test_a_command_that_copies_or_points_prints_the_documented_keys(command, tmp_path, capsys):
    words = [command, *([str(tmp_path)] if command == "init" else []), "--json"]
    assert app.main(words) == exits.DONE
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert undocumented(command, report) == []


def test_a_key_that_only_one_side_has_would_be_noticed():
    assert undocumented("evaluator-path", {"paht"}) == [
        "paht is not in docs/json.md",
        "path is only in docs/json.md",
    ]
    assert undocumented("ablate", {"hunks"}) == []
