"""The main job with the embedded proposer: what a run leaves, resuming, and being interrupted."""

from __future__ import annotations

import json
import os
import shlex
import signal
from types import SimpleNamespace

import pytest
from json_keys import undocumented
from processes import are_gone, descendants, outcome, wait_for
from replayed_runs import replayed
from visualiser import complaints, drawn

from openevolve_unified.runs.event_log import read_events
from openevolve_unified.store import Store

SETTING = ("--set", "scaling_law.training.weight_decay=0.01")
LONG = {
    "scaling_law.training.training_steps": 400,
    "scaling_law.training.eval_frequency": 200,
}


def history(folder):
    return json.loads((folder / "fitness_history.json").read_text())


def finished(place):
    """When each model that the store keeps was finished, by its file."""
    store = place.folder / "store"
    return {path.name: path.stat().st_mtime for path in store.rglob("runs/*/*.json")}


@pytest.fixture(scope="module")
def undisturbed(new_place):
    """A run that measures its noise, then a rerun in the same folder, over a store that an earlier
    release has used."""
    place = new_place()
    Store(place.folder / "store").put("runs", "ab" + "0" * 62, {"of": "an earlier release"})
    settings = {"scaling_law.noise": {"mode": "measure", "num_seeds": 2}}
    path = place.tiny({**settings, "scaling_law.execution.report": True})
    temporary = place.folder / "tmp"
    temporary.mkdir()
    run = place.run("openevolve", path, environment={"TMPDIR": str(temporary)})
    after_run = finished(place)
    rerun = place.run("openevolve", path, "--quiet", "--json")
    after = {"after_run": after_run, "after_rerun": finished(place)}
    return SimpleNamespace(place=place, run=run, rerun=rerun, **after)


def test_a_run_leaves_no_temporary_folder_of_ours(undisturbed):
    left = [path.name for path in (undisturbed.place.folder / "tmp").iterdir()]
    assert not any("openevolve" in name for name in left), left


def test_a_run_says_what_it_is_and_what_it_found(undisturbed):
    status, output, errors = undisturbed.run
    assert status == 0, errors
    assert errors == ""
    assert "a non-LLM control arm" in output
    # The initial program was trained before, for the noise.
    assert " for 2 programs, checks included; planned " in output
    assert "candidate 2/2: score" in output


def test_a_run_ends_with_its_report(undisturbed):
    *_, last, _ = undisturbed.rerun[1].splitlines()  # the very last is the JSON
    report = undisturbed.place.folder / "run" / "report.html"
    assert last.split() == ["report", str(report)]
    verdict = report.read_text().partition('id="tested"')[0]
    assert "unfinished" not in verdict, "it was written before its run had ended"


def test_the_folder_of_a_run_holds_everything(undisturbed):
    folder = undisturbed.place.folder / "run.1"
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
    assert list((folder / "logs").glob("openevolve_2*.log"))


@pytest.mark.parametrize("name", ["run.1", "run"])
def test_openevolves_visualiser_reads_the_checkpoints_of_a_run(name, undisturbed):
    folder = undisturbed.place.folder / name
    assert complaints(folder) == []
    page = drawn(folder)
    tried = {entry["fitness"] for entry in history(folder)["programs"]}
    assert {node["metrics"]["fitness"] for node in page["nodes"].values()} <= tried
    (initial,) = [one for one, node in page["nodes"].items() if node["parent_id"] is None]
    assert initial in {parent for parent, _ in page["edges"]}


