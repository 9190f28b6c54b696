"""Feedback: what a proposer reads of a verdict, in a few lines; no difference without its error."""

from __future__ import annotations

from openevolve_unified.config.fitness import FitnessKind
from openevolve_unified.config.names import FAILURE_SCORE
from openevolve_unified.judgement.diagnostics import told_diagnostics
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.fitness import lack_of_fit
from openevolve_unified.judgement.health import told_health
from openevolve_unified.judgement.judges import Judges, judge
from openevolve_unified.judgement.overfit import told_overfit
from openevolve_unified.judgement.shared_seeds import on_shared_seeds
from openevolve_unified.records import Evaluation, Failure, Score

NOT_JUDGED_STAGE, NOT_JUDGED_REASON = "not_judged_at", "not_judged_because"
"""Artifacts of what the machine could not finish; OpenEvolve needs a number: a failure's."""
FITNESS_WORDS: dict[FitnessKind, str] = {
    "slope": "minus the slope of loss over ln N",
    "predicted_loss": "minus the loss predicted beyond the ladder",
    "largest_loss": "minus the loss at the largest size",
}


def artifacts(result: Evaluation | Failure, judges: Judges | None = None) -> dict[str, str]:
    """Feedback for the proposer: what happened, in a few lines of text.

    Args:
        judges: of ``result``; None: without a noise floor.
    """
    if isinstance(result, Failure) and result.is_machine_trouble:
        return {
            "verdict": f"NOT JUDGED: the machine failed at the stage '{result.stage}'",
            NOT_JUDGED_STAGE: result.stage,
            NOT_JUDGED_REASON: result.reason,
        }
    if isinstance(result, Failure) and result.stopped_early is not None:
        return {
            "verdict": "STOPPED EARLY: it trailed the best program so far, and was not trained to "
            "the end; its score is a place below all that were, not a measurement",
            "stopped_because": result.reason,
        }
    if isinstance(result, Failure):
        return {
            "verdict": f"REJECTED at the stage '{result.stage}'; score {FAILURE_SCORE:.0f}",
            "rejected_because": result.reason,
        }
    judges = judges or judge(result)
    overfit = {} if result.overfit is None else {"by_heart": told_overfit(result.overfit)}
    return {
        "verdict": _verdict(result, judges),
        "losses_per_size": loss_table(result, judges),
        "scaling_line": line_text(judges),
        "noise": noise_text(judges),
        **overfit,
        "health": told_health(result.sizes),
        "diagnostics": told_diagnostics(result.sizes, result.recall),
        "horizon": f"{result.horizon}; slopes of different horizons cannot be compared",
    }


def loss_table(evaluation: Evaluation, judges: Judges) -> str:
    """One line per size, and one for the size beyond: parameters, loss, distance to the baseline
    with its error over seeds, and what that says; nats per token.

    Of the seeds that were trained with both, where there is a baseline.
    """
    sizes, baseline = evaluation.sizes, evaluation.baseline
    if baseline:
        sizes, baseline = on_shared_seeds(sizes, baseline)
    lines = ["size      non-embedding params   loss     baseline   difference"]
    for index, size in enumerate(sizes):
        line = f"{size.size.name:<9} {size.num_params_non_embedding:>20,}   "
        line += f"{size.mean_loss_nats:.4f}"
        if baseline and judges.paired is not None:
            line += f"   {baseline[index].mean_loss_nats:.4f}     {judges.paired.sizes[index]}"
            line += f": {judges.paired.standings[index]}"
        lines.append(line)
    if judges.predicted_loss is not None:
        line = (
            f"{'predicted':<9} {judges.target_params:>20,.0f}   {judges.predicted_loss.value:.4f}"
        )
        if judges.predicted_difference is not None:
            line += f"   {'':<8}   {judges.predicted_difference}"
        lines.append(line)
    lines.append(f"errors of these losses over seeds, from top to bottom: {_loss_errors(judges)}")
    return "\n".join(lines)


def _loss_errors(judges: Judges) -> str:
    """The error of every loss of the program itself, in the order of the sizes."""
    losses = [*judges.losses, *([judges.predicted_loss] if judges.predicted_loss else [])]
    if not losses or any(loss.stderr is None for loss in losses):
        return "one seed: unknown error"
    freedom = min(loss.degrees_of_freedom or 0.0 for loss in losses)
    shown = ", ".join(f"+- {loss.stderr:.4f}" for loss in losses)
    return f"{shown} ({freedom:.1f} degrees of freedom)".replace(".0 degrees", " degrees")


