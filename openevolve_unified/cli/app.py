"""The commands ``openevolve`` and ``openevolve-unified``; ``exits`` has their statuses.

With ``--json`` the last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from openevolve_unified import __version__, exits
from openevolve_unified.cli import (
    ablate,
    bench,
    check,
    compare,
    control,
    doctor,
    ensemble,
    evaluate,
    evaluator_path,
    evolve,
    finding,
    horizon,
    init,
    noise,
    plan,
    rank,
    record,
    redteam,
    replay,
    report,
    validate,
    watch,
)
from openevolve_unified.cli.parsing import CommandParser, add_completion
from openevolve_unified.errors import ConfigError, MachineError, shortage
from openevolve_unified.execution.open_files import require_open_files
from openevolve_unified.signals import KEPT, interruption

COMMANDS = (
    *(check, evaluate, plan, noise, rank, control),
    *(validate, ablate, compare, ensemble, record, horizon, finding, replay),
    *(watch, report, redteam, bench, doctor, init, evaluator_path),
)
"""Modules with ``add(commands)``, which adds the command's parser and sets its ``run``."""


def evolve_main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``openevolve``."""
    options = evolve.parser().parse_args(arguments)
    return _guarded(lambda: evolve.run(options))


def parser() -> argparse.ArgumentParser:
    """What ``openevolve-unified`` takes."""
    parser = CommandParser(
        prog="openevolve-unified",
        description="Check and score attention programs; `openevolve CONFIG` evolves them.",
        epilog="`openevolve-unified COMMAND --help` says what a command does. Completion:\n\n"
        '  eval "$(openevolve-unified --print-completion bash)"',
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add_completion(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``openevolve-unified``."""
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return _guarded(lambda: run(options), is_kept=options.command not in ("bench", "doctor"))


def _guarded(command: Callable[[], int], is_kept: bool = True) -> int:
    """Run a command; a wrong set-up, a machine that fails and Ctrl-C are one line each, a bug is a
    traceback.

    Args:
        is_kept: whether what an interrupted command has finished is found by the next one.
    """
    interruption.begin(KEPT if is_kept else "interrupted: nothing was written")
    try:
        require_open_files()
        return command()
    except (ConfigError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return exits.WRONG
    except BrokenPipeError:
        sys.stderr.close()
        return exits.DONE
    except OSError as error:
        lacking = shortage(error)
        if lacking is None:
            raise
        print(f"error: {lacking}", file=sys.stderr)
        return exits.WRONG
    except KeyboardInterrupt:
        print(interruption.last_line, file=sys.stderr)
        return exits.INTERRUPTED
    finally:
        interruption.begin(interruption.last_line)  # what is left to do prints no traceback either


if __name__ == "__main__":
    sys.exit(main())
