"""A worker gets ready to check while nobody asks anything of it, and only then."""

from __future__ import annotations

import functools
import gc
import json
import socket
import subprocess
import sys

import pytest

from openevolve_unified.execution import worker

PREPARED = """
import sys
import torch
from openevolve_unified.candidate.program.validate import validate_program
from openevolve_unified.evaluation.tasks import prepare
before = set(sys.modules)
prepare({}, print)
prepared = set(sys.modules)
x = torch.empty(2, 3, device="meta")
(torch.addmm(x.sum(0), x, x.mT @ x).softmax(-1).cumsum(-1) / 2).masked_fill(x > 0, 0.0).tril()
print(len(prepared - before), *(set(sys.modules) - prepared))
print("scipy" in prepared)
"""


def test_operators_on_tensors_without_data_import_nothing_after_the_preparation():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREPARED], capture_output=True, text=True, check=True
    )
    first, has_statistics = done.stdout.splitlines()
    num_imported, *later = first.split()
    assert int(num_imported) > 0
    assert later == []
    assert has_statistics == "False", "scipy takes a quarter of a second, and no worker uses it"


@pytest.mark.parametrize("has_work", [False, True], ids=["idle", "asked"])
def test_a_worker_that_has_work_does_it_first(has_work, monkeypatch):
    events = []

    def perform(name, arguments, emit):
        events.append((name, gc.isenabled()))
        return {"result": {}}

    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    monkeypatch.setattr(worker, "find_task", lambda name: functools.partial(perform, name))
    monkeypatch.setattr(worker, "perform", perform)
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(sys, "argv", ["worker", str(theirs.detach()), "room.tasks.prepare"])
    if has_work:
        ours.sendall(json.dumps({"function": "room.tasks.train", "arguments": {}}).encode() + b"\n")
        ours.shutdown(socket.SHUT_WR)
    else:
        monkeypatch.setattr(worker, "IDLE_LIMIT_S", 0.1)
    with ours:
        worker.main()
    assert events == [("room.tasks.train", True) if has_work else ("room.tasks.prepare", False)]


@pytest.mark.parametrize("is_spoilt", [False, True])
def test_a_process_that_was_spoilt_says_that_it_retires(is_spoilt, monkeypatch):
    monkeypatch.setattr(worker, "is_process_spoilt", lambda: is_spoilt)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(json.dumps({"function": "unknown", "arguments": {}}).encode() + b"\n")
        ours.shutdown(socket.SHUT_WR)
        worker._serve(worker.Channel(theirs))
        assert json.loads(ours.recv(1 << 16))["retires"] is is_spoilt
