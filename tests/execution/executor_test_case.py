"""What every executor promises: a class of tests to inherit from, with one fixture to give.

class TestMine(ExecutorTestCase):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, tmp_path_factory):
        executor = ...  # at least two tasks at once
        yield executor
        executor.close()
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.execution.executor import DeadlineError, Task
from openevolve_unified.store import Place


def trial(name, record=None, **arguments):
    function = f"execution.tasks.{name}"
    return Task(function=function, arguments=arguments, title=f"trial {name}", record=record)


def ended(pid, seconds=20.0):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


class ExecutorTestCase:
    def run(self, executor, tasks, seconds=120.0):
        """Results by index, and the events."""
        events: list = []
        found = dict(executor.run(tasks, time.monotonic() + seconds, events.append))
        return found, events

    def test_every_task_is_done_once_and_its_result_has_its_index(self, executor):
        found, events = self.run(executor, [trial("echo", number=i) for i in range(5)])
        assert [found[i]["arguments"]["number"] for i in range(5)] == [0, 1, 2, 3, 4]
        assert sorted(e["number"] for e in events if e["kind"] == "trial") == [0, 1, 2, 3, 4]

    def test_tasks_run_in_other_processes_and_side_by_side(self, executor, tmp_path):
        tasks = [trial("meet", folder=str(tmp_path), count=2) for _ in range(2)]
        found, _ = self.run(executor, tasks)
        assert found[0] == found[1]
        assert len(set(found[0]["pids"]) - {os.getpid()}) == 2

    def test_no_tasks_are_done_at_once(self, executor):
        assert self.run(executor, []) == ({}, [])

    def test_a_refused_candidate_crosses_as_stage_and_reason(self, executor):
        with pytest.raises(CandidateError) as refused:
            self.run(executor, [trial("refuse_candidate", reason="not this one")])
        assert (refused.value.stage, refused.value.reason) == ("trace", "not this one")

    def test_a_wrong_experiment_crosses_as_its_line(self, executor):
        with pytest.raises(ConfigError, match=r"^use another disk$"):
            self.run(executor, [trial("refuse_config", reason="use another disk")])

    def test_a_bug_keeps_its_traceback(self, executor):
        with pytest.raises(RuntimeError, match=r"(?s)in fail.*ZeroDivisionError: planted"):
            self.run(executor, [trial("fail", reason="planted")])

    @pytest.mark.parametrize(
        "function",
        ["execution.tasks.absent", "execution.lifetime.kill_session", "os.system", "tasks.echo"],
    )
    def test_only_what_a_module_lists_as_a_task_is_one(self, executor, function):
        task = Task(function=function, arguments={}, title="no task")
        with pytest.raises(RuntimeError, match="ValueError: task: "):
            self.run(executor, [task])

    @pytest.mark.parametrize("gently", [True, False])
    def test_a_task_that_lost_its_process_is_tried_again_and_said(self, executor, gently, tmp_path):
        task = trial("die", until=str(tmp_path / "died"), gently=gently)
        found, events = self.run(executor, [task])
        assert found[0]["arguments"]["gently"] is gently
        assert any("trial die" in e["message"] for e in events if e["kind"] == "notice")

    def test_calls_from_two_threads_each_get_their_own(self, executor):
        found: dict = {}

        def work(name):
            tasks = [trial("echo", caller=name, number=i) for i in range(3)]
            found[name] = self.run(executor, tasks)

        threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name in ("one", "two"):
            results, events = found[name]
            assert [results[i]["arguments"]["number"] for i in range(3)] == [0, 1, 2]
            assert {result["arguments"]["caller"] for result in results.values()} == {name}
            assert [event["caller"] for event in events if event["kind"] == "trial"] == [name] * 3

    def test_what_is_late_is_ended(self, executor):
        list(executor.run([trial("echo", number=1)], time.monotonic() + 60, lambda event: None))
        pids = []  # a worker has started: the time below goes to its task
        with pytest.raises(DeadlineError):
            for _ in executor.run(
                [trial("wait", seconds=600)],
                time.monotonic() + 4,
                lambda event: pids.append(event["pid"]),
            ):
                pass
        assert len(pids) == 1, "it was busy"
        assert ended(pids[0])

    def test_what_nobody_waits_for_any_more_is_ended(self, executor):
        pids = []
        tasks = [trial("wait", seconds=600), trial("echo", number=1)]
        running = executor.run(
            tasks,
            time.monotonic() + 60,
            lambda event: pids.append(event["pid"]) if "pid" in event else None,
        )
        index, _ = next(running)
        assert index == 1
        limit = time.monotonic() + 20
        while not pids and time.monotonic() < limit:
            time.sleep(0.05)
        running.close()
        assert all(ended(pid) for pid in pids)

    def test_a_record_has_a_place_that_crosses_with_its_task(self, executor, tmp_path):
        place = Place(root=str(tmp_path), kind="trials", key="ab12")
        found, _ = self.run(executor, [trial("echo", record=place, number=7)])
        assert found[0]["arguments"] == {"number": 7}

    def test_after_a_close_it_starts_afresh(self, executor):
        before, _ = self.run(executor, [trial("echo", number=1)])
        executor.close()
        after, _ = self.run(executor, [trial("echo", number=1)])
        assert ended(before[0]["pid"])
        assert after[0]["arguments"] == {"number": 1}
