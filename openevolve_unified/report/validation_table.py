"""A validation as a person reads it: the plan, both arms, tests, criteria and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from openevolve_unified.records import TrainRun
from openevolve_unified.validation.registration import Registration
from openevolve_unified.validation.tuning import SETTINGS, Trial, Tuned
from openevolve_unified.validation.validate import Validation


def plan_lines(registration: Registration) -> list[str]:
    """What is registered, before anything is trained."""
    plan = registration.plan
    tuning, seeds = plan["tuning"], plan["seeds"]
    trials = (
        "none"
        if tuning["mode"] == "none"
        else f"{tuning['num_trials']} trials, the best {tuning['num_finalists']} of them at "
        f"{1 + len(seeds['finalists of the tuning'])} seeds, for {' and '.join(tuning['arms'])}"
    )
    lines = [
        f"registered {registration.registered_at}, {registration.hash[:12]} [{plan['horizon']}]",
        f"  pairs     {len(seeds['pairs'])} seeds: {_ranges(seeds['pairs'])}",
        f"  tuning    {trials} ({tuning['mode']})",
        f"  primary   {', '.join(plan['tests']['primary'])}; {plan['tests']['correction']}",
        f"  power     {registration.power['sentence']}",
    ]
    return lines + deviation_lines(registration)


def deviation_lines(registration: Registration) -> list[str]:
    """Every declared change of the plan."""
    return [
        f"  deviation {deviation.text} [{'; '.join(deviation.changed)}]"
        for deviation in registration.deviations
    ]


def validation_lines(validation: Validation) -> list[str]:
    """The outcome."""
    judgement, record = validation.judgement, validation.record
    lines = [f"validation [{record['horizon']}]", *_tuning_lines(validation.tuned)]
    lines += _loss_lines(validation.runs, list(record["arms"]["standard"]["sizes"]))
    lines.append("  estimate               gain      95% interval")
    lines += [
        f"  {e.name:<20} {e.value:>+8.4f}  {e.ci95[0]:+.4f} to {e.ci95[1]:+.4f}  {e.unit}"
        for e in judgement.estimates
    ]
    lines.append("  test                 p          after Holm")
    lines += [
        f"  {t.name:<20} {t.p:<10.3g} {t.p_holm:<10.3g} {_role(t.is_primary)}"
        for t in judgement.tests
    ]
    lines.append("  criterion")
    lines += [
        f"  {'met    ' if c.is_met else 'not met'} {c.name}: {c.evidence}"
        + (" (for strong)" if c.is_for_strong else "")
        for c in judgement.criteria_met
    ]
    lines += deviation_lines(validation.registration)
    return [*lines, judgement.sentence]


def validation_markdown(validation: Validation) -> str:
    """The same for a file."""
    text = "\n".join([*plan_lines(validation.registration), "", *validation_lines(validation)])
    return f"# Validation\n\n```\n{text}\n```\n"


def _tuning_lines(tuned: Tuned) -> list[str]:
    lines = []
    for name, trials in tuned.trials.items():
        lines.append(f"  tuning of {name}: loss by learning rate, finalists at all their seeds")
        lines += [_trial_line(trial) for trial in sorted(trials, key=lambda t: t.learning_rate)]
    for name, training in tuned.trainings.items():
        chosen = ", ".join(f"{key} {getattr(training, key):.4g}" for key in SETTINGS)
        lines.append(f"  {name:<9} trains with {chosen}")
    if tuned.note is not None:
        lines.append(f"  note: {tuned.note}")
    return lines


def _role(is_primary: bool) -> str:
    return "primary" if is_primary else "secondary"


def _trial_line(trial: Trial) -> str:
    losses = " ".join(map(_loss, trial.losses_nats))
    return (
        f"    {trial.learning_rate:<9.3g} {losses:<20}   warm-up {trial.warmup_steps}, weight "
        f"decay {trial.weight_decay:.3g}, batch {trial.batch_size}"
    )


def _loss(loss_nats: float | None) -> str:
    return "failed" if loss_nats is None else f"{loss_nats:.4f}"


def _loss_lines(runs: Mapping[Any, Sequence[Sequence[TrainRun]]], sizes: list[str]) -> list[str]:
    """Mean losses over the pairs, with the standard deviation over seeds, and what failed."""
    lines = ["  size       standard            evolved             nats per token, sd over seeds"]
    for column, size in enumerate(sizes):
        cells = []
        for rows in runs.values():
            losses = [row[column].final_loss_nats for row in rows]
            cells.append(_mean([loss for loss in losses if loss is not None]))
        lines.append(f"  {size:<10} {cells[0]:<19} {cells[1]}")
    for name, rows in runs.items():
        for row in rows:
            for run, size in zip(row, sizes, strict=True):
                if run.status != "finished":
                    why = run.rejection or f"not finite at step {run.step}"
                    lines.append(f"  failed    {name}, seed {run.seed}, {size}: {why}")
    return lines


def _mean(losses: Sequence[float]) -> str:
    if not losses:
        return "all failed"
    mean = math.fsum(losses) / len(losses)
    if len(losses) < 2:
        return f"{mean:.4f}"
    spread = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses) / (len(losses) - 1))
    return f"{mean:.4f} (sd {spread:.4f})"


def _ranges(seeds: Sequence[int]) -> str:
    if list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
