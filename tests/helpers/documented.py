"""Documentation as data: its fenced blocks, for the tests that run what it shows."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^```(\S*)[ \t]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OURS = ("openevolve", "openevolve-unified")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, and its text."""

    document: str
    language: str
    words: str
    text: str


def blocks(language: str) -> list[Block]:
    """Of every document, in order."""
    found = (
        Block(path.name, *match.groups())
        for path in DOCUMENTS
        for match in _FENCE.finditer(path.read_text())
    )
    return [block for block in found if block.language == language]


def commands() -> list[list[str]]:
    """Every call of a command of ours in fenced or indented blocks, as words."""
    found = []
    for path in DOCUMENTS:
        text = re.sub(r"\\\n\s*", "", path.read_text())
        fenced = [line for match in _FENCE.finditer(text) for line in match[3].splitlines()]
        indented = [line for line in _FENCE.sub("", text).splitlines() if line.startswith("    ")]
        for line in (*fenced, *indented):
            for part in re.split(r"&&|;", line):
                words = part.split()
                if words and words[0] in _OURS:
                    found.append(shlex.split(part, comments=True))
    return found
