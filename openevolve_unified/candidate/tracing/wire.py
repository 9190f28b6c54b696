"""Framed messages between the parent and its tracing child: a JSON header and raw bytes.

Everything is bounded and parsed strictly; nothing is ever unpickled. No torch here.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_FRAME = struct.Struct("!IQ")
MAX_HEADER_BYTES = 16 * 2**20


class WireError(Exception):
    """The other side closed, sent something malformed or too large, or was silent too long."""


class WireTimeoutError(WireError):
    """Nothing came in time."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One frame: two lengths, JSON, raw bytes."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return _FRAME.pack(len(text), len(payload)) + text + payload


def unpack(frame: bytes, max_payload: int) -> tuple[dict[str, Any], bytes]:
    """The header and payload of exactly one frame.

    Raises:
        WireError: not exactly one well-formed frame within the bounds.
    """
    if len(frame) < _FRAME.size:
        raise WireError("an incomplete frame")
    header_bytes, payload_bytes = _FRAME.unpack(frame[: _FRAME.size])
    _require_bounds(header_bytes, payload_bytes, max_payload)
    if len(frame) != _FRAME.size + header_bytes + payload_bytes:
        raise WireError("a frame of the wrong length")
    return _header(frame[_FRAME.size : _FRAME.size + header_bytes]), frame[
        _FRAME.size + header_bytes :
    ]


def unpack_first(stream: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of the first frame of ``stream``, which has no payload, and what follows it.

    Raises:
        WireError: it does not start with such a frame.
    """
    if len(stream) < _FRAME.size:
        raise WireError("an incomplete frame")
    header_bytes, payload_bytes = _FRAME.unpack(stream[: _FRAME.size])
    _require_bounds(header_bytes, payload_bytes, 0)
    end = _FRAME.size + header_bytes
    return _header(stream[_FRAME.size : end]), stream[end:]


def send(connection: socket.socket, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame.

    Raises:
        WireError: the other side is gone.
    """
    try:
        connection.sendall(pack(header, payload))
    except OSError as error:
        raise WireError(f"the other side is gone ({error.strerror})") from None


def receive(
    connection: socket.socket, max_payload: int, deadline: float | None
) -> tuple[dict[str, Any], bytes]:
    """Receive one frame; ``deadline`` is in ``time.monotonic()`` seconds.

    Raises:
        WireTimeoutError: the deadline passed.
        WireError: the other side closed or sent something malformed or too large.
    """
    lengths = _read(connection, _FRAME.size, deadline)
    header_bytes, payload_bytes = _FRAME.unpack(lengths)
    _require_bounds(header_bytes, payload_bytes, max_payload)
    header = _header(_read(connection, header_bytes, deadline))
    return header, _read(connection, payload_bytes, deadline)


def _require_bounds(header_bytes: int, payload_bytes: int, max_payload: int) -> None:
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > max_payload:
        raise WireError(f"a frame of {header_bytes + payload_bytes:,} bytes is too large")


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("a header that is not JSON") from None
    if not isinstance(header, dict):
        raise WireError("a header that is not a mapping")
    return header


def _read(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    chunks = bytearray()
    while len(chunks) < count:
        if deadline is None:
            connection.settimeout(None)
        else:
            connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        try:
            chunk = connection.recv(min(count - len(chunks), 2**20))
        except TimeoutError:
            raise WireTimeoutError("no answer in time") from None
        except OSError as error:
            raise WireError(f"the other side is gone ({error.strerror})") from None
        if not chunk:
            raise WireError("the other side closed")
        chunks += chunk
    return bytes(chunks)
