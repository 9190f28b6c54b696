"""The control as a person reads it, as Markdown, and as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openevolve_unified.calibration.controls import DESCRIPTIONS, ControlReport
from openevolve_unified.judgement.arms import ArmComparison, ArmSummary
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.columns import aligned, markdown_table


def control_lines(report: ControlReport) -> list[str]:
    """The distributions, who beat whom, and what so few runs could have shown."""
    lines = ["", f"control of {report.framework} [{report.horizon}]", *_indented(_scope(report))]
    header, rows = _table(report)
    lines += aligned(header, rows)
    return [*lines, *_indented(_verdicts(report))]


def control_markdown(report: ControlReport) -> str:
    """The same for a file."""
    header, rows = _table(report)
    names = [summary.arm for summary in report.confirmed]
    lines = [
        f"# Control of {report.framework}",
        "",
        f"{report.horizon}. {' '.join(_scope(report))}",
        "",
        *markdown_table(header, rows),
        "",
        *(f"- {name}: {DESCRIPTIONS[name]}" for name in names),
        "",
        *(f"- {text}" for text in _verdicts(report)),
    ]
    return "\n".join(lines) + "\n"


def control_json(report: ControlReport) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    found = to_plain(report)
    for plain, pair in zip(found["comparisons"], report.comparisons, strict=True):
        plain["verdict"] = pair.verdict
    return {**found, "verdicts": _verdicts(report)}


def _scope(report: ControlReport) -> list[str]:
    number = len(report.confirmation_seeds)
    return [
        f"{report.num_runs} independent runs per arm, {report.num_evaluations} evaluations each;",
        "gains of the score over the initial program: as selected, and confirmed on "
        f"{number} fresh seed{'' if number == 1 else 's'}; +- is the standard deviation over "
        f"runs ({report.num_runs - 1} degrees of freedom)",
    ]


def _table(report: ControlReport) -> tuple[list[str], list[list[str]]]:
    header = ["arm", "trained", "selected: median, range", "confirmed: mean +- sd, range"]
    header.append("loss at the largest size, confirmed")
    rows = []
    summaries = zip(report.selected, report.confirmed, report.confirmed_loss_nats, strict=True)
    for selected, confirmed, loss in summaries:
        runs = [run for run in report.runs if run.arm == selected.arm]
        trained = sum(run.num_trained for run in runs)
        tried = sum(run.num_evaluations for run in runs)
        rows.append(
            [
                selected.arm,
                f"{trained}/{tried}",
                f"{selected.median:+.4f}, {_range(selected)}",
                f"{confirmed.mean:+.4f} +- {confirmed.sd:.4f}, {_range(confirmed)}",
                f"{0.0 - loss.mean:+.4f} +- {loss.sd:.4f} nats",
            ]
        )
    return header, rows


def _range(summary: ArmSummary) -> str:
    return f"{summary.lowest:+.4f} to {summary.highest:+.4f}"


def _verdicts(report: ControlReport) -> list[str]:
    texts = [_verdict(pair) for pair in report.comparisons]
    if texts:
        texts.append(
            f"{report.num_runs} runs per arm are few: they find a true difference of "
            f"{report.detectable_effect:.1f} standard deviations of a run in 80% of cases, so what "
            "is not told apart may still differ"
        )
    return texts


def _verdict(pair: ArmComparison) -> str:
    text = f"{pair.arm} {pair.verdict} {pair.against}: {pair.difference:+.4f} confirmed"
    if pair.ci95 is None or pair.p is None or pair.p_holm is None:
        return f"{text}; no run of either differs from the others, so there is no error to test by"
    text += f" [{pair.ci95[0]:+.4f} to {pair.ci95[1]:+.4f}], p {pair.p:.3f}, "
    text += f"{pair.p_holm:.3f} after Holm"
    if pair.hedges_g is not None:
        text += f", Hedges' g {pair.hedges_g:+.1f}"
    return f"{text}, ahead in {pair.superiority:.0%} of pairs of runs"


def _indented(texts: Sequence[str]) -> list[str]:
    return [f"  {text}" for text in texts]