def dominance_text(judges: Judges) -> str:
    """Whether the program is better than the baseline at every size, in one sentence."""
    if judges.paired is None:
        return "it is the baseline"
    standings = judges.paired.standings
    if judges.dominance == "better":
        return "BETTER THAN THE BASELINE AT EVERY SIZE, beyond noise"
    if judges.dominance == "unknown":
        return "against the baseline: unknown (one seed, and the noise was not measured)"
    counts = [
        f"{words} at {standings.count(standing)}"
        for standing, words in (
            ("better", "better"),
            ("equal", "not told apart"),
            ("worse", "worse"),
        )
        if standing in standings
    ]
    return f"against the baseline: {', '.join(counts)} of {len(standings)} sizes, beyond noise"


def line_text(judges: Judges) -> str:
    """The slope, its error, and how far the line can be trusted."""
    text = f"slope {judges.slope}; over total parameters {judges.slope_total}"
    if judges.paired is not None:
        text += f"; slope less the baseline's {judges.paired.slope}"
    predicted = judges.predicted_loss
    if predicted is not None and predicted.ci95 is not None:
        low, high = predicted.ci95
        text += (
            f"\nthe line foretells {predicted} nats at {judges.target_params:,.0f} "
            f"parameters (95%: {low:.4f} to {high:.4f}), if it stays straight"
        )
    if judges.leave_one_out is not None:
        text += (
            f"\nleft out and foretold by the others, a size is missed by "
            f"{judges.leave_one_out.rms_nats:.4f} nats (rms), the largest by "
            f"{judges.leave_one_out.largest_nats:+.4f}"
        )
    return f"{text}\npower law {judges.power_law_text}"


def noise_text(judges: Judges) -> str:
    """Which differences are known to be noise."""
    found = judges.resolution
    if found is None:
        return (
            "not measured: how far a loss moves from seed to seed is unknown, so no difference "
            "between programs of one seed is evidence"
        )
    seeds = f"{found.num_seeds} seed{'' if found.num_seeds == 1 else 's'}"
    return (
        f"with {seeds}, differences to another program below {found.slope:.4f} in slope, "
        f"{found.largest_loss_nats:.4f} nats at the largest size and "
        f"{found.predicted_loss_nats:.4f} nats at the predicted one are not told from noise "
        "(5% false alarms, 80% power)"
    )


def told_score(score: Score, num_seeds: int) -> str:
    """The score with its error over seeds and how far it was shrunk, for people and proposers."""
    plural = "" if num_seeds == 1 else "s"
    mean = score.combined if score.mean is None else score.mean
    if score.stderr is None or score.degrees_of_freedom is None:
        return f"score {mean:+.4f} (one seed: unknown error)"
    estimate = Estimate(
        value=mean, stderr=score.stderr, degrees_of_freedom=score.degrees_of_freedom
    )
    text = f"score {estimate} over {num_seeds} seed{plural}"
    if score.shrunk is None or score.reliability is None:
        return text
    if score.reliability == 1.0:  # the initial program's, or all spread is told: nothing is shrunk
        is_more = score.shrunk != mean
        return text + is_more * f", counted as {score.shrunk:+.4f}, its mean over all seeds"
    return f"{text}, shrunk to {score.shrunk:+.4f} (reliability {score.reliability:.2f})"


def fitness_estimate(scored: Score, judges: Judges) -> Estimate:
    """The fitness as measured, before a guard, with its error over seeds."""
    found: dict[FitnessKind, Estimate | None] = {
        "slope": judges.slope,
        "predicted_loss": judges.predicted_loss,
        "largest_loss": judges.largest_loss,
    }
    measured = found[scored.kind]
    return Estimate(
        value=scored.fitness,
        stderr=measured.stderr if measured else None,
        degrees_of_freedom=measured.degrees_of_freedom if measured else None,
    )


def _verdict(result: Evaluation, judges: Judges) -> str:
    fit, scored = result.fit, result.score
    missed = lack_of_fit(fit, result.sizes, scored)
    plural = "" if judges.num_seeds == 1 else "s"
    text = (
        f"trained at {len(result.sizes)} sizes with {judges.num_seeds} seed{plural}: "
        f"{told_score(scored, judges.num_seeds)}; fitness {fitness_estimate(scored, judges)} "
        f"({FITNESS_WORDS[scored.kind]}, lack of fit {missed:.4f}, R2 {fit.r2:.3f})"
    )
    if result.is_pilot:
        text += f" [{result.horizon}]"
    if scored.is_guarded and scored.harm_nats == 0:
        text += (
            f"; score {scored.combined:+.4f}: over the baseline's parameters, because a larger "
            "share of new parameters at the small sizes only shortens the axis"
        )
    elif scored.is_guarded:
        text += (
            f"; score {scored.combined:+.4f} after the guard: on average {scored.harm_nats:.4f} "
            "nats worse than the baseline, and a slope bought by hurting models does not count"
        )
    return f"{text}\n{dominance_text(judges)}"
