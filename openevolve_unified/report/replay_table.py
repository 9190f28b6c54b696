"""Findings and replays as a person reads them: what was checked, and what agrees."""

from __future__ import annotations

import shlex

from openevolve_unified.report.console import Reporter
from openevolve_unified.validation.finding import Finding
from openevolve_unified.validation.prediction import JudgedPrediction
from openevolve_unified.validation.replay import Replayed


def print_finding(finding: Finding, reporter: Reporter) -> None:
    """Print what is in a new finding."""
    about = finding.about
    number = sum(len(runs) for runs in finding.runs.values())
    weights = len(finding.with_weights())
    reporter.say(f"finding {finding.folder}")
    reporter.say(f"  claim      {about.sentence}; {about.horizon}")
    reporter.say(
        f"  records    {number}: sizes {', '.join(about.sizes)}, seeds {_seeds(about.seeds)}"
    )
    reporter.say(f"  weights    of {weights} models, {about.weights_bytes / 1e6:.1f} MB")
    reporter.say(f"  text       {'goes along' if about.has_corpus else 'is not in it'}")
    for line in about.left_out:
        reporter.say(f"  left out   {line}")
    reporter.say(f"  manifest   {finding.manifest_hash}")
    where = shlex.quote(finding.folder.name)
    reporter.say(f"  judge it again, anywhere: openevolve-unified replay {where}")


def print_replay(finding: Finding, found: Replayed, reporter: Reporter) -> None:
    """Print every check, the losses of the weights, and the conclusion."""
    about = finding.about
    reporter.say(f"replay of {finding.folder.name} [{about.horizon}]: {about.sentence}")
    reporter.say(f"  {'bytes':<19} agrees       every file has the hash of the manifest")
    for check in found.checks:
        reporter.say(f"  {check.name:<19} {check.outcome:<12} {check.words}")
    _print_losses(finding, found, reporter)
    for row in found.retrained:
        trained = "none" if row.trained is None else f"{row.trained:.9f}"
        allowed = "" if row.allowed is None else f", seed noise {row.allowed:.6f}"
        reporter.say(
            f"  trained again: {row.arm} {row.size} seed {row.seed}: recorded "
            f"{row.recorded:.9f}, now {trained}: {row.how}{allowed}"
        )
    if found.agrees:
        reporter.say("  all that was checked agrees")
    else:
        reporter.say("  this finding does not agree with itself: do not believe its claim")


def print_prediction(judged: JudgedPrediction, reporter: Reporter) -> None:
    """Print a prediction beside what was measured."""
    foretold, measured = judged.foretold, judged.measured
    reporter.say(
        f"prediction of {foretold.size.name}, written {foretold.written_at}, seeds "
        f"{_seeds(foretold.seeds)}"
    )
    reporter.say("  what         predicted   95% interval            measured   judged")
    for name in foretold.predictions:
        prediction = foretold.prediction(name)
        low, high = prediction.interval95
        mean = None if measured is None else measured.means[name]
        inside = None if measured is None else measured.inside[name]
        judgement = {None: "not measured", True: "inside", False: "outside"}[inside]
        reporter.say(
            f"  {name:<12} {prediction.value:>9.4f}   {f'{low:.4f} to {high:.4f}':<22} "
            f"{'-' if mean is None else f'{mean:.4f}':>9}   {judgement} ({prediction.law})"
        )


def _print_losses(finding: Finding, found: Replayed, reporter: Reporter) -> None:
    total = sum(len(runs) for runs in finding.runs.values())
    models = {(row.arm, row.size, row.seed) for row in found.rescored}
    reporter.say(
        f"  {len(models)} of {total} models scored again, independently (nats per token)"
        + ("" if models else ": their weights are not in the finding; --retrain trains one again")
    )
    if models:
        reporter.say(
            "    arm       size      seed        split         recorded       scored   "
            "difference   tolerance"
        )
    for row in found.rescored:
        reporter.say(
            f"    {row.arm:<9} {row.size:<9} {row.seed:<11} {row.split:<10} {row.recorded:>11.7f} "
            f"{row.scored:>12.7f} {row.difference:>+12.1e} {row.tolerance:>11.0e}   "
            f"{'agrees' if row.agrees else 'DIFFERS'}"
        )


def _seeds(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))
