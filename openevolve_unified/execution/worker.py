"""A worker process: it imports torch once and runs trusted tasks, one at a time.

``pool`` starts it as ``python -m openevolve_unified.execution.worker FD``, often before there is
work, so that it gets ready meanwhile. It runs no code of a candidate, only validated operator
programs. It ends when its parent is gone, whatever killed the parent, and when it has been idle for
a while.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any

from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.lifetime import end_with_parent
from openevolve_unified.execution.outcome import RETIRES, perform

IDLE_LIMIT_S = 60.0


def main() -> None:
    """Serve tasks until the parent closes the channel, dies, or sends nothing for a while."""
    end_with_parent()
    # Here, not above: it imports torch, and by now this process ends with its parent.
    from openevolve_unified.evaluation.tasks import prepare_to_check
    from openevolve_unified.training.captured import is_process_spoilt

    with socket.socket(fileno=int(sys.argv[1])) as connection:
        channel = Channel(connection)
        if not channel.has_arrived():
            prepare_to_check()
        with contextlib.suppress(OSError):
            _serve(channel, is_process_spoilt)


def _serve(channel: Channel, retires: Callable[[], bool]) -> None:
    def emit(event: dict[str, Any]) -> None:
        channel.send({"event": event})

    while (message := channel.receive(IDLE_LIMIT_S)) is not None:
        answer = perform(message["task"], message["arguments"], emit)
        channel.send({**answer, RETIRES: retires()})


if __name__ == "__main__":
    main()
