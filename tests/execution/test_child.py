"""A child at the other end of a socket pair: what it inherits, and what is left when it fails."""

from __future__ import annotations

import os
import sys

import pytest

from openevolve_unified.execution.child import start_child

ANSWER = """
import os, socket, sys
print("a line for the log", flush=True)
with socket.socket(fileno=int(sys.argv[1])) as parent:
    said = [sys.argv[2], os.environ.get("GIVEN"), os.getcwd(), str(os.getsid(0) == os.getpid())]
    parent.sendall("\\n".join(said).encode())
"""


def test_a_child_gets_its_end_its_arguments_and_its_environment(tmp_path):
    log = tmp_path / "new folder" / "child.log"
    process, connection = start_child(
        (sys.executable, "-c", ANSWER), ["argument"], {"GIVEN": "value"}, log, folder=tmp_path
    )
    with connection, connection.makefile() as answer:
        assert answer.read().splitlines() == ["argument", "value", str(tmp_path), "True"]
    assert process.wait(30) == 0
    assert log.read_text() == "a line for the log\n"


def test_a_child_without_a_log_is_silent(capfd):
    process, connection = start_child((sys.executable, "-c", ANSWER), ["argument"], {"GIVEN": ""})
    with connection:
        assert process.wait(30) == 0
    assert capfd.readouterr() == ("", "")


def test_a_child_that_cannot_be_started_leaves_nothing_open():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        start_child(("/nowhere/python",), [], {})
    assert len(os.listdir("/proc/self/fd")) == before
