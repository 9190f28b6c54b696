"""Documentation as data: its code blocks and inline code, for the tests that run what it shows."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
OURS = ("openevolve", "openevolve-unified")


@dataclass(frozen=True)
class Block:
    """One block of code: its document, its language, the words after it, and its text.

    Of an indented block the language is ``python`` if it is Python, else ``console``.
    """

    document: str
    language: str
    words: str
    text: str


@functools.cache
def every_block() -> tuple[Block, ...]:
    """Fenced and indented ones of every document, in order."""
    return tuple(_blocks())


def blocks(language: str) -> list[Block]:
    """Those in a language."""
    return [block for block in every_block() if block.language == language]


def inline_code() -> list[tuple[str, str]]:
    """The document and the text of every piece of code in a sentence or a table."""
    return [
        (path.name, child.content)
        for path, tokens in _parsed()
        for token in tokens
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def command_lines() -> list[list[str]]:
    """The words of every command."""
    found = []
    for block in (*blocks("console"), *blocks("bash")):
        text = re.sub(r"(^|\s)#.*", "", re.sub(r"\\\n\s*", "", block.text), flags=re.MULTILINE)
        for line in text.splitlines():
            for part in re.split(r"&&|;", line):
                words = shlex.split(part)
                if words:
                    found.append(words)
    return found


def commands() -> list[list[str]]:
    """Every call of a command of ours."""
    return [words for words in command_lines() if words[0] in OURS]


def _parsed() -> Iterator[tuple[Path, list[Token]]]:
    parser = MarkdownIt("commonmark").enable("table")
    for path in DOCUMENTS:
        yield path, parser.parse(path.read_text())


def _blocks() -> Iterator[Block]:
    for path, tokens in _parsed():
        for token in tokens:
            if token.type == "fence":
                language, _, words = token.info.strip().partition(" ")
                yield Block(path.name, language, words.strip(), token.content)
            elif token.type == "code_block":
                language = "python" if _is_python(token.content) else "console"
                yield Block(path.name, language, "", token.content)


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
