"""A worker process: it imports torch once and runs trusted tasks, one at a time.

``runner.pool`` starts it as ``python -m openevolve_unified.runner.worker FD``. It runs no code of a
candidate, only validated operator programs. It ends when its parent is gone, whatever killed the
parent, and when it has been idle for a while.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from openevolve_unified.runner.channel import Channel
from openevolve_unified.runner.lifetime import end_with_parent
from openevolve_unified.runner.outcome import perform

IDLE_LIMIT_S = 60.0


def main() -> None:
    """Serve tasks until the parent closes the channel, dies, or sends nothing for a while."""
    end_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))

    def emit(event: dict[str, Any]) -> None:
        channel.send({"event": event})

    while True:
        try:
            message = channel.receive(IDLE_LIMIT_S)
        except TimeoutError:
            return
        if message is None:
            return
        try:
            channel.send(perform(message["task"], message["arguments"], emit))
        except OSError:
            return


if __name__ == "__main__":
    main()
