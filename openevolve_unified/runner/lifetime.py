"""No process outlives the one that started it, whatever killed that one."""

from __future__ import annotations

import os
import threading
import time

PARENT_POLL_S = 0.25


def end_with_parent() -> None:
    """End this process soon after its parent ends.

    The parent-death signal would fire when the *thread* that started us ends, and an end of file
    does not come when a fork of the parent still holds the socket; so the parent's id is polled.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
