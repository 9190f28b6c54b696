"""A child process at the other end of a socket pair, in a session of its own.

The session keeps Ctrl-C from the child: it reaches the parent, which decides.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start_child(
    command: Sequence[str],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log_path: Path | None = None,
    folder: Path | None = None,
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start ``command FD *arguments``, where FD is the number of the child's end.

    Args:
        log_path: what takes the child's output and errors; None for nothing.
        folder: where the child starts; None for where this process is.

    Returns:
        The process, and this process's end.

    Raises:
        OSError: it cannot be started; nothing stays open.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs, _output(log_path) as output:
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


def _output(path: Path | None) -> IO[bytes]:
    if path is None:
        return open(os.devnull, "wb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "ab")
