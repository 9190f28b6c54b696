"""``finding`` and ``replay`` as commands: statuses, tables, one line for each wrong question."""

from __future__ import annotations

import dataclasses
import json

import pytest
from json_keys import undocumented
from made_finding import HERE, copy_of, forge

from openevolve_unified.cli.app import main
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.replay_table import print_finding

SET = [word for setting in HERE for word in ("--set", setting)]


@pytest.fixture
def folder(finding, tmp_path):
    return copy_of(finding.folder, tmp_path / "copy")


def test_an_honest_finding_exits_with_0_and_says_what_agrees(folder, capsys):
    arguments = ["replay", str(folder), *SET, "--json"]
    assert main([*arguments, "--predict-size", "48x1x6", "--seeds", "1042"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert "  bytes               agrees       every file has the hash of the manifest" in lines
    assert any("2 of 18 models scored again, independently" in line for line in lines)
    assert sum(line.endswith("agrees") and "evolved" in line for line in lines) == 2
    assert "  all that was checked agrees" in lines
    assert any(line.startswith("prediction of 48x1, written 20") for line in lines)
    assert sum("(line)" in line for line in lines) == 3
    assert any(line.startswith("replay of copy [pilot, ") for line in lines)
    report = json.loads(lines[-1])
    assert undocumented("replay", report) == []
    assert report["agrees"] is True
    assert report["predictions"][0]["measured"]["losses"].keys() == {"standard", "evolved"}
    assert json.loads((folder.parent / "copy-replay" / "replay.json").read_text()) == report


def test_the_command_that_judges_a_finding_again_can_be_pasted(finding, capsys):
    spaced = dataclasses.replace(finding, folder=finding.folder.parent / "my finding")
    print_finding(spaced, Reporter())
    assert "openevolve-unified replay 'my finding'\n" in capsys.readouterr().out


@pytest.mark.slow
def test_a_forged_finding_exits_with_1_and_nothing_is_predicted_from_it(folder, capsys):
    name = "records/evolved/32x1_seed_1042.json"
    forge(folder, name, lambda record: record["run"].update(test_loss_nats=1.0))
    assert main(["replay", str(folder), *SET, "--predict-size", "48x1x6"]) == 1
    output = capsys.readouterr().out
    assert "DIFFERS" in output
    assert "this finding does not agree with itself: do not believe its claim" in output
    assert "nothing is predicted from a finding that does not agree" in output
    assert not (folder / "prediction.json").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--retrain", "32x2"], "--retrain: got '32x2', wanted a size of the finding: 16x1, 24x1"),
        (["--seeds", "1"], "--seeds: got seeds without --predict-size, which they are for"),
        (["--predict-size", "48x1x6", "--seeds", "1,1"], "got '1,1', wanted distinct numbers"),
        (["--predict-size", "48"], "wanted HIDDEN_DIMxLAYERSxHEADS"),
        (["--set", "scaling_law.training.seeds=[1]"], "which a finding settles"),
        (["--output", "{finding}/replay"], "wanted a folder outside the finding"),
    ],
)
def test_a_wrong_question_is_one_line(finding, arguments, reason, capsys):
    place = str(finding.folder)
    words = [argument.replace("{finding}", place) for argument in arguments]
    assert main(["replay", place, *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line


def test_what_is_no_finding_and_no_run_is_one_line(tmp_path, capsys):
    assert main(["replay", str(tmp_path)]) == 2
    assert "no manifest.json there; wanted a finding" in capsys.readouterr().err
    assert main(["finding", str(tmp_path), "--output", str(tmp_path / "new")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no folder of a run" in line
    assert main(["finding", str(tmp_path), "--output", "x", "--weight-seeds", "0"]) == 2
    assert "--weight-seeds: got 0, wanted 1 or more" in capsys.readouterr().err


def test_a_validation_needs_its_config_and_a_run_has_its_own(tmp_path, capsys):
    output = ["--output", str(tmp_path / "new")]
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "registration.json").write_text("{}")
    assert main(["finding", str(tmp_path / "validation"), *output]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--config: got none, wanted the config file that was validated" in line
    (tmp_path / "run").mkdir()
    setting = "scaling_law.training.training_steps=1"
    assert main(["finding", str(tmp_path / "run"), *output, "--set", setting]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "a run's folder has its resolved configuration; leave it out" in line
