"""The process with the secrets: it plants the bait, starts the zygote, and looks for damage.

It stands for the evaluator: its environment, memory, command line, descriptors and home hold the
key.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from openevolve_unified.isolation.probes.files import VICTIMS
from openevolve_unified.isolation.probes.probe import Bait

KEY_VARIABLE = "OPENEVOLVE_PROBE_KEY"
_PACKAGE_PARENT = Path(__file__).resolve().parents[3]
_START = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from openevolve_unified.isolation.probes.{module} import main; main()"
)


def command(python: str, module: str, *arguments: str) -> list[str]:
    """Start ``main`` of a module of this package in a fresh, isolated interpreter."""
    start = _START.format(root=str(_PACKAGE_PARENT), module=module)
    return [python, "-I", "-B", "-c", start, *arguments]


def main() -> None:
    """``keeper.py ARM KEY``: make all attempts of one arm, results as JSON lines on stdout."""
    arm, key = sys.argv[1:3]
    root = Path(tempfile.mkdtemp(prefix="openevolve-probe-"))
    try:
        bait, held = _plant(root, key)
        before = _snapshot(Path(bait.home))
        os.chdir(bait.home)
        _run_zygote(arm, bait, root)
        untouched = _snapshot(Path(bait.home)) == before
        print(json.dumps({"untouched": untouched}))
        del held
    finally:
        os.chdir("/")
        shutil.rmtree(root, ignore_errors=True)


def _plant(root: Path, key: str) -> tuple[Bait, object]:
    home, scratch, temp = root / "home", root / "scratch", root / "temp"
    for folder in (home, scratch, temp, home / "mountpoint"):
        folder.mkdir()
    (home / "secret.txt").write_text(key)
    (home / key).write_text("")
    for name in VICTIMS:
        (home / f"victim-{name}").write_text("untouched")
    (scratch / "link").symlink_to(home / "secret.txt")
    held = ctypes.create_string_buffer(key.encode())
    abstract_name = f"openevolve-probe-{os.getpid()}"
    tcp = _listen(socket.AF_INET, ("127.0.0.1", 0), key)
    _listen(socket.AF_UNIX, str(root / "listener"), key)
    _listen(socket.AF_UNIX, "\0" + abstract_name, key)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    bait = Bait(
        keeper_pid=os.getpid(),
        key_variable=KEY_VARIABLE,
        key_length=len(key),
        key_address=ctypes.addressof(held),
        key_descriptor=os.open(home / "secret.txt", os.O_RDONLY),
        home=str(home),
        scratch=str(scratch),
        temp=str(temp),
        link=str(scratch / "link"),
        tcp_port=tcp.getsockname()[1],
        udp_port=udp.getsockname()[1],
        unix_path=str(root / "listener"),
        abstract_name=abstract_name,
    )
    return bait, (held, udp)


def _listen(
    family: socket.AddressFamily, address: str | tuple[str, int], key: str
) -> socket.socket:
    """Send the key to whoever connects, until this process ends."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(8)

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(key.encode())

    threading.Thread(target=serve, daemon=True).start()
    return listener


def _run_zygote(arm: str, bait: Bait, root: Path) -> None:
    environment = dict(os.environ) if arm == "bare" else {"PATH": "/usr/bin:/bin"}
    task = json.dumps({"arm": arm, "bait": dataclasses.asdict(bait)})
    reader, writer = os.pipe()
    with open(root / "output", "wb") as output:
        zygote = subprocess.Popen(
            command(sys.executable, "zygote", str(writer)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            pass_fds=(writer,),
            text=True,
        )
    os.close(writer)
    assert zygote.stdin is not None
    zygote.stdin.write(task)
    zygote.stdin.close()
    with os.fdopen(reader) as results:
        for line in results:
            print(line, end="", flush=True)
    zygote.wait()


def _snapshot(folder: Path) -> list[tuple[str, int, int, int, int]]:
    found = []
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        found.append((str(path), state.st_mode, state.st_uid, state.st_size, state.st_mtime_ns))
    return found
