"""Processes as the tests of signals and crashes see them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


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


def openevolve_worker(pid):
    """The process in which OpenEvolve evaluates: a fork of the command, with its arguments."""
    (worker,) = [
        child
        for child, parent in living().items()
        if parent == pid and arguments_of(child) == arguments_of(pid)
    ]
    return worker


def arguments_of(pid):
    """The command line of a process, or nothing when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return None


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


def outcome(process):
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors
