"""Parsers as all commands have them: help that says defaults and exit statuses, and completion."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified import exits

SHELLS = ("bash", "zsh")


class HelpFormatter(argparse.HelpFormatter):
    """Keeps paragraphs apart and indented lines as they are, and says every default."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for line in text.splitlines():
            kept = line.startswith(" ") or not line
            lines += [line] if kept else textwrap.wrap(line, width)
        return "\n".join(indent + line for line in lines)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_told = action.default in (None, False, []) or "default" in (action.help or "")
        if is_told or not action.option_strings or action.default is argparse.SUPPRESS:
            return action.help
        return f"{action.help} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """A parser whose help ends with the exit statuses.

    An ``epilog`` shows an example: lines that begin with blanks are printed as they are.
    """

    def __init__(self, **kwargs: Any):
        parts = (kwargs.pop("epilog", None), f"exit status: {exits.TEXT}")
        kwargs.setdefault("formatter_class", HelpFormatter)
        super().__init__(epilog="\n\n".join(filter(None, parts)), **kwargs)


class PrintCompletion(argparse.Action):
    """``--print-completion SHELL``: the script that completes commands, options and paths."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        import shtab  # here: nothing else of the commands needs it

        for action in _actions(parser):
            if action.type is path_of:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit(exits.DONE)


def add_completion(parser: argparse.ArgumentParser) -> None:
    """``--print-completion``."""
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        help="print the shell's completion script, and exit",
    )


def path_of(text: str) -> Path:
    """The type of an argument that is a path: an empty one would mean the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a path (. is the working folder)")
    return Path(text)


def example(words: str) -> str:
    """The epilog that shows how a command is used."""
    return f"example:\n\n  openevolve-unified {words}"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Everything that the parser and those of its commands take."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
