"""``openevolve CONFIG``: the whole run."""

from __future__ import annotations

import argparse

from openevolve_unified import __version__
from openevolve_unified.cli.options import add_config
from openevolve_unified.errors import ConfigError
from openevolve_unified.signals import interruption


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="openevolve",
        description="Evolve an attention mechanism; fitness is minus the slope of its scaling law.",
        epilog="Start here: openevolve configs/quickstart.yaml (no API key, no GPU, no download). "
        "Without the configs: openevolve-unified init . copies them here.",
    )
    add_config(parser)
    parser.add_argument("--iterations", type=int, metavar="N", help="candidates to propose")
    parser.add_argument("--resume", action="store_true", help="continue the run in its folder")
    parser.add_argument(
        "--verbose", action="store_true", help="all that is known of every candidate, not one line"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s-unified {__version__}")
    return parser


def run(options: argparse.Namespace) -> int:
    """Plan, baseline, evolution, summary; the exit status."""
    from openevolve_unified.plugin.session import run_session

    interruption.unwind()
    return run_session(
        config=options.config,
        overrides=_overrides(options),
        output=options.output,
        resume=options.resume,
        is_verbose=options.verbose,
    )


def _overrides(options: argparse.Namespace) -> list[str]:
    overrides = list(options.overrides)
    if options.iterations is not None:
        if options.iterations < 1:
            raise ConfigError(f"--iterations: got {options.iterations}, wanted 1 or more")
        overrides.append(f"max_iterations={options.iterations}")
    return overrides
