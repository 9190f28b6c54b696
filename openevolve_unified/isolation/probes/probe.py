"""A probe: an escape attempt, and what was planted for it to reach."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ESCAPED_STATUS = 77
"""Exit status of an attempt that worked but closed its way of saying so."""

READY = b" "
"""Written by an attempt with ``terminate`` when it is ready for the signal; JSON ignores it."""


class Blocked(Exception):
    """The attempt did not work, for a reason that is not an ``OSError``."""


@dataclass(frozen=True, kw_only=True)
class Bait:
    """What the keeper planted; everything an attempt may touch is named here."""

    keeper_pid: int
    key_variable: str
    """Name of the environment variable that holds the key; its value is the prize."""
    key_length: int
    key_address: int
    """Where the key lies in the keeper's memory."""
    key_descriptor: int
    """A descriptor of the keeper that is open on the secret file."""
    home: str
    """A folder with ``secret.txt`` (the key), a file named after the key, and the victims."""
    scratch: str
    temp: str
    link: str
    """A symbolic link in the scratch folder to the secret file."""
    tcp_port: int
    udp_port: int
    unix_path: str
    abstract_name: str
    leaked_descriptor: int = -1
    """A descriptor on the secret file that the zygote inherited by mistake."""
    answer_descriptor: int = -1

    @property
    def secret(self) -> str:
        return os.path.join(self.home, "secret.txt")

    def victim(self, name: str) -> Path:
        """A planted file that belongs to the attempt ``name`` alone."""
        return Path(self.home, f"victim-{name}")

    def answer(self, evidence: str) -> None:
        """Report a success from where returning is impossible."""
        os.write(self.answer_descriptor, json.dumps({"evidence": evidence}).encode())


Attempt = Callable[[Bait], str]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One escape attempt.

    ``attempt`` returns evidence that it worked (the key itself when ``prize`` is set), or raises.
    """

    name: str
    family: str
    attempt: Attempt
    prize: bool = False
    """The evidence must be the planted key, letter by letter."""
    excuse: str = ""
    """Why it may fail without the jail too, on some machines or for an ordinary user."""
    deadline_s: float = 20.0
    """Wall time that the jail grants."""
    terminate: bool = False
    """The zygote sends SIGTERM as soon as the attempt says that it is ready."""
