"""The main job with a language model: every kind of answer, through both commands."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

ORDER = ("good", "broken", "outside", "leak", "malformed", "failure")


def history(folder):
    return json.loads((folder / "fitness_history.json").read_text())["programs"]


def verdicts(entries):
    return [entry.get("stage", "trained") for entry in entries]


@pytest.fixture
def experiment(tiny, scripted_model, answers):
    model = scripted_model(*(answers[name] for name in ORDER))
    path = tiny(
        {
            "llm": model.settings(),
            "max_iterations": len(ORDER),
            "scaling_law.stopping": {"max_invalid_in_a_row": 0},
            # Every answer fits the initial program only, so it must stay the parent.
            "database.exploration_ratio": 0.0,
            "database.exploitation_ratio": 1.0,
            "database.archive_size": 1,
        }
    )
    return path, model


def test_our_command_scores_the_good_answer_and_says_why_not_for_the_others(
    experiment, run, tmp_path
):
    path, model = experiment
    status, output, errors = run("openevolve", path, environment={"SCRIPTED_KEY": "sk-secret"})
    assert status == 0, errors
    entries = history(tmp_path / "run")
    assert set(verdicts(entries)) == {"trained", "policy", "block", "causality"}
    assert "no usable program in the answer" in output
    assert "the call of the language model failed" in output
    failed = [entry for entry in entries if entry["verdict"] == "rejected"]
    assert all(entry["combined_score"] == -1000 for entry in failed)
    assert "summary [pilot, 20 of 100,000 steps]" in output
    prompts = [request["messages"][-1]["content"] for request in model.requests]
    assert "recently_rejected" in prompts[-1].lower().replace(" ", "_")
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"sk-secret" not in everything + output.encode() + errors.encode()


def test_the_native_command_runs_the_same_config(experiment, run, tmp_path):
    path, _ = experiment
    _, evaluator, _ = run("openevolve-unified", "evaluator-path")
    program = path.parent / "program.py"
    source = path.read_text()
    initial = next(line for line in source.splitlines() if "initial_program" in line)
    initial_path = initial.split(": ")[1].strip()
    (path.parent / "program.py").write_text(Path(initial_path).read_text())
    status, _, errors = run(
        "openevolve-run",
        program,
        evaluator.strip(),
        "--config",
        path,
        "--output",
        tmp_path / "native",
        environment={"SCRIPTED_KEY": "sk-secret"},
    )
    assert status == 0, errors
    entries = history(tmp_path / "native")
    assert verdicts(entries)[0] == "trained"
    assert {"trained", "policy", "block", "causality"} <= set(verdicts(entries))
    best = json.loads((tmp_path / "native" / "best" / "best_program_info.json").read_text())
    assert best["metrics"]["combined_score"] > -100


def test_a_dead_backend_stops_the_run(tiny, scripted_model, run, tmp_path):
    model = scripted_model(500)
    path = tiny({"llm": model.settings(), "max_iterations": 30})
    status, output, _ = run("openevolve", path, environment={"SCRIPTED_KEY": "k"})
    assert status == 2
    assert "stopped early: the language model failed 3 times in a row" in output
    assert len(model.requests) < 12, "it does not burn the iterations"


def test_a_missing_key_is_one_line(tiny, scripted_model, run):
    path = tiny({"llm": scripted_model("x").settings()})
    status, _, errors = run("openevolve", path)
    assert status == 2
    assert errors.strip().count("\n") == 0
    assert "SCRIPTED_KEY" in errors
    assert "quickstart" in errors


@pytest.mark.slow
def test_manual_mode_waits_for_a_person(tiny, command, answers, tmp_path):
    changes = {"llm": {"manual_mode": True, "models": [{"name": "person"}]}, "max_iterations": 1}
    process = command("openevolve", tiny(changes))
    queue = tmp_path / "run" / "manual_tasks_queue"
    try:
        deadline = time.monotonic() + 200
        tasks = []
        while not tasks and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            tasks = [p for p in queue.glob("*.json") if ".answer" not in p.name]
            time.sleep(0.2)
        answer = tasks[0].with_name(tasks[0].stem + ".answer.json")
        answer.write_text(json.dumps({"id": tasks[0].stem, "answer": answers["good"]}))
        output, errors = process.communicate(timeout=200)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert verdicts(history(tmp_path / "run")) == ["trained", "trained"]
    assert "candidate 1/1: fitness" in output
