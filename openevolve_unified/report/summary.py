"""The end of a run in a few honest lines: best program, uncertainty, baseline, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.evaluation.confirmation import Confirmed
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.records import told_energy, total_joules
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.diversity_table import diversity_lines
from openevolve_unified.report.judges_table import better_everywhere, summary_lines
from openevolve_unified.report.plan_table import time_against_plan, told_rounding
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.diversity import search_diversity
from openevolve_unified.runs.history import best_entry
from openevolve_unified.runs.plan_file import read_plan
from openevolve_unified.runs.proposals import ProposalLog, count_lines

MAX_DIFF_LINES = 24


def print_summary(
    experiment: Experiment,
    directory: RunDirectory,
    initial: dict[str, Any],
    confirmed: Confirmed | None,
    reporter: Reporter,
) -> None:
    """Print what the run found.

    Args:
        initial: the baseline's entry of the history.
        confirmed: what fresh seeds say of the best; None when nothing was confirmed.
    """
    entries = directory.history()
    best = best_entry(entries) or initial
    proposals = ProposalLog(directory.path).proposals
    reporter.say()
    reporter.say(f"summary [{initial['horizon']}]")
    for heading, text in count_lines(proposals):
        reporter.say(f"  {heading:<12} {text}")
    if experiment.uses_grammar_only:
        reporter.say("  proposer     the embedded grammar: a non-LLM control arm")
    rounded = told_rounding(read_plan(directory.path).get("mechanism_precision", "float32"))
    if rounded:
        reporter.say(f"  precision    {rounded}")
    reporter.say(f"  baseline     {_fitness(initial)}")
    reporter.say(f"  best         {_fitness(best)}  (programs/{best['file']})")
    reporter.say(f"  difference   {difference_line(best, initial)}")
    reporter.say(f"  confirmed    {_confirmed_line(best, initial, confirmed)}")
    _print_losses(best, initial, reporter)
    for number, line in enumerate(best.get("health", "").splitlines()):
        reporter.say(f"  {'' if number else 'health':<12} {line}")
    dominating = better_everywhere(entries)
    if dominating is not None:
        reporter.say(f"  every size   {dominating}")
    _print_changes(directory, best, initial, reporter)
    raced = race_line(entries, initial)
    if raced is not None:
        reporter.say(f"  race         {raced}")
    for number, line in enumerate(diversity_lines(search_diversity(initial, entries, proposals))):
        reporter.say(f"  {'' if number else 'diversity':<12} {line}")
    time = time_against_plan(directory.path, entries, initial)
    if time is not None:
        reporter.say(f"  time         {time}")
    reporter.say(f"  energy       {_energy_line(entries)}")
    reporter.say(f"  files        {directory.path}")
    reporter.say(
        "               best_code.py, confirmation.json, diversity.json, fitness_history.json, "
        "proposals.json, programs/, checkpoints/, logs/"
    )


def race_line(entries: Sequence[dict[str, Any]], initial: dict[str, Any]) -> str | None:
    """What the race saved; None where it stopped nobody."""
    saved = [entry["saved_share"] for entry in entries if entry["verdict"] == "stopped"]
    trained = [entry for entry in entries if entry["verdict"] == "trained"]
    num_candidates = len(saved) + sum(entry["program"] != initial["program"] for entry in trained)
    if not saved:
        return None
    return (
        f"{len(saved)} of {num_candidates} candidates were stopped early: "
        f"{sum(saved) / num_candidates:.0%} of the steps of their first trainings were saved"
    )


def difference_line(best: dict[str, Any], initial: dict[str, Any]) -> str:
    """The best score less the initial one with its error, and what that says to the search."""
    if best["program"] == initial["program"]:
        return "none: no candidate is ahead of the initial program by more than the error"
    found = compare(Standing.of_entry(best), Standing.of_entry(initial))
    text = f"score {found.estimate.short}"
    margin = "the error over seeds of both"
    if found.stderr is None:
        margin = "the lack of fit of both, which is no error"
    if found.is_better:
        return f"{text}: ahead by more than {margin}"
    return f"{text}: not ahead by more than {margin}"


def _confirmed_line(
    best: dict[str, Any], initial: dict[str, Any], confirmed: Confirmed | None
) -> str:
    """Only a confirmed winner is called improved."""
    if confirmed is not None:
        return str(confirmed)
    if best["program"] == initial["program"]:
        return "nothing: there is no winner"
    return "no: the best was not trained at fresh seeds, so nothing is called improved"


def _energy_line(entries: Sequence[dict[str, Any]]) -> str:
    told = [entry.get("energy_joules") for entry in entries if entry["verdict"] == "trained"]
    programs = f"{len(told)} program{'' if len(told) == 1 else 's'}"
    return f"{told_energy(total_joules(told))} (training of {programs} at the search seeds)"


def _fitness(entry: dict[str, Any]) -> str:
    text = f"lack of fit {entry['lack_of_fit']:.4f}, R2 {entry['r2']:.3f}"
    told = entry.get("told_score")
    return text if told is None else f"{told}; {text}"


def _print_losses(best: dict[str, Any], initial: dict[str, Any], reporter: Reporter) -> None:
    for number, line in enumerate(summary_lines(best, initial)):
        reporter.say(f"  {'' if number else 'losses':<12} {line}")


def _print_changes(
    directory: RunDirectory, best: dict[str, Any], initial: dict[str, Any], reporter: Reporter
) -> None:
    if best["program"] == initial["program"]:
        return
    lines = directory.best_diff_path.read_text(encoding="utf-8").splitlines()
    reporter.say(f"  changed      {len(lines)} lines of diff, whole in best_code.diff")
    for line in lines[:MAX_DIFF_LINES]:
        reporter.say(f"               {line}")
    if len(lines) > MAX_DIFF_LINES:
        reporter.say("               ...")
