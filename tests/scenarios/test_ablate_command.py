"""``ablate`` from the command line: killed, continued, listed, and given wrong input."""

from __future__ import annotations

import json
import os
import signal

import pytest
from json_keys import undocumented
from processes import are_gone, descendants, wait_for
from tiny_ladder import INITIAL

from openevolve_unified.cli import app

SCALE = "return k / math.sqrt(self.head_dim)"
READOUT = "        return z\n"
EVOLVED = INITIAL.replace(SCALE, f"{SCALE} * 2.5").replace(
    READOUT, "        return z - 0.5 * z.tanh()\n"
)
TUNED = INITIAL.replace(SCALE, SCALE.replace("k", "1.0 * k"))
SHORT = {"scaling_law.training.training_steps": 40}


def write(folder, name, source):
    path = folder / name
    path.write_text(source)
    return path


def runs_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("runs/*/*.json")}


@pytest.fixture
def evolved(tmp_path):
    return write(tmp_path, "evolved.py", EVOLVED)


@pytest.fixture
def main(monkeypatch, capsys):
    """The command in this process: (status, standard output, standard error)."""
    monkeypatch.setattr(signal, "signal", lambda *handler: None)  # pytest keeps its own

    def call(*arguments):
        status = app.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("source", "arguments", "wanted"),
    [
        (INITIAL, (), "there is nothing to ablate"),
        (INITIAL.replace("import math\n", "import os\n"), (), "give the standard program that"),
        (EVOLVED, ("--seeds", "0"), "--seeds: got 0, wanted 1 or more"),
        (EVOLVED, ("--group", "1,x"), "--group: got '1,x', wanted numbers of hunks"),
        (EVOLVED, ("--group", "1,3"), "--group: got hunk 3, wanted numbers of 1 to 2"),
        (EVOLVED, ("--standard", "nowhere.py"), "nowhere.py: no such program file"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    source, arguments, wanted, tiny, main, tmp_path
):
    program = write(tmp_path, "evolved.py", source)
    status, _, errors = main("ablate", tiny(), "--evolved", program, *arguments)
    assert status == 2
    (line,) = errors.strip().splitlines()
    assert line.startswith("error: ")
    assert wanted in line
    assert not (tmp_path / "run" / "ablation.json").exists()


def test_the_hunks_are_listed_without_training(tiny, main, evolved, tmp_path):
    status, output, _ = main("ablate", tiny(), "--evolved", evolved, "--list", "--json")
    assert status == 0
    assert "hunk 1: constants\n  @@ line" in output, "a factor is tuning"
    assert f"+        {SCALE} * 2.5" in output
    found = json.loads(output.splitlines()[-1])
    assert undocumented("ablate", found) == []
    found = found["hunks"]
    assert [hunk["numbers"] for hunk in found] == [[1], [2]]
    together = main("ablate", tiny(), "--evolved", evolved, "--list", "--group", "2,1")[1]
    assert together.startswith("hunks 1+2: code")
    tuned = write(tmp_path, "tuned.py", TUNED)
    other = write(tmp_path, "other.py", TUNED.replace("1.0 * k", "3.0 * k"))
    status, output, _ = main(*("ablate", tiny(), "--evolved", other, "--standard", tuned, "--list"))
    assert output.startswith("hunk 1: constants")


@pytest.mark.slow
def test_a_killed_ablation_continues_and_trains_nothing_twice(
    tiny, command, run, evolved, tmp_path
):
    arguments = ("ablate", tiny(SHORT), "--evolved", evolved, "--seeds", "2", "--json")
    process = command("openevolve-unified", *arguments)
    wait_for(lambda: len(runs_of(tmp_path)) >= 5, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert are_gone(family)
    kept = runs_of(tmp_path)
    assert 5 <= len(kept) < 24, "it was killed on the way"
    folder = tmp_path / "run"
    assert not (folder / "ablation.json").exists()

    status, output, errors = run("openevolve-unified", *arguments)
    assert status == 0, errors
    found = runs_of(tmp_path)
    assert len(found) == 4 * 3 * 2, "two hunks: each one reverted is the other one kept"
    assert kept.items() <= found.items()
    assert "seed 2/2, evolved: training" in errors, "progress goes to standard error"
    assert "2 seeds are few" in output
    report = json.loads(output.splitlines()[-1])
    assert undocumented("ablate", report) == []
    written = (folder / "ablation.json").read_bytes()
    assert json.loads(written) == report
    assert report["seeds"] == [6042, 6043]
    assert "## Hunk 2: code" in (folder / "ablation.md").read_text()
    assert (folder / "ablation.svg").exists()
    assert {path.name for path in folder.iterdir()} == {
        *("ablation.json", "ablation.md", "ablation.svg")
    }, "an ablation is no run"

    status, _, errors = run("openevolve-unified", *arguments)
    assert status == 0, errors
    assert (folder / "ablation.json").read_bytes() == written
    assert runs_of(tmp_path) == found
