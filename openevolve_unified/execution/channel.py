"""JSON lines over a socket pair: how the evaluator and its worker processes talk.

Plain data only, so neither side can be made to run what the other sends.
"""

from __future__ import annotations

import json
import select
import socket
from typing import Any


class Channel:
    """One end of a conversation; messages are JSON objects, one per line."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self._pending = bytearray()

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            OSError: the other side is gone.
        """
        self._connection.sendall(json.dumps(message, allow_nan=False).encode() + b"\n")

    def receive(self, timeout_s: float | None = None) -> dict[str, Any] | None:
        """The next message, or None when the other side has closed.

        Raises:
            TimeoutError: nothing came in ``timeout_s``.
        """
        while b"\n" not in self._pending:
            self._connection.settimeout(timeout_s)
            try:
                data = self._connection.recv(1 << 16)
            except ConnectionResetError:
                return None
            finally:
                self._connection.settimeout(None)
            if not data:
                return None
            self._pending += data
        return self._pop()

    def receive_available(self) -> tuple[list[dict[str, Any]], bool]:
        """All messages that have arrived after one read, and whether the other side is open."""
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._pending += data
        return self._pop_all(), bool(data)

    def receive_waiting(self) -> tuple[list[dict[str, Any]], bool]:
        """Like ``receive_available``, but never waits for anything to arrive."""
        if self.has_arrived():
            return self.receive_available()
        return self._pop_all(), True

    def has_arrived(self) -> bool:
        """Whether there is something to read, if only the end."""
        return bool(select.select([self], [], [], 0)[0])

    def close(self) -> None:
        self._connection.close()

    def _pop_all(self) -> list[dict[str, Any]]:
        messages = []
        while b"\n" in self._pending:
            messages.append(self._pop())
        return messages

    def _pop(self) -> dict[str, Any]:
        line, _, rest = self._pending.partition(b"\n")
        self._pending = bytearray(rest)
        return json.loads(line)
