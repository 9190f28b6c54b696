"""The backlog: what is tried again, how often, and how many run at once."""

from __future__ import annotations

from openevolve_unified.execution.backlog import Backlog, Loss
from openevolve_unified.execution.executor import Task

LACK = Loss("ran out of memory (so it said)", lacks_memory=True)
DEATH = Loss("ended with exit status 3", lacks_memory=False)


def task(name):
    return Task(function="execution.tasks.echo", arguments={}, title=name)


def test_the_backlog_halves_what_runs_at_once_and_never_gives_up_on_a_crowd():
    backlog = Backlog([task(str(i)) for i in range(5)], max_at_once=4, max_attempts=2)
    running = [backlog.start() for _ in range(4)]
    assert backlog.start() is None
    assert "at most 2 at once" in backlog.put_back(running[3][0], LACK)["message"]
    assert backlog.max_at_once == 2
    assert backlog.start() is None, "three are still running"
    backlog.finish(0)
    backlog.finish(1)
    assert backlog.start()[0] == 3, "what failed goes first"
    assert "at most 1 at once" in backlog.put_back(3, LACK)["message"]
    assert backlog.max_at_once == 1
    backlog.finish(2)
    assert backlog.start()[0] == 3
    assert backlog.put_back(3, LACK), "its first failure alone"
    assert backlog.start()[0] == 3
    assert backlog.put_back(3, LACK) is None
    assert backlog.start()[0] == 4
    backlog.finish(4)
    assert backlog.is_done


def test_a_lost_worker_is_tried_again_as_often_as_allowed_beside_as_many_others():
    backlog = Backlog([task("a"), task("b")], max_at_once=2, max_attempts=2)
    assert [backlog.start()[0], backlog.start()[0]] == [0, 1]
    assert backlog.put_back(0, DEATH) == {
        "kind": "notice",
        "message": "the worker of 'a' ended with exit status 3: trying it again",
    }
    assert backlog.start()[0] == 0
    assert backlog.put_back(0, DEATH) is None
    assert backlog.max_at_once == 2


def test_a_loss_is_read_from_the_last_message_and_a_result_is_none():
    assert Loss.told_by({"result": {}}) is None
    assert Loss.told_by({"crash": "Traceback"}) is None
    assert Loss.told_by({"lost": "its device failed"}) == Loss("is lost (its device failed)", False)
    assert Loss.told_by({"out_of_memory": "so it said"}) == LACK
