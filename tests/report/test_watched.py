"""``watch``: what it shows of a run, from made events."""

from __future__ import annotations

import json
import os

import pytest
from made_run import MadeRun

from openevolve_unified import exits
from openevolve_unified.cli import app, watch
from openevolve_unified.report.watch_view import ASCII, BLOCKS, sparkline, view
from openevolve_unified.report.watched import MAX_POINTS, Watched
from openevolve_unified.runs.event_log import EventLog, EventReader, read_events
from openevolve_unified.runs.events import (
    MachineTrouble,
    SessionEnded,
    SessionStarted,
    StageStarted,
    Training,
    Verdict,
)

NOW = 1_000_000.0


def started(**changes):
    return SessionStarted(
        **{
            "time": NOW - 200,
            "is_resumed": False,
            "config_hash": "c",
            "framework": "matrix_mixer",
            "horizon": "pilot, 750 of 100,000 steps",
            "num_iterations": 4,
            **changes,
        }
    )


def training(step, loss, size="96x2", program="f0ea286e2d8a", seed=42, seconds=1.0):
    return Training(
        time=NOW - 1,
        program=program,
        size=size,
        seed=seed,
        step=step,
        total_steps=750,
        tokens_per_step=1024,
        tokens_per_s=1024 / seconds,
        train_loss_nats=loss,
    )


