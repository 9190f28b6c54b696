"""The main job with the embedded proposer: what a run leaves, resuming, and being interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import time

import pytest

LONG = {
    "scaling_law.training.training_steps": 400,
    "scaling_law.training.eval_frequency": 200,
    "max_iterations": 1,
}


def history(folder):
    return json.loads((folder / "fitness_history.json").read_text())


def living():
    """Parent ids of all processes that are not zombies, by process id."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{name}/stat") as stat:
                    state, parent = stat.read().rpartition(") ")[2].split()[:2]
                if state != "Z":
                    parents[int(name)] = int(parent)
    return parents


def descendants(pid):
    """The process and everything below it."""
    parents, family = living(), {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def are_gone(pids, seconds=15.0):
    deadline = time.monotonic() + seconds
    while pids & living().keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not pids & living().keys()


def wait_for(condition, process, seconds=200.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the run did not get that far")


def test_a_run_holds_everything_and_a_rerun_moves_it_aside_and_trains_nothing(tiny, run, tmp_path):
    path, folder = tiny(), tmp_path / "run"
    status, output, errors = run("openevolve", path)
    assert status == 0, errors
    assert errors == ""
    entries = history(folder)["programs"]
    assert history(folder)["is_pilot"] is True
    assert all("pilot, 20 of 100,000 steps" in entry["horizon"] for entry in entries)
    for entry in entries:
        assert (folder / "programs" / entry["file"]).exists()
    assert (folder / "checkpoints" / "checkpoint_2").is_dir()
    assert "EVOLVE-BLOCK-START" in (folder / "best_code.py").read_text()
    settings = json.loads((folder / "settings.json").read_text())
    assert {"openevolve", "torch"} <= set(settings["versions"])
    assert settings["proposer"] == "grammar, not a language model"
    assert "a non-LLM control arm" in output
    assert "candidate 2/2: fitness" in output
    assert list((folder / "logs").glob("openevolve_2*.log"))

    first = {p.name: p.stat().st_mtime for p in (tmp_path / "store" / "runs").rglob("*.json")}
    status, output, _ = run("openevolve", path)
    assert status == 0
    assert "an earlier run was moved to" in output
    assert (tmp_path / "run.1" / "fitness_history.json").exists()
    assert output.index("plan for") < output.index("an earlier run was moved to")
    assert history(folder)["programs"][0]["cached"] is True
    second = {p.name: p.stat().st_mtime for p in (tmp_path / "store" / "runs").rglob("*.json")}
    assert second == first, "the proposer is seeded and finished work is kept"


@pytest.mark.slow
def test_the_workers_of_a_new_run_do_not_write_into_the_one_that_was_moved(tiny, run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "fitness_history.json").write_text('{"programs": []}')
    status, _, errors = run("openevolve", tiny(), "--iterations", 1)
    assert status == 0, errors
    assert (tmp_path / "run.1" / "fitness_history.json").exists()
    assert (tmp_path / "run" / "logs" / "workers.log").exists()


def test_resume_continues_and_refuses_another_configuration(tiny, run, tmp_path):
    path = tiny()
    run("openevolve", path, "--iterations", 1)
    num_before = len(history(tmp_path / "run")["programs"])
    status, output, errors = run("openevolve", path, "--resume", "--iterations", 2)
    assert status == 0, errors
    assert "resuming after 1 of 2 candidates" in output
    assert "candidate 2/2" in output
    assert len(history(tmp_path / "run")["programs"]) > num_before
    changed = "scaling_law.training.training_steps=21"
    status, _, errors = run("openevolve", path, "--resume", "--set", changed)
    assert status == 2
    assert "another configuration" in errors


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_keeps_finished_sizes_and_ends_every_child(
    number, tiny, command, run, tmp_path
):
    path = tiny(LONG, name="with space.yaml")
    process = command("openevolve", path, "--set", "scaling_law.training.weight_decay=0.01")
    runs = tmp_path / "store" / "runs"
    # Three models belong to the baseline; a fourth means that OpenEvolve's worker is training.
    wait_for(lambda: len(list(runs.rglob("*.json"))) >= 4, process)
    family = descendants(process.pid)
    assert len(family) >= 4, "command, OpenEvolve's worker, our workers"
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in output + errors
    assert are_gone(family)
    kept = {p.name: p.stat().st_mtime for p in runs.rglob("*.json")}
    _, found, what_to_type = output.partition("continue with: ")
    assert found, output
    status, _, errors = run(*shlex.split(what_to_type))
    assert status == 0, errors
    after = {p.name: p.stat().st_mtime for p in runs.rglob("*.json")}
    assert kept.items() <= after.items(), "nothing that was finished is trained again"


def test_an_interrupt_of_the_baseline_is_one_line(tiny, command, tmp_path):
    process = command("openevolve", tiny(LONG))
    wait_for(lambda: list((tmp_path / "store").rglob("*.lock")), process)
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "finished sizes are kept" in errors
    assert are_gone(family)


def test_a_reader_that_leaves_is_an_interruption(tiny, command, tmp_path):
    process = command("openevolve", tiny(LONG))
    assert "plan" in process.stdout.readline()
    family = descendants(process.pid)
    process.stdout.close()  # openevolve CONFIG | head -1
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert "finished sizes are kept" in errors
    assert are_gone(family)


def test_a_second_run_in_the_same_folder_is_refused(tiny, command, run, tmp_path):
    path = tiny(LONG)
    process = command("openevolve", path)
    history = tmp_path / "run" / "fitness_history.json"
    wait_for(history.exists, process)
    for arguments in ((), ("--resume",)):
        status, output, errors = run("openevolve", path, *arguments)
        assert status == 2, output
        assert "another run is at work" in errors
    assert history.exists(), "it was not moved aside"
    process.kill()
    process.communicate(timeout=60)
    status, _, errors = run("openevolve", path, "--resume", "--iterations", "1")
    assert status == 0, errors


def test_kill_9_leaves_no_process_and_loses_nothing(tiny, command, run, tmp_path):
    path = tiny(LONG)
    process = command("openevolve", path)
    runs = tmp_path / "store" / "runs"
    wait_for(lambda: len(list(runs.rglob("*.json"))) >= 4, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert are_gone(family)
    kept = {p.name: p.stat().st_mtime for p in runs.rglob("*.json")}
    status, _, errors = run("openevolve", path, "--resume")
    assert status == 0, errors
    after = {p.name: p.stat().st_mtime for p in runs.rglob("*.json")}
    assert kept.items() <= after.items()
