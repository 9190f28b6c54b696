"""The horizon ledger as a person reads it, and as plain JSON values."""

from __future__ import annotations

from typing import Any

from openevolve_unified.calibration.horizon_ledger import Ledger
from openevolve_unified.judgement.convergence import FLAT_NATS, LastTenth
from openevolve_unified.judgement.horizon import EarlyChoice, LedgerRow, Mover
from openevolve_unified.judgement.rank_correlation import RankCorrelation
from openevolve_unified.plain.canonical import to_plain

_METHOD = (
    "tau, rho: Kendall's and Spearman's rank correlation with the final order, 95% in closed form "
    "(Fieller 1957; Bonett and Wright 2000) for a population that these candidates are drawn from; "
    "regret: how much worse the leader there ends than the winner, 95% by bootstrap over candidates"
)


def horizon_lines(found: Ledger) -> list[str]:
    """The tables and sentences of one ledger."""
    ledger = found.ledger
    number, seeds = len(ledger.names), ", ".join(map(str, found.seeds))
    lines = [
        "",
        f"horizon of {', '.join(found.frameworks)} [{found.horizon}]: {number} candidates, "
        f"{'seed' if len(found.seeds) == 1 else 'seeds'} {seeds}",
        f"  ({_METHOD})",
    ]
    if found.num_left_out:
        lines.append(f"  {found.num_left_out} more lack these seeds and are left out")
    lines += _table(f"loss at {found.sizes[-1]}, nats", found, "by_loss")
    lines += _table(f"fitness, {found.fitness_kind} without guards", found, "by_fitness")
    lines += _gaps(found)
    if ledger.is_wide:
        lines.append(
            f"  with {number} candidates the intervals are wide: this is no ground to stop early"
        )
    lines += _movers(found)
    return lines + _convergence(found)


def horizon_json(found: tuple[Ledger, ...]) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    return {
        "ledgers": [
            {**to_plain(one), "is_wide": one.ledger.is_wide, "flagged": flagged(one)}
            for one in found
        ]
    }


def flagged(found: Ledger) -> list[str]:
    """Candidates whose loss at the largest size has not been shown to have converged."""
    return [one.name for one in _of_largest(found) if one.state != "converged"]


def _table(title: str, found: Ledger, quantity: str) -> list[str]:
    rows = [["share", "step", "tau", "rho", "regret", "leader", "winner is"]]
    for row in found.ledger.rows:
        choice: EarlyChoice | None = getattr(row, quantity)
        rows.append([f"{100 * row.share:.3g}%", *_cells(row, choice)])
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    lines = [f"  by the {title}"]
    for cells in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        lines.append(f"    {'  '.join(padded)}".rstrip())
    return lines


def _cells(row: LedgerRow, choice: EarlyChoice | None) -> list[str]:
    step = f"{row.step:.0f}" + ("~" if row.how == "interpolated" else "")
    if choice is None:
        return [step, "missing"]
    low, high = choice.regret_ci95
    return [
        step,
        _correlation(choice.tau),
        _correlation(choice.rho),
        f"{choice.regret:.4f} [{low:.4f} to {high:.4f}]",
        choice.chosen,
        f"number {choice.winner_rank}",
    ]


def _correlation(found: RankCorrelation | None) -> str:
    if found is None:
        return "all tied"
    if found.ci95 is None:
        return f"{found.value:+.2f} [unknown]"
    return f"{found.value:+.2f} [{found.ci95[0]:+.2f} to {found.ci95[1]:+.2f}]"


def _gaps(found: Ledger) -> list[str]:
    lines = []
    if any(row.how == "interpolated" for row in found.ledger.rows):
        lines.append("  ~ interpolated between two points, linear in the logarithm of the step")
    if any(row.how == "missing" for row in found.ledger.rows):
        wanted = max(1, found.ledger.horizon_steps // 100)
        lines.append(
            f"  missing: the curves begin at step {found.points[0]}; with "
            f"training.eval_frequency={wanted} they would begin at 1%"
        )
    return lines


def _movers(found: Ledger) -> list[str]:
    ledger = found.ledger
    if ledger.movers_share is None:
        return ["  sprinters and marathoners: unknown, the curves have no early point"]
    since = f"from {100 * ledger.movers_share:.3g}% to the end, by the loss at {found.sizes[-1]}"
    return [
        f"  sprinters (fell back {since}): {_ranks(ledger.sprinters)}",
        f"  marathoners (rose): {_ranks(ledger.marathoners)}",
    ]


def _ranks(movers: tuple[Mover, ...]) -> str:
    texts = [f"{m.name} {m.early_rank} -> {m.final_rank}" for m in movers]
    return ", ".join(texts) or "none"


def _convergence(found: Ledger) -> list[str]:
    lines = [
        f"  the last tenth of the steps at {found.sizes[-1]}, best candidate first (nats lower; "
        f"converged: surely by less than {FLAT_NATS:g})"
    ]
    by_name = {one.name: one for one in _of_largest(found)}
    for name in found.ledger.names:
        one = by_name[name]
        bought = "unknown" if one.bought is None else str(one.bought)
        if one.bought is not None and one.bought.stderr is None:
            bought = f"{one.bought.value:+.4f} (two points and one seed: unknown error)"
        lines.append(f"    {name}: {bought}, {one.state}")
    open_ones = flagged(found)
    if open_ones:
        lines.append(
            f"  NOT CONVERGED: {len(open_ones)} of {len(by_name)} are not shown to have converged "
            f"at {found.ledger.horizon_steps:,} steps; their order may change with longer training"
        )
    return lines


def _of_largest(found: Ledger) -> list[LastTenth]:
    return [one for one in found.last_tenths if one.size == len(found.sizes) - 1]
