"""What a machine lacks is one line that says how to get more, and is never taken for a bug."""

from __future__ import annotations

import contextlib
import errno
import os
import resource

import pytest

from openevolve_unified.errors import MachineError, shortage
from openevolve_unified.plain.files import write_json


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, "the disk is full (at place); free some space"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EMFILE, "too many open files"),
        (errno.ENFILE, "ulimit -n"),
        (errno.ENOMEM, "no memory or no processes left"),
        (errno.EAGAIN, "ulimit -u"),
    ],
)
def test_a_shortage_is_one_line_that_says_what_to_do(number, wanted):
    text = shortage(OSError(number, os.strerror(number), "place"))
    assert wanted in text
    assert "\n" not in text


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "none"), ValueError("28"), OSError("28")])
def test_other_errors_are_no_shortage(error):
    assert shortage(error) is None


def test_the_limit_on_open_files_is_named():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert f"may open {limit:,} (ulimit -n)" in shortage(OSError(errno.EMFILE, "too many"))


def test_too_many_open_files_are_no_fault_of_the_folder(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                for _ in range(100):
                    held.enter_context(open("/dev/null"))
            with pytest.raises(MachineError, match="too many open files") as raised:
                write_json(tmp_path / "x.json", {})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.stage == "machine"
