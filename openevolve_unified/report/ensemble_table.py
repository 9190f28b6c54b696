"""The ensemble of a run's best mechanisms as a person reads it, and as one JSON object."""

from __future__ import annotations

from typing import Any

from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.columns import aligned, with_error
from openevolve_unified.validation.ensembles.top import EnsembleLosses, EnsembleReport


def ensemble_lines(report: EnsembleReport) -> list[str]:
    """The members, the ensemble against them, and every pair."""
    number = len(report.seeds)
    lines = [
        "",
        f"ensemble of the {len(report.members)} best distinct mechanisms of {report.run} "
        f"({report.framework}) at {report.size}, {number} seed{'' if number == 1 else 's'} "
        f"[{report.horizon}]",
        "  chosen by the search's score on the validation split; losses in nats per token",
    ]
    for losses in (report.validation, report.test):
        if losses is not None:
            lines += ["", *_split(report, losses)]
    if report.test is None:
        lines.append("  the test split was not asked for (--with-test)")
    return lines


def ensemble_json(report: EnsembleReport) -> dict[str, Any]:
    """Everything but the runs of the members, whose keys are there."""
    plain: dict[str, Any] = to_plain(report)
    for told, member in zip(plain["members"], report.members, strict=True):
        told["runs"] = {str(seed): run.job_key for seed, run in member.runs.items()}
    return plain


def _split(report: EnsembleReport, losses: EnsembleLosses) -> list[str]:
    names = [f"{place}" for place in range(1, len(report.members) + 1)]
    header = ["", "program", "score", "loss", *(f"with {name}" for name in names)]
    rows = []
    for place, (name, member) in enumerate(zip(names, report.members, strict=True)):
        best = " (best by validation)" if place == losses.best_member else ""
        pairs = [
            "" if other == place else f"{agreement:.1%}, {divergence:.2g}"
            for other, (agreement, divergence) in enumerate(
                zip(losses.agreement[place], losses.divergence_nats[place], strict=True)
            )
        ]
        loss = _loss(losses.members[place])
        rows.append([name, member.file, f"{member.score:+.4f}", f"{loss}{best}", *pairs])
    rows.append(["", "ensemble", "", _loss(losses.ensemble), *[""] * len(names)])
    return [
        f"  {losses.split} split (pairs: same likeliest token, Jensen-Shannon divergence in nats)",
        *aligned(header, rows),
        f"  the ensemble against its best member {with_error(losses.over_best)}, against the mean "
        f"of its members {with_error(losses.over_mean)}; less is better",
    ]


def _loss(estimate: Estimate) -> str:
    if estimate.stderr is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} +- {estimate.stderr:.4f}"
