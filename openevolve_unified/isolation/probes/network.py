"""Attempts to talk to somebody; only to listeners on this machine that the run itself opened."""

from __future__ import annotations

import socket

from openevolve_unified.isolation.probes.probe import Attempt, Bait, Probe

_TIMEOUT_S = 10.0


def _ask(family: socket.AddressFamily, address: str | tuple[str, int]) -> str:
    """The keeper's listeners send the key to whoever connects."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(address)
        return connection.recv(4096).decode()


def _tcp(bait: Bait) -> str:
    return _ask(socket.AF_INET, ("127.0.0.1", bait.tcp_port))


def _unix(bait: Bait) -> str:
    return _ask(socket.AF_UNIX, bait.unix_path)


def _abstract_unix(bait: Bait) -> str:
    return _ask(socket.AF_UNIX, "\0" + bait.abstract_name)


def _udp(bait: Bait) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sent = sender.sendto(b"hello", ("127.0.0.1", bait.udp_port))
    return f"sent {sent} bytes"


def _listen(bait: Bait) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        return f"listens on port {listener.getsockname()[1]}"


def _unix_listen(bait: Bait) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{bait.temp}/listener")
        return "listens on a path"


def _netlink(bait: Bait) -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        return "opened a line to the kernel's network tables"


def _raw(bait: Bait) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return "opened a raw socket"


def _pair(bait: Bait) -> str:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"x")
        return f"made a pair and read {right.recv(1)!r}"


def _probe(name: str, attempt: Attempt, prize: bool = False, excuse: str = "") -> Probe:
    return Probe(name=name, family="network", attempt=attempt, prize=prize, excuse=excuse)


PROBES = (
    _probe("connect by TCP", _tcp, prize=True),
    _probe("connect to a Unix socket", _unix, prize=True),
    _probe("connect to an abstract Unix socket", _abstract_unix, prize=True),
    _probe("send a datagram", _udp),
    _probe("listen on a port", _listen),
    _probe("listen on a path", _unix_listen),
    _probe("open a netlink socket", _netlink),
    _probe("open a raw socket", _raw, excuse="needs root"),
    _probe("make a pair of sockets", _pair),
)
