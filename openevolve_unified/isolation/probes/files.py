"""Attempts to change what is on the disk: planted files, and new ones that are removed again."""

from __future__ import annotations

import os
import sysconfig
import uuid
from pathlib import Path

from openevolve_unified.isolation.probes.probe import Attempt, Bait, Probe

_FLOOD_BYTES = 4 * 2**20
_NOT_OURS = "the folder belongs to somebody else"


def _create(folder: str) -> str:
    path = Path(folder, f"openevolve-probe-{uuid.uuid4().hex}.tmp")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(descriptor, b"here")
    os.close(descriptor)
    path.unlink()
    return "created a file"


def _in_home(bait: Bait) -> str:
    return _create(bait.home)


def _in_temp(bait: Bait) -> str:
    return _create(bait.temp)


def _in_scratch(bait: Bait) -> str:
    return _create(bait.scratch)


def _in_site_packages(bait: Bait) -> str:
    return _create(sysconfig.get_paths()["purelib"])


def _in_shared_memory(bait: Bait) -> str:
    return _create("/dev/shm")


def _append(bait: Bait) -> str:
    with open(bait.victim("append"), "a") as file:
        file.write("more")
    return "appended to a file"


def _truncate(bait: Bait) -> str:
    os.truncate(bait.victim("truncate"), 1)
    return "cut a file"


def _change_mode(bait: Bait) -> str:
    os.chmod(bait.victim("mode"), 0o777)
    return "changed the mode"


def _change_owner(bait: Bait) -> str:
    os.chown(bait.victim("owner"), os.getuid(), os.getgid())
    return "set the owner"


def _change_times(bait: Bait) -> str:
    os.utime(bait.victim("times"), (1, 1))
    return "changed the times"


def _change_attributes(bait: Bait) -> str:
    os.setxattr(bait.victim("attributes"), "user.probe", b"here")
    return "set an attribute"


def _link(bait: Bait) -> str:
    os.link(bait.victim("link"), bait.victim("link-new"))
    return "made a hard link"


def _symbolic_link(bait: Bait) -> str:
    os.symlink(bait.secret, bait.victim("symlink-new"))
    return "made a symbolic link"


def _rename(bait: Bait) -> str:
    os.rename(bait.victim("rename"), bait.victim("rename-new"))
    return "renamed a file"


def _remove(bait: Bait) -> str:
    os.unlink(bait.victim("remove"))
    return "removed a file"


def _folder(bait: Bait) -> str:
    os.mkdir(bait.victim("folder-new"))
    return "made a folder"


def _pipe(bait: Bait) -> str:
    os.mkfifo(bait.victim("pipe-new"))
    return "made a named pipe"


def _own_entry(bait: Bait) -> str:
    # 1000 makes this process the first that the kernel kills when memory is short: harmless.
    Path("/proc/self/oom_score_adj").write_text("1000")
    return "wrote to its process entry"


def _flood_output(bait: Bait) -> str:
    written = 0
    while written < _FLOOD_BYTES:
        written += os.write(1, b"x" * 65_536)
    return f"wrote {written} bytes of output"


def _flood_scratch(bait: Bait) -> str:
    path = Path(bait.scratch, "flood")
    path.write_bytes(b"x" * _FLOOD_BYTES)
    path.unlink()
    return f"wrote {_FLOOD_BYTES} bytes of scratch"


def _probe(name: str, attempt: Attempt, excuse: str = "") -> Probe:
    return Probe(name=name, family="files", attempt=attempt, excuse=excuse)


VICTIMS = (
    "append", "truncate", "mode", "owner", "times", "attributes", "link", "rename", "remove",
)  # fmt: skip
"""Planted, one for each attempt that changes a file."""

PROBES = (
    _probe("create a file in the home", _in_home),
    _probe("create a file in the temporary folder", _in_temp),
    _probe("create a file in the scratch folder", _in_scratch),
    _probe("create a file in site-packages", _in_site_packages, _NOT_OURS),
    _probe("create a file in shared memory", _in_shared_memory, _NOT_OURS),
    _probe("append to a file", _append),
    _probe("truncate a file", _truncate),
    _probe("change a file's mode", _change_mode),
    _probe("change a file's owner", _change_owner),
    _probe("change a file's times", _change_times),
    _probe("set a file's attribute", _change_attributes, "some file systems have none"),
    _probe("make a hard link", _link),
    _probe("make a symbolic link", _symbolic_link),
    _probe("rename a file", _rename),
    _probe("remove a file", _remove),
    _probe("make a folder", _folder),
    _probe("make a named pipe", _pipe),
    _probe("write to its process entry", _own_entry),
    _probe("flood the output", _flood_output),
    _probe("flood the scratch folder", _flood_scratch),
)
