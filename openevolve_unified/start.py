"""The commands' first module: from its first lines on, Ctrl-C is one line and not a traceback.

It imports next to nothing: what the commands need is imported after the handler is in place.
"""

import contextlib
import os
import signal
import sys

_INTERRUPTED = 130


def _end(number: int, frame: object) -> None:
    os.write(2, b"interrupted: nothing was started yet\n")
    os._exit(_INTERRUPTED)


for _number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, _end)


def evolve() -> int:
    """The command ``openevolve``."""
    from openevolve_unified.cli.app import evolve_main

    return _ended(evolve_main())


def unified() -> int:
    """The command ``openevolve-unified``."""
    from openevolve_unified.cli.app import main

    return _ended(main())


def _ended(status: int) -> int:
    """An interrupted command is gone now: Python would clean up for seconds, without a handler."""
    if status == _INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader has left, or it is closed
                stream.flush()
        os._exit(status)
    return status
