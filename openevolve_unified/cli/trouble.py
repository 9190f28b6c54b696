"""Trouble of the machine: what a command says when that, and not the program, is the cause."""

from __future__ import annotations

import sys

from openevolve_unified import exits


def not_judged(reason: str) -> int:
    """Print the one line; the exit status."""
    print(f"error: not judged: {reason}", file=sys.stderr)
    return exits.WRONG
