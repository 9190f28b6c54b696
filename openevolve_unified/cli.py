"""The commands ``openevolve CONFIG`` and ``openevolve-unified COMMAND``.

Exit status: 0 done (for ``check``: accepted), 1 the candidate was rejected, 2 the command or its
configuration is wrong, or the machine could not finish (one clear line), 130 interrupted. With
``--json`` the last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openevolve_unified import __version__
from openevolve_unified.errors import CandidateError, ConfigError, MachineError, shortage
from openevolve_unified.execution.open_files import require_open_files
from openevolve_unified.signals import EXIT_INTERRUPTED, KEPT, interruption

EXIT_DONE, EXIT_REJECTED, EXIT_WRONG = 0, 1, 2


def evolve_main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``openevolve``."""
    parser = argparse.ArgumentParser(
        prog="openevolve",
        description="Evolve an attention mechanism; fitness is minus the slope of its scaling law.",
        epilog="Start here: openevolve configs/quickstart.yaml (no API key, no GPU, no download). "
        "Without the configs: openevolve-unified init . copies them here.",
    )
    _add_config(parser, positional=True)
    parser.add_argument("--iterations", type=int, metavar="N", help="candidates to propose")
    parser.add_argument("--resume", action="store_true", help="continue the run in its folder")
    parser.add_argument("--version", action="version", version=f"%(prog)s-unified {__version__}")
    options = parser.parse_args(arguments)
    return _guarded(lambda: _evolve(options))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``openevolve-unified``."""
    parser = argparse.ArgumentParser(
        prog="openevolve-unified",
        description="Check and score attention programs; `openevolve CONFIG` evolves them.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="is this program legal, and why not?")
    evaluate = commands.add_parser("evaluate", help="the fitness of a program, with artifacts")
    for command in (check, evaluate):
        command.add_argument("program", type=Path, help="a candidate program (.py)")
        _add_config(command, positional=False)
        command.add_argument("--json", action="store_true", help="print one JSON object last")
    check.set_defaults(run=_check)
    evaluate.set_defaults(run=_evaluate)

    plan = commands.add_parser("plan", help="parameters, tokens and hours, before spending them")
    _add_config(plan, positional=True)
    plan.set_defaults(run=_plan)

    redteam = commands.add_parser(
        "redteam", help="run the shipped cheats and escapes: caught or missed, by what and why"
    )
    redteam.add_argument("--config", type=Path, required=True, help="configuration file (.yaml)")
    _add_settings(redteam)
    redteam.add_argument("--json", action="store_true", help="print one JSON object last")
    redteam.set_defaults(run=_redteam)

    bench = commands.add_parser(
        "bench", help="speed, memory and growth here, against the machine's limits and a plain loop"
    )
    bench.add_argument("--config", type=Path, required=True, help="configuration file (.yaml)")
    _add_overrides(bench)
    bench.add_argument("--quick", action="store_true", help="about a minute, and rough")
    bench.add_argument("--json", action="store_true", help="print one JSON object last")
    bench.add_argument("--markdown", action="store_true", help="print tables for a README")
    bench.add_argument("--output", type=Path, metavar="FILE", help="also write the JSON report")
    bench.set_defaults(run=_bench)

    init = commands.add_parser("init", help="copy the shipped configs and programs into a folder")
    init.add_argument("directory", type=Path, help="where to put them, for example .")
    init.set_defaults(run=_init)

    path = commands.add_parser("evaluator-path", help="the evaluation file for openevolve-run")
    path.set_defaults(run=_evaluator_path)

    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return _guarded(lambda: run(options), is_kept=options.command != "bench")


def _add_config(parser: argparse.ArgumentParser, positional: bool) -> None:
    if positional:
        parser.add_argument("config", type=Path, help="a configuration file (.yaml)")
    else:
        parser.add_argument("--config", type=Path, required=True, help="configuration file (.yaml)")
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="DIR", help="replaces the output folder")
    _add_overrides(parser)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one setting, for example scaling_law.training.training_steps=1000 "
        "(repeatable; text is taken as it is, any other value is read as YAML)",
    )
    parser.add_argument(
        "--allow-degraded-isolation",
        action="append_const",
        dest="overrides",
        const="scaling_law.execution.allow_degraded_isolation=true",
        help="trace a language model's programs although this machine cannot confine them fully",
    )


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
        return EXIT_WRONG
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE
    except OSError as error:
        lacking = shortage(error)
        if lacking is None:
            raise
        print(f"error: {lacking}", file=sys.stderr)
        return EXIT_WRONG
    except KeyboardInterrupt:
        print(interruption.last_line, file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        interruption.begin(interruption.last_line)  # what is left to do prints no traceback either


def _evolve(options: argparse.Namespace) -> int:
    from openevolve_unified.plugin.session import run_session

    interruption.unwind()
    return run_session(
        config=options.config,
        overrides=_overrides(options),
        output=options.output,
        resume=options.resume,
    )


def _overrides(options: argparse.Namespace) -> list[str]:
    overrides = list(options.overrides)
    if options.iterations is not None:
        if options.iterations < 1:
            raise ConfigError(f"--iterations: got {options.iterations}, wanted 1 or more")
        overrides.append(f"max_iterations={options.iterations}")
    return overrides


def _check(options: argparse.Namespace) -> int:
    report: dict[str, Any] = {
        "accepted": True,
        "stage": None,
        "reason": None,
        "machine_trouble": False,
    }
    trouble: MachineError | None = None
    with _evaluator(options) as evaluator:
        try:
            checked = evaluator.pipeline.check(_read_program(options.program))
        except CandidateError as error:
            report.update(accepted=False, stage=error.stage, reason=error.reason)
            print(f"rejected at '{error.stage}': {error.reason}")
        except MachineError as error:
            trouble = error
            report.update(accepted=None, stage=error.stage, reason=str(error), machine_trouble=True)
        else:
            report.update(
                fingerprint=checked.fingerprint, features=checked.features, **checked.evidence
            )
            print(f"accepted: {options.program}")
            for name, value in checked.features.items():
                print(f"  {name}: {value:.4g}")
            print(f"  isolation: {checked.evidence['isolation']['level']}")
    if options.json:
        print(json.dumps(report))
    if trouble is not None:
        return _not_judged(str(trouble))
    return EXIT_DONE if report["accepted"] else EXIT_REJECTED


def _evaluate(options: argparse.Namespace) -> int:
    from openevolve_unified.records import Failure

    _read_program(options.program)
    with _evaluator(options) as evaluator:
        verdict = evaluator.judge(options.program)
        result = evaluator.as_openevolve(verdict)
    is_trouble = isinstance(verdict, Failure) and verdict.is_machine_trouble
    if not is_trouble:
        print("\n".join(str(text) for text in result.artifacts.values()))
    if options.json:
        report = {
            "metrics": result.metrics,
            "artifacts": result.artifacts,
            "machine_trouble": is_trouble,
        }
        print(json.dumps(report))
    if isinstance(verdict, Failure) and is_trouble:
        return _not_judged(verdict.reason)
    return EXIT_DONE if result.metrics["trained"] else EXIT_REJECTED


def _not_judged(reason: str) -> int:
    print(f"error: not judged: {reason}", file=sys.stderr)
    return EXIT_WRONG


def _plan(options: argparse.Namespace) -> int:
    from openevolve_unified.report.console import Reporter
    from openevolve_unified.report.plan_table import print_plan

    with _evaluator(options) as evaluator:
        print_plan(evaluator.plan(), evaluator.experiment, Reporter())
    return EXIT_DONE


def _redteam(options: argparse.Namespace) -> int:
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.redteam.command import red_team_command
    from openevolve_unified.runs.templates import template_dir

    def initial_source(framework: str) -> str:
        path = template_dir() / "initial_programs" / f"{framework}.py"
        return path.read_text(encoding="utf-8")

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    return red_team_command(
        experiment.scaling_law,
        initial_source,
        experiment.base_dir,
        lambda event: None,
        lambda line: print(line, flush=True),
        options.json,
    )


def _bench(options: argparse.Namespace) -> int:
    from openevolve_unified.bench.command import run_bench
    from openevolve_unified.bench.table import as_markdown, as_text
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plain.canonical import to_plain

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides)
    if options.output is not None:
        _write(options.output, "")  # before minutes are spent on what could not be kept
    try:
        report = run_bench(
            experiment.scaling_law,
            experiment.initial_program.read_text(encoding="utf-8"),
            experiment.base_dir,
            experiment.path.name,
            options.quick,
            lambda line: print(line, file=sys.stderr, flush=True),
        )
    except CandidateError as error:
        raise ConfigError(
            f"scaling_law.initial_program is refused at stage '{error.stage}': {error.reason}"
        ) from None
    print(as_markdown(report) if options.markdown else as_text(report))
    text = json.dumps(to_plain(report))
    if options.output is not None:
        _write(options.output, text + "\n")
    if options.json:
        print(text)
    return EXIT_DONE


def _init(options: argparse.Namespace) -> int:
    from openevolve_unified.runs.templates import copy_templates

    written, kept = copy_templates(options.directory)
    for path in written:
        print(f"wrote {path}")
    if kept:
        print(
            f"kept as they were: {', '.join(map(str, kept))}; for fresh copies, move or delete "
            "them and run init again"
        )
    print(f"next: openevolve {options.directory / 'configs' / 'quickstart.yaml'}")
    return EXIT_DONE


def _evaluator_path(options: argparse.Namespace) -> int:
    from openevolve_unified.plugin.native import EVALUATOR_PATH

    print(EVALUATOR_PATH)
    return EXIT_DONE


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror})") from None


def _read_program(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such program file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read as text ({reason})") from None


def _evaluator(options: argparse.Namespace) -> Any:
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.report.console import Reporter, Terminal

    interruption.unwind()
    experiment = load_experiment(options.config, options.overrides, options.output)
    reporter = Reporter(Terminal(stderr=True))
    reporter.start_candidate(getattr(options, "program", options.config).name)
    return ScalingLawEvaluator(config=experiment, listener=reporter)


if __name__ == "__main__":
    sys.exit(main())
