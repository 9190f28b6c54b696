"""A worker process: it imports torch once and runs trusted tasks, one at a time.

``runner.pool`` starts it as ``python -m openevolve_unified.runner.worker FD``. It runs no code of a
candidate, only validated operator programs. It ends when its parent is gone, whatever killed the
parent, and when it has been idle for a while.
"""

from __future__ import annotations

import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.runner.channel import Channel
from openevolve_unified.runner.lifetime import end_with_parent

IDLE_LIMIT_S = 60.0


def main() -> None:
    """Serve tasks until the parent closes the channel, dies, or sends nothing for a while."""
    end_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    while True:
        try:
            message = channel.receive(IDLE_LIMIT_S)
        except TimeoutError:
            return
        if message is None:
            return
        try:
            channel.send(_serve(message, channel))
        except OSError:
            return


def _serve(message: dict[str, Any], channel: Channel) -> dict[str, Any]:
    from openevolve_unified.runner.tasks import TASKS

    def emit(event: dict[str, Any]) -> None:
        channel.send({"event": event})

    try:
        task: Callable[..., dict[str, Any]] = TASKS[message["task"]]
        return {"result": task(message["arguments"], emit)}
    except CandidateError as error:
        return {"rejected": {"stage": error.stage, "reason": error.reason}}
    except ConfigError as error:
        return {"config_error": str(error)}
    except Exception:  # the parent re-raises it with this traceback
        return {"crash": traceback.format_exc()}


if __name__ == "__main__":
    main()
