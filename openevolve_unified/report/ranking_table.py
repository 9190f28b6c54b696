"""The ranking of mechanisms as a person reads it, as Markdown, and as one JSON object."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from openevolve_unified.calibration.ranking import Compared, Measured, RankingReport, Refused
from openevolve_unified.judgement.ranking import Agreement, Ranked, Ranking
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.columns import aligned, markdown_table

_REASON_COLUMNS = 100
_TIES = (
    "ranks are ranges: programs that are not told apart (Tukey, 95% for the whole table) are tied"
)
_TAU = (
    "tau: Kendall's, 1 the same order, -1 the reverse; in brackets every tau that the ties leave "
    "open (95%); chance: how often a random order agrees as well"
)


def result_line(result: Measured | Refused) -> str:
    """One line as soon as an entrant is done."""
    if isinstance(result, Refused):
        return f"{result.name}: refused at '{result.stage}': {_short(result.reason)}"
    return (
        f"{result.name}: loss {fmean(result.losses_nats[-1]):.4f} nats/token at the largest size, "
        f"score {fmean(result.scores):+.4f}"
    )


def ranking_lines(report: RankingReport) -> list[str]:
    """The table, the controls, and the published orders."""
    lines = ["", f"ranking of {report.framework} [{report.horizon}], {_seeds(report)}"]
    for text in _errors(report):
        lines.append(f"  {text}")
    header, rows = _table(report)
    lines += aligned(header, rows)
    lines += [f"  {result_line(one)}" for one in report.refused]
    lines += [f"  {text}" for text in _controls(report)]
    if report.compared:
        lines += ["", "  against published orders", f"  ({_TAU})"]
    for one in report.compared:
        order = one.order
        lines.append(f"  {order.name} ({order.source}): {order.measures}")
        lines.append(f"    by the loss   {_agreement(one.by_loss)}")
        lines.append(f"    by the score  {_agreement(one.by_score)}")
        lines.append(f"    caution: {order.caution}")
    return lines


def ranking_markdown(report: RankingReport) -> str:
    """The same for a file."""
    header, rows = _table(report)
    lines = [
        f"# Mechanisms of {report.framework}, ranked",
        "",
        f"{report.horizon}; {_seeds(report)}.",
    ]
    lines += [f"{text[0].upper()}{text[1:]}." for text in _errors(report)]
    lines += ["", *markdown_table(header, rows)]
    if report.refused:
        lines += ["", "Refused, so not ranked:", ""]
        lines += [f"- {one.name} at `{one.stage}`: {one.reason}" for one in report.refused]
    lines += ["", *(f"{text[0].upper()}{text[1:]}." for text in _controls(report))]
    if report.compared:
        lines += ["", "## Against published orders", "", f"{_TAU[0].upper()}{_TAU[1:]}.", ""]
        columns = ["order", "source", "by the loss", "by the score", "caution"]
        lines += markdown_table(columns, list(map(_order_cells, report.compared)))
    return "\n".join(lines) + "\n"


def ranking_json(report: RankingReport) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    orders = (("by_loss", report.by_loss), ("by_score", report.by_score))
    controls = {name: report.controls_last(order) for name, order in orders if order is not None}
    return {**to_plain(report), "controls_not_told_apart_from": to_plain(controls)}


def _table(report: RankingReport) -> tuple[list[str], list[list[str]]]:
    header = [
        "rank",
        "mechanism",
        f"loss at {report.sizes[-1]}",
        "rank",
        "score",
        "slope",
        "params",
    ]
    if report.by_loss is None or report.by_score is None:
        return header, []
    measured = {one.name: one for one in report.measured}
    by_score = {row.name: row for row in report.by_score.rows}
    rows = []
    for place, row in enumerate(report.by_loss.rows, start=1):
        one, scored = measured[row.name], by_score[row.name]
        rows.append(
            [
                _rank(row, place),
                row.name + (" (control)" if one.is_control else ""),
                f"{row.mean:.4f}{_half(row)}",
                _rank(scored, report.by_score.names.index(row.name) + 1),
                f"{scored.mean:+.4f}{_half(scored)}",
                f"{fmean(one.slopes):+.4f}",
                f"{one.num_params_non_embedding[-1]:,}",
            ]
        )
    return header, rows


def _rank(row: Ranked, place: int) -> str:
    if row.interval is None:
        return f"{place}?"
    if row.best_rank == row.worst_rank:
        return str(row.best_rank)
    return f"{row.best_rank}-{row.worst_rank}"


def _half(row: Ranked) -> str:
    return "" if row.interval is None else f" +- {(row.interval[1] - row.interval[0]) / 2:.4f}"


def _errors(report: RankingReport) -> list[str]:
    by_loss, by_score = report.by_loss, report.by_score
    if by_loss is None or by_score is None:
        return ["nothing was trained, so nothing is ranked"]
    if by_loss.hsd is None or by_score.hsd is None:
        return [
            f"error: {report.error_from}, so no two mechanisms are told apart (ranks with a "
            "question mark); use --seeds 3, or measure the noise first"
        ]
    return [
        f"error from {report.error_from}: means that differ by less than {by_loss.hsd:.4f} nats of "
        f"loss or {by_score.hsd:.4f} of score are tied; +- is half of that",
        _TIES,
    ]


def _controls(report: RankingReport) -> list[str]:
    lines = []
    for name, ranking in (("loss", report.by_loss), ("score", report.by_score)):
        if ranking is None:
            continue
        for control, close in report.controls_last(ranking).items():
            lines.append(f"control {control}, by the {name}: {_standing(ranking, control, close)}")
    return lines


def _standing(ranking: Ranking, control: str, close: tuple[str, ...]) -> str:
    if not close:
        return "behind every mechanism"
    places = {name: place for place, name in enumerate(ranking.names)}
    ahead = [name for name in close if places[name] > places[control]]
    tied = [name for name in close if name not in ahead]
    texts = [f"ahead of {', '.join(ahead)}"] if ahead else []
    texts += [f"not told apart from {', '.join(tied)}"] if tied else []
    return "; ".join(texts)


def _agreement(found: Agreement | None) -> str:
    if found is None:
        return "no order to compare"
    interval = "one seed: unknown"
    if found.ci95 is not None:
        interval = f"{found.ci95[0]:+.2f} to {found.ci95[1]:+.2f}"
    return (
        f"tau {found.tau:+.2f} [{interval}], {found.num_shared} shared, chance {found.chance:.2f}"
    )


def _seeds(report: RankingReport) -> str:
    number = len(report.seeds)
    return f"{number} seed{'' if number == 1 else 's'} ({', '.join(map(str, report.seeds))})"


def _order_cells(one: Compared) -> list[str]:
    cells = [f"{one.order.name}: {one.order.measures}", one.order.source]
    return [*cells, _agreement(one.by_loss), _agreement(one.by_score), one.order.caution]


def _short(text: str) -> str:
    return text if len(text) <= _REASON_COLUMNS else text[: _REASON_COLUMNS - 3] + "..."
