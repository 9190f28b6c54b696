"""``rank`` and ``control`` from the command line: killed, continued, and given wrong input."""

from __future__ import annotations

import json
import os
import signal

import pytest
from json_keys import undocumented
from processes import are_gone, descendants, wait_for

from openevolve_unified.cli import app


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("rank", "--only", "softmax,delta_ned"), "did you mean 'delta_net'"),
        (("rank", "--only", "mesa"), "is not written for 'coefficient_dynamics'"),
        (("rank", "--framework", "matrix_mixing"), "did you mean 'matrix_mixer'"),
        (("rank", "--seeds", "0"), "--seeds: got 0, wanted 1 or more"),
        (("control", "--runs", "2"), "--runs: got 2, wanted 3 or more"),
        (("control", "--arms", "luck,tunning"), "did you mean 'tuning'"),
        (("control", "--arms", "llm"), "configures no language model"),
        (("control", "--evaluations", "0"), "--evaluations: got 0"),
        (("control", "--confirm", "0"), "--confirm: got 0"),
        (("control", "--set", "scaling_law.trainng.seeds=[1]"), "did you mean 'training'"),
    ],
)
def test_wrong_input_is_one_line(arguments, wanted, tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *handler: None)  # pytest keeps its own
    command, *rest = arguments
    status = app.main([command, str(tiny()), *rest])
    assert status == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert wanted in errors[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_ranking_in_another_framework_is_written_and_told(tiny, run, tmp_path):
    arguments = ("rank", tiny(), "--framework", "matrix_mixer", "--only", "causal_mean,softmax")
    status, output, errors = run("openevolve-unified", *arguments, "--seeds", 2, "--json")
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert found == json.loads((tmp_path / "run" / "ranking.json").read_text())
    assert undocumented("rank", found) == []
    assert found["framework"] == "matrix_mixer"
    assert found["seeds"] == [42, 43], "the configured one, continued"
    assert {row["name"] for row in found["by_loss"]["rows"]} == {"softmax", "causal_mean"}
    assert "# Mechanisms of matrix_mixer" in (tmp_path / "run" / "ranking.md").read_text()
    assert "mechanism 2/2 causal_mean" in errors, "progress goes to standard error"
    assert "ranking of matrix_mixer" in output
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == {"ranking.json", "ranking.md"}, "a ranking is no run"


@pytest.mark.slow
def test_a_noise_floor_that_was_measured_gives_one_seed_its_error(tiny, run):
    config = tiny()
    status, _, errors = run("openevolve-unified", "noise", config, "--seeds", 2, "--no-twin")
    assert status == 0, errors
    arguments = ("rank", config, "--only", "softmax,causal_mean", "--json")
    status, output, errors = run("openevolve-unified", *arguments)
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert found["error_from"] == "the measured noise (degrees of freedom: 1)"
    assert found["by_loss"]["hsd"] > 0


@pytest.mark.slow
def test_a_control_that_is_killed_continues_with_the_next_run(tiny, command, run, tmp_path):
    config = tiny({"scaling_law.execution.report": True})
    arguments = ("control", config, "--arms", "luck,grammar", "--evaluations", 1, "--confirm", 1)
    folder = tmp_path / "run" / "control"
    first = folder / "grammar" / "run_1" / "result.json"
    process = command("openevolve-unified", *arguments)
    wait_for(first.exists, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert are_gone(family)
    written = first.stat().st_mtime_ns
    status, output, errors = run("openevolve-unified", *arguments, "--json")
    assert status == 0, errors
    assert first.stat().st_mtime_ns == written
    found = json.loads(output.splitlines()[-1])
    assert undocumented("control", found) == []
    runs = [(one["arm"], one["number"]) for one in found["runs"]]
    assert runs == [(arm, number) for number in (1, 2, 3) for arm in ("luck", "grammar")]
    assert {one["num_evaluations"] for one in found["runs"]} == {1}
    assert [pair["against"] for pair in found["comparisons"]] == ["luck"]
    assert "3 runs per arm are few" in output
    assert (folder / "control.md").exists()
    assert f"  report   {folder / 'report.html'}" in output.splitlines()
    for number in (1, 2, 3):
        assert (folder / "grammar" / f"run_{number}" / "fitness_history.json").exists()
    status, _, errors = run("openevolve-unified", *arguments, "--set", "random_seed=7")
    assert status == 2
    assert "holds a run with another configuration" in errors


@pytest.mark.slow
def test_the_language_model_is_an_arm_against_luck(tiny, run, scripted_model, answers, monkeypatch):
    monkeypatch.setenv("SCRIPTED_KEY", "none")
    model = scripted_model(answers["steeper"])
    config = tiny({"llm": model.settings()})
    arguments = ("control", config, "--arms", "luck,llm", "--evaluations", 1, "--confirm", 1)
    status, output, errors = run("openevolve-unified", *arguments, "--json")
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    runs = [(one["arm"], one["num_trained"]) for one in found["runs"]]
    assert runs == [("luck", 1), ("llm", 1)] * 3
    assert [(pair["arm"], pair["against"]) for pair in found["comparisons"]] == [("llm", "luck")]
    assert len(model.requests) == 3, "one proposal for each run"
