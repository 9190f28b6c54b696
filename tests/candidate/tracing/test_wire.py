"""Frames between parent and child are bounded and strict."""

from __future__ import annotations

import socket
import time

import pytest

from openevolve_unified.candidate.tracing import wire


def test_a_frame_comes_back_as_it_was_sent():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, {"a": [1, 2.5, "x"]}, b"\x00raw")
        assert wire.receive(theirs, 100, time.monotonic() + 5) == ({"a": [1, 2.5, "x"]}, b"\x00raw")
    assert wire.unpack(wire.pack({}, b"12"), 2) == ({}, b"12")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"short",
        wire.pack({}, b"12")[:-1],
        wire.pack({}, b"12") + b"3",
        wire.pack({}, b"123"),
        wire.pack({"a": 1}).replace(b'{"a":1}', b'{"a":1]'),
        wire.pack({"a": 1}).replace(b'{"a":1}', b"[1,2,3]"),
        b"\xff" * 40,
    ],
)
def test_what_is_not_one_frame_within_bounds_is_refused(frame):
    with pytest.raises(wire.WireError):
        wire.unpack(frame, 2)


def test_a_closed_or_silent_or_boastful_sender_is_an_error():
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(wire.WireTimeoutError):
            wire.receive(theirs, 10, time.monotonic() + 0.01)
        ours.sendall(b"\x00\x00\x00\x02" + b"\xff" * 8)
        with pytest.raises(wire.WireError, match="too large"):
            wire.receive(theirs, 10, time.monotonic() + 5)
        ours.close()
        with pytest.raises(wire.WireError):
            wire.receive(theirs, 10, time.monotonic() + 5)