@pytest.mark.parametrize("name", ["run.1", "run"])
def test_the_events_of_a_run_tell_the_whole_run_from_its_plan_on(name, undisturbed):
    """Also of the second run, whose plan was made while the first one's events lay there."""
    folder = undisturbed.place.folder / name
    run = replayed(folder)
    (session,) = run.sessions
    assert (session.started.is_resumed, session.started.num_iterations) == (False, 2)
    assert (session.ended.cause, run.stop_reason) == ("done", None)
    file = read_events(folder / "events.jsonl")
    kinds = [event.kind for event in file.events]
    assert kinds[:2] == ["header", "session_started"]
    assert [kinds.count(kind) for kind in ("header", "session_started", "plan")] == [1, 1, 1]
    assert kinds.index("plan") < kinds.index("verdict") < kinds.index("iteration")
    assert kinds[-1] == "session_ended"
    assert not list(folder.glob("events.early*"))
    if name == "run.1":  # nothing is trained in the other
        programs = {entry["program"] for entry in run.entries}
        assert {stage.program for stage in run.stages} == programs
        steps = {size: report.step for (of, size, _), report in run.training.items()}
        assert {program for program, _, _ in run.training} == programs
        assert steps == {"16x1": 20, "24x1": 20, "32x1": 20}


@pytest.mark.slow
def test_evaluations_at_a_time_tell_their_run_into_one_file(undisturbed):
    place = undisturbed.place
    changes = ("evaluator.parallel_evaluations=2", "max_iterations=4")
    options = [word for change in changes for word in ("--set", change)]
    status, _, errors = place.run("openevolve", place.tiny(), *options, "--output", "parallel")
    assert status == 0, errors
    run = replayed(place.folder / "parallel")
    assert sorted(proposal.iteration for proposal in run.proposals) == [1, 2, 3, 4]
    events = read_events(place.folder / "parallel" / "events.jsonl").events
    assert {e.iteration for e in events if e.kind == "candidate"} >= {1, 2, 3, 4}


def test_a_run_without_fresh_seeds_confirms_nothing(undisturbed):
    assert not (undisturbed.place.folder / "run.1" / "confirmation.json").exists()
    output = undisturbed.run[1]
    (line,) = [line for line in output.splitlines() if line.strip().startswith("confirmed")]
    assert "improved" not in line or "nothing is called improved" in line


def test_a_run_that_measures_its_noise_says_so_in_its_plan_and_does_it_first(undisturbed):
    lines = undisturbed.run[1].splitlines()

    def first(text):
        return next(number for number, line in enumerate(lines) if text in line)

    told = first("noise     measured first, by the initial program at 2 seeds: about")
    training = first("noise: initial program, 2 seeds: training 6 models")
    sentence = first("noise: can tell apart slopes that differ by")
    assert told < training < sentence < first("summary [")
    folder = undisturbed.place.folder / "run.1"
    kept = json.loads((folder / "noise.json").read_text())
    assert kept["seeds"] == [42, 1042]
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    assert [event["noise"] for event in events if event["kind"] == "noise"] == [kept]


def test_a_rerun_moves_the_earlier_run_aside_and_trains_nothing(undisturbed):
    status, output, errors = undisturbed.rerun
    assert status == 0, errors
    assert "an earlier run was moved to" in output
    assert output.index("plan for") < output.index("an earlier run was moved to")
    assert "candidate 2/2" not in output, "it is quiet"
    report = json.loads(output.splitlines()[-1])
    assert undocumented("openevolve", report) == []
    assert report["num_programs"] == len(history(undisturbed.place.folder / "run")["programs"])
    assert report["best"]["verdict"] == "trained"
    assert (undisturbed.place.folder / "run.1" / "fitness_history.json").exists()
    assert history(undisturbed.place.folder / "run")["programs"][0]["cached"] is True
    assert undisturbed.after_run
    assert undisturbed.after_rerun == undisturbed.after_run, (
        "the proposer is seeded and finished work is kept"
    )


def test_what_an_earlier_release_left_in_the_store_is_said_once_in_each_run(undisturbed):
    for _, output, _ in (undisturbed.run, undisturbed.rerun):
        (line,) = [line for line in output.splitlines() if "earlier release" in line]
        assert line.startswith("note: the store ")
        assert "(runs: 1)" in line


@pytest.mark.slow
def test_the_workers_of_a_new_run_do_not_write_into_the_one_that_was_moved(tiny, run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "fitness_history.json").write_text('{"programs": []}')
    status, _, errors = run("openevolve", tiny(), "--iterations", 1)
    assert status == 0, errors
    assert (tmp_path / "run.1" / "fitness_history.json").exists()
    assert (tmp_path / "run" / "logs" / "workers.log").exists()


