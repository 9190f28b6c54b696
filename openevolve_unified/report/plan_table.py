"""The plan as a person reads it: before anything is spent, and against what was spent."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openevolve_unified.calibration.noise_record import MeasuredNoise
from openevolve_unified.calibration.noise_summary import summarise
from openevolve_unified.config.experiment import Experiment
from openevolve_unified.evaluation.plan import Plan
from openevolve_unified.report.console import Reporter, format_duration
from openevolve_unified.runs.plan_file import planned_candidate_s


def print_plan(
    plan: Plan, experiment: Experiment, noise: MeasuredNoise | None, reporter: Reporter
) -> None:
    """Print sizes, parameters, operations, tokens, memory, time, cost, and what can be told apart.

    Args:
        noise: of this configuration, as it is stored; None when it was not measured.
    """
    law = experiment.scaling_law
    training = law.training
    rounded = told_rounding(plan.mechanism_precision)
    reporter.say(f"plan for {experiment.path.name}: {law.framework}, {training.horizon}")
    reporter.say(
        f"  data      {law.data.source}: {plan.train_sequences:,} training sequences of "
        f"{law.data.seq_len} tokens, vocabulary {law.data.vocab_size:,}"
    )
    reporter.say(
        f"  training  batch {training.batch_size}, {len(training.seeds)} seed(s), "
        f"{plan.tokens_per_model / 1e6:,.1f}M tokens per model, {plan.precision} on {plan.device}, "
        f"{plan.num_workers} at a time{'; ' if rounded else ''}{rounded}"
    )
    reporter.say(
        "  size      non-embedding       total      FLOPs    memory       step        one model"
    )
    for size in plan.sizes:
        reporter.say(
            f"  {size.size.name:<9} {size.num_params_non_embedding:>13,} "
            f"{size.num_params_total:>11,}  {size.flops:>9.2e}  {size.memory_bytes / 1e9:>5.2f} GB"
            f"  {1e3 * size.step_s:>7.1f} ms  {format_duration(size.job_s)}"
        )
    of = "" if plan.available_bytes is None else f" of {plan.available_bytes / 1e9:.1f} GB left"
    reporter.say(
        f"  memory    at most about {plan.memory_bytes / 1e9:.1f} GB{of} "
        f"(estimated, {plan.workers_per_device} largest at once)"
    )
    count = experiment.iterations
    evolution_s = plan.evolution_s(count)
    reporter.say(
        f"  time      about {format_duration(plan.candidate_s)} per candidate, "
        f"{format_duration(evolution_s)} for the initial program and "
        f"{count} candidate{'' if count == 1 else 's'} (estimated from a few measured steps)"
    )
    candidate_cost, evolution_cost = plan.cost(plan.candidate_s), plan.cost(evolution_s)
    if candidate_cost is not None and evolution_cost is not None:
        reporter.say(
            f"  cost      about {candidate_cost:,.2f} per candidate, {evolution_cost:,.2f} in all, "
            f"at {plan.price_per_hour:,.2f} per hour"
        )
    reporter.say(f"  noise     {_noise_line(plan, experiment, noise)}")


def told_rounding(mechanism_precision: str) -> str:
    """What the products of mechanisms are rounded to in training; empty for float32."""
    if mechanism_precision == "float32":
        return ""
    return f"products of mechanisms in {mechanism_precision}, checked in float32"


def _noise_line(plan: Plan, experiment: Experiment, noise: MeasuredNoise | None) -> str:
    """The stored floor, or what is done about none."""
    wanted = experiment.scaling_law.noise
    command = f"openevolve-unified noise {shlex.quote(str(experiment.path))}"
    is_missing = noise is None or (wanted.mode == "measure" and not noise.is_enough(wanted))
    if noise is not None and not is_missing:
        return summarise(noise).sentence
    if wanted.mode == "measure":
        num_trained = wanted.num_seeds * (2 if wanted.twin else 1)
        # The run would train the initial program at its own seeds anyway.
        extra_s = max(0.0, plan.seeds_s(num_trained) - plan.candidate_s)
        twin = " and its rounding twin" if wanted.twin else ""
        return (
            f"measured first, by the initial program{twin} at {wanted.num_seeds} seeds: about "
            f"{format_duration(extra_s)} more, once for this configuration"
        )
    if wanted.mode == "stored":
        return f"none is stored, and without it this run is refused; measure it: {command}"
    return f"not measured: the error of a single seed is unknown; measure it: {command}"


def time_against_plan(
    run_path: Path, entries: Sequence[dict[str, Any]], initial: dict[str, Any]
) -> str | None:
    """The seconds of the programs that this run trained against the planned ones.

    Args:
        entries: of the run's history.
        initial: the entry of the initial program as it was when it had just been scored; OpenEvolve
            asks for it again, and it is then one that was known already.

    Returns:
        None where there is no plan, or nothing was trained that was not known already.
    """
    planned_s = planned_candidate_s(run_path)
    later = [entry for entry in entries if entry["program"] != initial["program"]]
    fresh = [entry for entry in (initial, *later) if not entry.get("cached", True)]
    if planned_s is None or not fresh:
        return None
    took_s, promised_s = sum(entry["duration_s"] for entry in fresh), planned_s * len(fresh)
    programs = f"{len(fresh)} program{'' if len(fresh) == 1 else 's'}"
    return (
        f"{format_duration(took_s)} for {programs}, checks included; planned "
        f"{format_duration(promised_s)} ({took_s / max(promised_s, 1e-9):.1f} times that)"
    )
