"""A run and what happens to it: a killed worker, two interrupts, damaged files, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from processes import are_gone, descendants, openevolve_worker, outcome, wait_for
from replayed_runs import replayed

from openevolve_unified.runs.event_log import read_events
from openevolve_unified.runs.replay import replay

SETTINGS = {
    "max_iterations": 3,
    "random_seed": 42,
    "scaling_law.training.training_steps": 100,
    "scaling_law.training.eval_frequency": 50,
}
PROGRAM = Path(__file__).parents[2] / "initial_programs" / "coefficient_dynamics.py"


def sequence(folder):
    """The programs of a run, by the iteration that proposed them first."""
    entries = json.loads((folder / "fitness_history.json").read_text())["programs"]
    return [(min(e["iterations"], default=0), e["program"], e["verdict"]) for e in entries]


def is_training(folder, iteration):
    """Whether the models of a candidate are being trained."""

    def look():
        path = folder / "events.jsonl"
        text = path.read_text() if path.exists() else ""
        return any(
            event.get("iteration") == iteration and event.get("stage") == "training"
            for event in map(json.loads, text.splitlines())
        )

    return look


@pytest.fixture(scope="module")
def troubled(new_place):
    """A run whose worker is killed, which is interrupted twice when it goes on, and then ends;
    and the same run undisturbed, from the same store. Nothing is judged here."""
    place = new_place()
    folder, path = place.folder / "run", place.tiny(SETTINGS)
    seen = SimpleNamespace(place=place, folder=folder, path=path)

    process = place.start("openevolve", path)
    wait_for(is_training(folder, 2), process)
    family = descendants(process.pid)
    os.kill(openevolve_worker(process.pid), signal.SIGKILL)
    seen.killed = outcome(process)
    seen.killed_left_nothing = are_gone(family)

    process = place.start("openevolve", path, "--resume")
    wait_for(is_training(folder, 3), process)
    family = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    seen.interrupted = outcome(process)
    seen.interrupted_left_nothing = are_gone(family)

    checkpoints = folder / "checkpoints"
    seen.newest = max(checkpoints.glob("checkpoint_*"), key=lambda path: int(path.name[11:]))
    for damaged in (seen.newest / "metadata.json", folder / "settings.json"):
        damaged.write_text(damaged.read_text()[:50])
    history = folder / "fitness_history.json"
    history.write_text(history.read_text()[:200])
    seen.resumed = place.run("openevolve", path, "--resume")
    seen.undisturbed = place.run("openevolve", path, "--output", "undisturbed")
    return seen


def test_a_killed_worker_ends_the_run_with_the_reason_and_how_to_go_on(troubled):
    status, output, errors = troubled.killed
    assert status == 2, errors
    assert "stopped early: candidate 2/3: OpenEvolve's worker process was ended" in output
    assert output.splitlines()[-1].startswith("continue with: openevolve ")
    assert "Traceback" not in output + errors
    assert troubled.killed_left_nothing


def test_two_interrupts_end_the_run_at_once_with_the_hint(troubled):
    status, output, errors = troubled.interrupted
    assert status == 130, errors
    assert "interrupted; continue with: openevolve " in output + errors
    assert "Traceback" not in output + errors
    assert troubled.interrupted_left_nothing


def test_the_events_of_a_run_with_all_this_trouble_tell_it_whole(troubled):
    run = replayed(troubled.folder)
    assert [session.started.is_resumed for session in run.sessions] == [False, True, True]
    killed, _, resumed = (session.ended for session in run.sessions)
    assert killed.cause == "stopped"
    assert "OpenEvolve's worker process was ended" in killed.reason
    assert resumed.cause == "done"
    assert any("fitness_history.json is damaged" in notice.message for notice in run.notices)


def test_damaged_files_are_said_and_what_is_whole_is_used(troubled):
    status, output, errors = troubled.resumed
    assert status == 0, errors
    assert "note: settings.json is damaged and is written anew" in output
    assert "note: fitness_history.json is damaged: " in output
    number = int(troubled.newest.name.removeprefix("checkpoint_"))
    assert f"note: {troubled.newest.name} is damaged (metadata.json cannot be read" in output
    assert f"resuming after {number - 1} of 3 candidates" in output
    assert "  candidates   3 asked for: 3 trained\n" in output
    json.loads((troubled.folder / "settings.json").read_text())


def test_the_same_seed_gives_the_same_candidates_resumed_or_not(troubled):
    status, _, errors = troubled.undisturbed
    assert status == 0, errors
    programs = sequence(troubled.place.folder / "undisturbed")
    assert [iteration for iteration, _, _ in programs] == [0, 1, 2, 3]
    assert len({program for _, program, _ in programs}) == 4
    assert sequence(troubled.folder) == programs


def test_a_run_whose_settings_and_config_are_both_damaged_is_one_line(troubled, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(troubled.folder, damaged)
    (damaged / "settings.json").write_text("{")
    (damaged / "config.yaml").write_text("max_iterations: [")
    status, _, errors = troubled.place.run(
        "openevolve", troubled.path, "--resume", "--output", damaged
    )
    assert status == 2
    assert errors.count("\n") == 1
    assert "another configuration" in errors


@pytest.mark.parametrize("command", [pytest.param("check", marks=pytest.mark.slow), "evaluate"])
def test_what_the_machine_cannot_finish_is_no_verdict(command, place):
    # A check takes less than a second, an evaluation more; both more than their deadline.
    deadline_s = 0.1 if command == "check" else 1
    path = place.tiny({"scaling_law.execution.deadline_s": deadline_s, "evaluator.timeout": 700})
    status, output, errors = place.run(
        "openevolve-unified", command, PROGRAM, "--config", path, "--json"
    )
    assert status == 2, output
    assert errors.splitlines()[-1].startswith("error: not judged: not finished within ")
    report = json.loads(output.splitlines()[-1])
    assert report["machine_trouble"] is True
    assert "rejected" not in output.lower()
    assert not list((place.folder / "store").rglob("evaluations/*/*.json"))
    told = replay(read_events(place.folder / "run" / "events.jsonl").events)
    troubles = [(trouble.stage, trouble.message) for trouble in told.troubles]
    assert troubles == (
        [("deadline", report["artifacts"]["not_judged_because"])] if command == "evaluate" else []
    )


@pytest.mark.parametrize("command", ["openevolve", "evaluate"])
def test_too_few_open_files_are_one_line(command, place):
    path = place.tiny()
    words = [path] if command == "openevolve" else ["evaluate", PROGRAM, "--config", path]
    script = Path(sys.executable).with_name(
        "openevolve" if command == "openevolve" else "openevolve-unified"
    )
    text = 'ulimit -n 32; exec "$@"'
    process = subprocess.run(
        ["bash", "-c", text, "bash", script, *words],
        cwd=place.folder,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert "may open only 32 files (ulimit -n)" in process.stderr


FULL = """
set -e
mount -t tmpfs -o size={size}k tmpfs {disk}
cd {folder}
status=0; {command} {config} --output {disk}/run >first.out 2>first.err || status=$?; echo $status
ls {disk}/run/programs/*.py 2>/dev/null | wc -l
mount -o remount,size=64m {disk}
status=0; {command} {config} --output {disk}/run {again} >second.out 2>second.err || status=$?
echo $status
cp -r {disk}/run {folder}/kept
"""


def may_mount():
    command = ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "x", "/mnt"]
    return shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs to mount a small disk in a namespace of its own")
@pytest.mark.parametrize(
    ("size", "again"),
    [
        pytest.param(12, "--resume", marks=pytest.mark.slow),
        pytest.param(4, "", marks=pytest.mark.slow),
        pytest.param(40, "--resume", marks=pytest.mark.slow),
        (120, "--resume"),
        pytest.param(200, "--resume", marks=pytest.mark.slow),
        pytest.param(280, "--resume", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    size, again, troubled, tmp_path
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mapping = yaml.safe_load(troubled.path.read_text())
    mapping["scaling_law"]["execution"]["store_dir"] = str(troubled.place.folder / "store")
    config = troubled.place.folder / f"full{size}.yaml"
    config.write_text(yaml.safe_dump(mapping))
    script = FULL.format(
        size=size,
        disk=disk,
        folder=tmp_path,
        command=Path(sys.executable).with_name("openevolve"),
        config=config,
        again=again,
    )
    environment = {**os.environ, "XDG_CACHE_HOME": troubled.place.environment["XDG_CACHE_HOME"]}
    process = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    first, num_kept, second = process.stdout.split()
    errors = (tmp_path / "first.err").read_text()
    assert first == "2", errors
    assert errors.count("\n") == 1
    assert "error: the disk is full" in errors
    assert "Traceback" not in (tmp_path / "first.out").read_text()
    assert second == "0", (tmp_path / "second.err").read_text()
    assert (tmp_path / "second.err").read_text() == ""
    programs = sequence(tmp_path / "kept")
    assert len(programs) >= int(num_kept)
    assert programs == sequence(troubled.place.folder / "undisturbed")