def watched(*events):
    found = Watched()
    for event in events:
        found.hear(event)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: the initial program, three trained candidates, one refused."""
    return MadeRun(tmp_path_factory.mktemp("watched") / "run", num_confirmed=0)


def test_a_run_that_has_not_begun_is_waited_for():
    assert view(watched(), NOW, 80) == ["waiting for the run to begin"]


def test_models_in_training_have_their_losses_and_their_time_left():
    seen = watched(
        started(),
        StageStarted(program="f0ea286e2d8a", stage="training", num_jobs=2),
        *(training(step, 6 - step / 100) for step in range(0, 500, 100)),
        training(750, 1.2, "32x2"),
    )
    assert view(seen, NOW, 80) == [
        "matrix_mixer, pilot, 750 of 100,000 steps: working for 3 min",
        "proposals 0 of 4",
        f"now       96x2 seed 42 of f0ea28 █▆▅▃▁{' ' * 19} 2.0000  53% 6 min left",
        "now       done: 1 model",
    ]


def test_no_line_is_longer_than_the_terminal(run):
    seen = watched(*read_events(run.directory.events_path).events, *_second_session())
    for width in (40, 60, 80, 200):
        lines = view(seen, NOW, width)
        assert max(map(len, lines)) <= width
        assert any("96x2 seed 42" in line and (width < 60 or "% " in line) for line in lines)


def _second_session():
    return started(is_resumed=True), training(10, 5.0), training(20, 4.0)


def test_a_finished_run_says_so_with_its_best_and_its_rejections(run):
    seen = watched(*read_events(run.directory.events_path).events)
    text = "\n".join(view(seen, NOW, 100))
    assert "pilot, 750 of 100,000 steps: finished" in text
    assert "proposals 4 of 4: 1 rejected, 3 trained" in text
    assert "baseline  score +0.1" in text
    assert f"best      {seen.best['file']}: score +0.1" in text
    assert "rejected: it reads the future" in text
    assert seen.left_s is None


def test_the_time_left_is_that_of_the_candidates_before(run):
    events = read_events(run.directory.events_path).events
    (entry, *_) = [e.entry for e in events if isinstance(e, Verdict)]
    slow = [
        Verdict(
            is_initial=False, program=name, entry={**entry, "program": name, "duration_s": 100.0}
        )
        for name in ("a" * 12, "b" * 12)
    ]
    assert watched(started(), *slow).left_s == pytest.approx(400.0)
    plan = next(event for event in events if event.kind == "plan")
    assert watched(started(), plan).left_s == pytest.approx(4 * 6.0)  # as planned, until then
    priced = type(plan)(plan={**plan.plan, "price_per_hour": 3.6})
    seen = watched(started(), priced)
    assert seen.left_cost == pytest.approx(0.024)
    assert "left      about 24 s, 0.02 to pay" in view(seen, NOW, 80)


def test_health_warnings_are_shown_by_program(run):
    events = read_events(run.directory.events_path).events
    (entry, *_) = [e.entry for e in events if isinstance(e, Verdict)]
    ill = {**entry, "health": "3 healthy, 1 warned\n96x2, seed 42: starved at step 100"}
    lines = view(watched(started(), Verdict(is_initial=True, entry=ill)), NOW, 120)
    assert f"health    {entry['file']}: 96x2, seed 42: starved at step 100" in lines


def test_a_silent_run_says_how_long_and_a_killed_one_is_silent():
    seen = watched(started(), training(10, 5.0))
    assert "silent" not in view(seen, NOW, 80)[0]
    assert view(seen, NOW + 600, 80)[0].endswith("working for 13 min, silent for 10 min")


def test_a_resumed_run_keeps_its_programs_and_another_run_does_not(run):
    events = read_events(run.directory.events_path).events
    assert watched(*events, started(is_resumed=True)).run.entries
    again = watched(*events, started())
    assert not again.run.entries
    assert not again.lines


def test_the_models_of_a_decided_program_are_dropped(run):
    (entry, *_) = [
        e.entry for e in read_events(run.directory.events_path).events if isinstance(e, Verdict)
    ]
    own = training(10, 5.0, program=entry["program"])
    seen = watched(started(), own, training(10, 5.0), Verdict(is_initial=True, entry=entry))
    assert [program for program, _, _ in seen.jobs] == ["f0ea286e2d8a"]


def test_a_long_training_is_kept_thin_with_its_newest_report():
    seen = watched(started(), *(training(step, 5.0) for step in range(750)))
    ((reports),) = seen.jobs.values()
    assert len(reports) <= MAX_POINTS
    assert reports[-1].step == 749


@pytest.mark.parametrize(("blocks", "line"), [(BLOCKS, "█▅▁"), (ASCII, "#=_")])
def test_a_sparkline_goes_from_the_highest_to_the_lowest(blocks, line):
    assert sparkline([3.0, 2.1, 1.0], 10, blocks) == line
    assert len(sparkline(list(range(100)), 10, blocks)) == 10
    assert sparkline([2.0, 2.0], 10, blocks) == blocks[0] * 2


def test_trouble_with_the_machine_is_among_the_last_lines():
    seen = watched(started(), MachineTrouble(stage="worker", message="a worker\nwas lost"))
    assert view(seen, NOW, 80)[-1] == "last      not judged: a worker was lost"


def test_a_reader_reads_each_byte_once_and_another_file_from_its_start(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log(started())
    reader = EventReader(path, from_start=True)
    assert [event.kind for event in reader.read()] == ["header", "session_started"]
    assert list(reader.read()) == []
    with open(path, "a") as handle:
        handle.write('{"kind": "notice", "mess')
    assert list(reader.read()) == []
    with open(path, "a") as handle:
        handle.write('age": "late"}\n')
    assert [event.message for event in reader.read()] == ["late"]
    os.replace(path, tmp_path / "moved-aside")
    EventLog(path)(started())
    assert [event.kind for event in reader.read()] == ["header", "session_started"]


def test_the_command_prints_once_where_there_is_no_terminal(run, capsys):
    before = sorted(path.name for path in run.folder.iterdir())
    assert app.main(["watch", str(run.folder), "--json"]) == exits.DONE
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[1] == "proposals 4 of 4: 1 rejected, 3 trained"
    assert json.loads(last)["num_done"] == 4
    assert sorted(path.name for path in run.folder.iterdir()) == before


def test_the_command_follows_a_run_to_its_end_on_a_terminal(tmp_path, monkeypatch, capsys):
    log = EventLog(tmp_path / "events.jsonl")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    steps = iter((started(), training(10, 5.0), SessionEnded(cause="done")))
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: log(next(steps)))
    assert app.main(["watch", str(tmp_path)]) == exits.DONE
    assert "finished" in capsys.readouterr().out
    assert next(steps, None) is None


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    assert app.main(["watch", str(tmp_path / "nowhere")]) == exits.WRONG
    assert "no such folder; wanted the output folder" in capsys.readouterr().err
