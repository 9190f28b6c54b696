"""The figure of a control: every run of every arm, and the arms' means with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openevolve_unified.calibration.controls import DESCRIPTIONS, ControlReport
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.marks import Series, counted, legend, named, point, told
from openevolve_unified.report.figures.stored import figure_of_stored
from openevolve_unified.report.run_records import RunRecords

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME, TITLE = "control", "Controls at equal evaluations"
RECORD = "control/control.json"
_RUN = Series(name="one run", color=palette.BASELINE, marker="o")
_MEAN = Series(name="mean of an arm; bars: 95%", color=palette.BEST, marker="s")


def control_figure_of(records: RunRecords) -> Figure | Missing:
    """Of the control in a run's folder."""
    absent = Missing(
        name=NAME,
        title=TITLE,
        sentence="No control was run, so nothing says what luck and random search reach with as "
        "many evaluations; `openevolve-unified control CONFIG` does.",
    )
    stored = None if records.found is None else records.found.control
    return figure_of_stored(absent, stored, read_control, control_figure)


def read_control(stored: Mapping[str, Any]) -> ControlReport:
    """The report that ``control.json`` was written from.

    Raises:
        ConfigError: it is damaged or of another release.
    """
    fields = {name: value for name, value in stored.items() if name != "verdicts"}
    fields["comparisons"] = [
        {name: value for name, value in pair.items() if name != "verdict"}
        for pair in stored["comparisons"]
    ]
    return from_mapping(ControlReport, fields, "control")


def control_figure(report: ControlReport) -> Figure:
    """Gains over the initial program, as selected and as confirmed."""
    number = len(report.confirmation_seeds)
    looks = (
        ("as selected", report.selected, "selected_gain"),
        (
            f"confirmed on {counted(number, 'fresh seed')}",
            report.confirmed,
            "confirmed_gain",
        ),
    )

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(5.4)
        panels = canvas.subplots(2, 1, sharex=True, sharey=True)
        for panel, (title, summaries, value) in zip(panels, looks, strict=True):
            panel.axhline(0.0, color=palette.MUTED, linewidth=0.8)
            for place, summary in enumerate(summaries):
                gains = [getattr(run, value) for run in report.runs if run.arm == summary.arm]
                look = {**_RUN.look, "linestyle": "none", "alpha": 0.6}
                panel.plot([place - 0.12] * len(gains), gains, **look)
                point(panel, place + 0.15, summary.mean, summary.ci95, _MEAN)
            names = [summary.arm for summary in summaries]
            panel.set_xticks(range(len(names)), names)
            panel.set_xlim(-0.5, len(names) - 0.5)
            panel.set_title(title)
        canvas.suptitle(
            "gain of the score over the initial program (up: better)",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        named(panels[0], _RUN)
        named(panels[0], _MEAN)
        legend(canvas)

    best = max(report.confirmed, key=lambda summary: summary.mean)
    settled = [
        f"{pair.arm} {pair.verdict} {pair.against}"
        for pair in report.comparisons
        if pair.verdict in ("beat", "lost to")
    ]
    number_open = len(report.comparisons) - len(settled)
    if number_open:
        settled.append(f"{number_open} of {len(report.comparisons)} comparisons are open")
    return Figure(
        name=NAME,
        title=TITLE,
        caption=f"{counted(report.num_runs, 'independent run')} of "
        f"{counted(report.num_evaluations, 'evaluation')} per arm [{report.horizon}]. Confirmed, "
        f"{best.arm} gains most: {'; '.join([told(best.mean, best.ci95), *settled])}.",
        alternative_text="Gains of the runs of each arm, with means: "
        + "; ".join(f"{s.arm} confirmed {told(s.mean, s.ci95)}" for s in report.confirmed),
        columns=("arm", "run", "selected gain", "confirmed gain", "evaluations", "trained", "is"),
        rows=tuple(
            (
                *(run.arm, run.number, run.selected_gain, run.confirmed_gain),
                *(run.num_evaluations, run.num_trained, DESCRIPTIONS.get(run.arm, run.arm)),
            )
            for run in report.runs
        ),
        records=(RECORD,),
        draw=draw,
    )
