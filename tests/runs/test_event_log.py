"""The event file: headed, shared, followed, small, and whole beside what is damaged."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time

import pytest

from openevolve_unified.runs.event_log import EventLog, EventReader, read_events
from openevolve_unified.runs.events import FORMAT_VERSION, Header, Notice, Training


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "events.jsonl"


def messages(path):
    return [event.message for event in read_events(path).events if isinstance(event, Notice)]


def headers(path):
    return [event for event in read_events(path).events if isinstance(event, Header)]


def training(step, total=100_000, size="16x1"):
    return Training(
        size=size,
        seed=42,
        step=step,
        total_steps=total,
        tokens_per_step=16_384,
        tokens_per_s=123_456.7890123,
        train_loss_nats=2.345678901234567,
        validation_loss_nats=2.345678901234567,
        program="0123456789ab",
        iteration=12,
    )


def test_the_file_is_made_with_the_first_event_and_begins_with_its_format(path):
    log = EventLog(path)
    assert not path.parent.exists()
    log(Notice(message="first"))
    EventLog(path)(Notice(message="second"))
    first, *others = read_events(path).events
    assert isinstance(first, Header)
    assert first.format_version == FORMAT_VERSION
    assert [event.message for event in others] == ["first", "second"]
    assert all(abs(event.time - time.time()) < 60 for event in read_events(path).events)


def test_a_file_of_an_earlier_release_is_continued_under_a_header(path):
    path.parent.mkdir()
    path.write_text('{"time": 1.5, "kind": "notice", "message": "old"}\n')
    log = EventLog(path)
    log(Notice(message="new"))
    log(Notice(message="newer"))
    assert messages(path) == ["old", "new", "newer"]
    assert len(headers(path)) == 1


def test_unknown_kinds_and_damaged_lines_are_skipped_and_counted(path):
    EventLog(path)(Notice(message="first"))
    with open(path, "a") as file:
        file.write('{"kind": "something later"}\n{"kind": "no')
        file.write('\n{"kind": "notice"}\n[1]\n')
    EventLog(path)(Notice(message="last"))
    file = read_events(path)
    assert messages(path) == ["first", "last"]
    assert (file.num_unknown, file.num_damaged) == (1, 3)


def test_no_file_holds_no_events(path):
    assert read_events(path).events == ()


def test_a_line_that_a_full_disk_cut_short_does_not_spoil_the_next(path, monkeypatch):
    log, write = EventLog(path), os.write
    log(Notice(message="first"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:9]))
        log(Notice(message="cut"))
    log(Notice(message="last"))
    assert messages(path) == ["first", "last"]
    assert read_events(path).num_damaged == 1


WRITER = """
import sys
from pathlib import Path
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import Notice
log = EventLog(Path(sys.argv[1]))
for number in range(200):
    log(Notice(message=f"{sys.argv[2]} {number} " + "x" * 2000))
"""


def test_processes_that_write_at_the_same_time_cut_no_line(path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    told = messages(path)
    assert read_events(path).num_damaged == 0
    for name in ("a", "b"):
        numbers = [int(text.split()[1]) for text in told if text.startswith(name)]
        assert numbers == list(range(200))


def test_a_reader_follows_from_the_present_end_and_waits_for_whole_lines(path):
    reader = EventReader(path)
    assert list(reader.read()) == []
    log = EventLog(path)
    log(Notice(message="first"))
    late = EventReader(path)
    content = path.read_bytes()
    with open(path, "ab") as file:
        file.write(content[:-5])
    assert [event.kind for event in reader.read()] == ["header", "notice", "header"]
    assert list(reader.read()) == []
    with open(path, "ab") as file:
        file.write(content[-5:])
    assert [event.kind for event in reader.read()] == ["notice"]
    assert [event.kind for event in late.read()] == ["header", "notice"]


@pytest.mark.parametrize("has_events", [False, True])
def test_what_was_written_early_ends_in_the_file_of_the_run(has_events, path):
    early = EventLog(path.with_name("early.jsonl"))
    early(Notice(message="plan"))
    if has_events:
        EventLog(path)(Notice(message="before"))
    early.continue_in(path)
    early(Notice(message="after"))
    assert messages(path) == ["before"] * has_events + ["plan", "after"]
    assert [file.name for file in path.parent.iterdir()] == ["events.jsonl"]


def kept_steps(path, monkeypatch, reports):
    """The steps that stay of reports (second, event)."""
    log = EventLog(path)
    for second, event in reports:
        monkeypatch.setattr(time, "monotonic", lambda second=second: second)
        log(event)
    lines = path.read_text().splitlines()
    return [json.loads(line)["step"] for line in lines[1:]]


def test_a_long_training_is_kept_by_the_hundredth_and_by_the_minute(path, monkeypatch):
    seconds = [half / 2 for half in range(2 * 36_000 + 1)]  # ten hours, two reports a second
    reports = [(s, training(round(s / 36_000 * 100_000))) for s in seconds]
    steps = kept_steps(path, monkeypatch, reports)
    assert (steps[0], steps[-1]) == (0, 100_000)
    assert len(steps) == 36_000 / 60 + 1
    assert path.stat().st_size < 200_000


def test_a_short_training_is_kept_by_the_second(path, monkeypatch):
    reports = [(tenth / 10, training(tenth, total=50)) for tenth in range(51)]
    steps = kept_steps(path, monkeypatch, reports)
    assert steps == [0, 10, 20, 30, 40, 50]


def test_models_side_by_side_have_a_pace_of_their_own(path, monkeypatch):
    pairs = itertools.product(range(3), ("16x1", "24x1"))
    reports = [(s / 10, training(s, size=size)) for s, size in pairs]
    assert kept_steps(path, monkeypatch, reports) == [0, 0]