@pytest.fixture(
    scope="module", params=[signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def disturbed(request, new_place):
    """One long run: a rival in its folder, a signal, kill -9 while it continues, then its end.

    Nothing is judged here: the tests below do that.
    """
    place = new_place()
    folder = place.folder / "run"
    path = place.tiny(LONG, name="with space.yaml")
    seen = SimpleNamespace(place=place, path=path)

    process = place.start("openevolve", path, *SETTING, "--iterations", 3)
    wait_for((folder / "fitness_history.json").exists, process)
    seen.rival = outcome(place.start("openevolve", path, *SETTING))
    seen.was_moved = not (folder / "fitness_history.json").exists()
    # Three models belong to the baseline; a fourth means that OpenEvolve's worker is training.
    wait_for(lambda: len(finished(place)) >= 4, process)
    seen.family = descendants(process.pid)
    os.killpg(process.pid, request.param)
    seen.interrupted = outcome(process)
    seen.family_is_gone = are_gone(seen.family)
    seen.kept = finished(place)
    what_to_type = shlex.split(seen.interrupted[1].partition("continue with: ")[2])
    assert what_to_type, f"it does not say how to continue: {seen.interrupted}"

    process = place.start(*what_to_type)
    # Six models belong to the baseline and the first candidate.
    wait_for(lambda: len(finished(place)) > max(6, len(seen.kept)), process)
    wait_for((folder / "checkpoints" / "checkpoint_1" / "metadata.json").exists, process)
    seen.num_programs = len(history(folder)["programs"])
    seen.killed_family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    seen.killed_family_is_gone = are_gone(seen.killed_family)
    seen.kept_when_killed = finished(place)

    seen.resumed = place.run(*what_to_type, "--iterations", 2)
    seen.kept_when_resumed = finished(place)
    return seen


def test_a_second_run_in_the_same_folder_is_refused(disturbed):
    status, output, errors = disturbed.rival
    assert status == 2, output
    assert "another run is at work" in errors
    assert not disturbed.was_moved


def test_an_interrupt_ends_every_child(disturbed):
    status, output, errors = disturbed.interrupted
    assert status == 130, errors
    assert "Traceback" not in output + errors
    assert len(disturbed.family) >= 4, "command, OpenEvolve's worker, our children"
    assert disturbed.family_is_gone


def test_kill_9_leaves_no_process(disturbed):
    assert len(disturbed.killed_family) >= 4, "command, OpenEvolve's worker, our children"
    assert disturbed.killed_family_is_gone


def test_resume_continues_and_trains_nothing_again_that_was_finished(disturbed):
    status, output, errors = disturbed.resumed
    assert status == 0, errors
    assert "resuming after 1 of 2 candidates" in output
    assert "candidate 2/2" in output
    assert len(history(disturbed.place.folder / "run")["programs"]) > disturbed.num_programs
    assert len(disturbed.kept) < len(disturbed.kept_when_killed) < len(disturbed.kept_when_resumed)
    assert disturbed.kept.items() <= disturbed.kept_when_killed.items(), "after the interrupt"
    assert disturbed.kept_when_killed.items() <= disturbed.kept_when_resumed.items(), "after kill"


def test_the_events_of_a_run_that_was_killed_and_resumed_tell_it_all(disturbed):
    run = replayed(disturbed.place.folder / "run")
    assert [session.started.is_resumed for session in run.sessions] == [False, True, True]
    ends = [session.ended and session.ended.cause for session in run.sessions]
    assert ends == ["interrupted", None, "done"]


def test_resume_refuses_another_configuration(disturbed):
    changed = ("--set", "scaling_law.training.training_steps=21")
    arguments = ("openevolve", disturbed.path, "--resume", *SETTING, *changed)
    status, _, errors = disturbed.place.run(*arguments)
    assert status == 2
    assert "another configuration" in errors


def test_an_interrupt_of_the_baseline_is_one_line(tiny, command, tmp_path):
    process = command("openevolve", tiny({**LONG, "scaling_law.execution.num_workers": 2}))
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
