"""The noise floor as a person reads it: per size, what it can tell apart, how to read the loss."""

from __future__ import annotations

from openevolve_unified.calibration.noise_summary import NoiseSummary
from openevolve_unified.calibration.simulated_noise import SimulatedRates
from openevolve_unified.calibration.simulated_validation import NUM_FRAMEWORKS, ValidationRates
from openevolve_unified.judgement.estimates import Spread
from openevolve_unified.report.console import Reporter


def print_noise(title: str, summary: NoiseSummary, reporter: Reporter) -> None:
    """Print the tables and the sentences.

    Args:
        title: what was measured, for example the name of a configuration.
    """
    programs = "the initial program" + (" and its rounding twin" if summary.has_twin else "")
    reporter.say(f"noise of {title}: {programs} at {len(summary.seeds)} seeds, {summary.horizon}")
    _print_sizes(summary, reporter)
    _print_detectable(summary, reporter)
    _print_readings(summary, reporter)
    reporter.say(f"{title} {summary.sentence}")
    if summary.gain_sentence is not None:
        reporter.say(summary.gain_sentence)


def print_simulated(rates: SimulatedRates, reporter: Reporter) -> None:
    """Print how runs of the real selection end at this noise."""
    reporter.say(
        f"  simulated: {rates.num_runs:,} runs of {rates.num_candidates} candidates through the "
        "real selection and confirmation, with this noise"
    )
    reporter.say(
        f"    no true difference: 'improved' is said in {_rate(rates, rates.false_rate)} of them; "
        f"{rates.ladders_per_candidate:.2f} ladders trained per candidate"
    )
    reporter.say(
        f"    one candidate whose score is higher by {rates.planted_gain:.4f}: found and confirmed "
        f"in {_rate(rates, rates.power)}"
    )


def print_experiments(rates: ValidationRates, reporter: Reporter) -> None:
    """Print how whole experiments, the validation included, end at this noise."""
    reporter.say(
        f"  simulated: {rates.num_experiments:,} experiments of {NUM_FRAMEWORKS} frameworks with "
        f"{rates.num_candidates} candidates each, tuned and validated at {rates.num_pairs} seeds"
    )
    reporter.say(
        "    no true difference: an improvement is declared in "
        f"{_rate(rates, rates.false_rate)} of them; if all frameworks' programs were validated, "
        f"whatever their search found, it would be in {_rate(rates, rates.false_rate_ungated)}, "
        f"and 'worse' in {_rate(rates, rates.false_worse_rate)}"
    )
    reporter.say(
        f"    one candidate whose final loss is lower by {rates.planted_gain:.2%}: found and "
        f"confirmed in {_rate(rates, rates.found_rate)}, declared in {_rate(rates, rates.power)}"
    )
    reporter.say(
        f"    a validation alone finds a gain of {rates.validated_gain:.2%} in "
        f"{_rate(rates, rates.validation_power)}"
    )


def _rate(rates: SimulatedRates | ValidationRates, rate: float) -> str:
    return f"{100 * rate:.1f}% +- {100 * rates.error(rate):.1f}%"


def _print_sizes(summary: NoiseSummary, reporter: Reporter) -> None:
    columns = [f"{size.name:>8}" for size in summary.sizes]
    reporter.say(
        "  size      non-embedding   mean loss   sd over seeds   sd of twin - initial   nats"
    )
    for size in summary.sizes:
        reporter.say(
            f"  {size.name:<9} {size.num_params:>13,.0f} {size.mean_loss_nats:>11.4f} "
            f"{size.seed_sd_nats:>15.4f} {_number(size.twin_sd_nats):>22}"
        )
    twin = summary.slope_twin
    reporter.say(
        f"  slope {summary.slope.value:>29.4f} {summary.slope_spread.sd:>15.4f} "
        f"{_number(twin.sd if twin else None):>22}"
    )
    reporter.say(
        f"  degrees of freedom {_freedom(summary.slope_spread):>32} "
        f"{_freedom(twin) if twin else '-':>22}"
    )
    reporter.say("  correlation of the sizes over seeds")
    reporter.say("            " + " ".join(columns))
    for size, row in zip(summary.sizes, summary.size_correlation, strict=True):
        reporter.say(f"  {size.name:<9} " + " ".join(f"{value:>+8.2f}" for value in row))
    if twin is not None:
        apart = summary.slope_difference.sd
        reporter.say(
            f"  two programs at one seed: their slopes differ by {twin.sd:.4f} if rounding is all "
            f"that differs, by {apart:.4f} if they share none of the seed's luck; comparisons "
            "assume the larger"
        )


def _print_detectable(summary: NoiseSummary, reporter: Reporter) -> None:
    reporter.say("  true differences found in 80% of cases, at 5% false alarms")
    reporter.say("  seeds     slope   slope, at best (as the twin)   largest loss (nats)")
    for row in summary.detectable:
        reporter.say(
            f"  {row.num_seeds:<5} {row.slope:>9.4f} {_number(row.slope_at_best):>30} "
            f"{row.largest_loss_nats:>21.4f}"
        )


def _print_readings(summary: NoiseSummary, reporter: Reporter) -> None:
    choice = summary.readings
    reporter.say(
        "  reading of the loss                sd of slope   sd of largest   its mean     p"
    )
    for row in choice.rows:
        mark = "*" if row.name == choice.quietest else " "
        reporter.say(
            f"  {row.name:<33} {row.slope_sd:>12.4f} {row.largest_loss_sd:>15.4f} "
            f"{row.mean_largest_loss_nats:>10.4f} "
            f"{'-' if row.p_value is None else f'{row.p_value:.2g}':>5}{mark}"
        )
    if len(choice.rows) == 1:
        reporter.say("  one way to read the loss only: the learning curve has no more points")
        return
    reporter.say(f"  {choice.sentence} (p: as quiet as the quietest, over the same runs)")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _freedom(spread: Spread) -> str:
    return f"{spread.degrees_of_freedom:.1f}".removesuffix(".0")
