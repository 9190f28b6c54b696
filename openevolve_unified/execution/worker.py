"""A worker process: it imports torch once and runs trusted tasks, one at a time.

``pool`` starts it as ``python -m openevolve_unified.execution.worker FD PREPARATION``, often before
there is work; it then performs the task PREPARATION, so that it gets ready meanwhile. It runs no
code of a candidate, only validated operator programs. It ends when its parent is gone, whatever
killed the parent, and when it has been idle for a while.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.lifetime import end_with_parent, is_process_spoilt
from openevolve_unified.execution.outcome import RETIRES, find_task, perform
from openevolve_unified.plain.imports import many_imports

IDLE_LIMIT_S = 60.0


def main() -> None:
    """Serve tasks until the parent closes the channel, dies, or sends nothing for a while."""
    end_with_parent()
    descriptor, preparation = int(sys.argv[1]), sys.argv[2]
    with socket.socket(fileno=descriptor) as connection:
        channel = Channel(connection)
        with many_imports():
            # Here, not above: it imports torch, and by now this process ends with its parent.
            prepare = find_task(preparation)
            if not channel.has_arrived():
                prepare({}, lambda event: None)
        with contextlib.suppress(OSError):
            _serve(channel)


def _serve(channel: Channel) -> None:
    def emit(event: dict[str, Any]) -> None:
        channel.send({"event": event})

    while (message := channel.receive(IDLE_LIMIT_S)) is not None:
        answer = perform(message["function"], message["arguments"], emit)
        channel.send({**answer, RETIRES: is_process_spoilt()})


if __name__ == "__main__":
    main()
