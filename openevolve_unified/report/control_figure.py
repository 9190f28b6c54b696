"""The figure of a control: every run of every arm as a dot, the arms' means with their intervals.

It needs matplotlib (the extra ``plot``), which is imported here and nowhere else.
"""

from __future__ import annotations

import importlib.util
import io

from openevolve_unified.calibration.controls import ControlReport

MISSING = "no figure: matplotlib is not installed; pip install 'openevolve-unified[plot]'"


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_control(report: ControlReport) -> bytes:
    """The figure as an SVG file; the same report gives the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    number = len(report.confirmation_seeds)
    seeds = f"{number} fresh seed{'' if number == 1 else 's'}"
    for panel, title, summaries, value in (
        (panels[0], "as selected", report.selected, "selected_gain"),
        (panels[1], f"confirmed on {seeds}", report.confirmed, "confirmed_gain"),
    ):
        names = [summary.arm for summary in summaries]
        panel.axhline(0.0, color="0.6", linewidth=0.8)
        for place, summary in enumerate(summaries):
            runs = [getattr(run, value) for run in report.runs if run.arm == summary.arm]
            panel.plot([place] * len(runs), runs, "o", color="C0", alpha=0.6, markersize=5)
            low, high = summary.ci95
            panel.plot([place + 0.2] * 2, [low, high], color="C1", linewidth=1.5)
            panel.plot([place + 0.2], [summary.mean], "s", color="C1", markersize=5)
        panel.set_xticks(range(len(names)), names)
        panel.set_xlim(-0.5, len(names) - 0.3)
        panel.set_title(title, fontsize=10)
    panels[0].set_ylabel("gain of the score over the initial program", fontsize=9)
    figure.suptitle(
        f"{report.num_runs} runs of {report.num_evaluations} evaluations per arm "
        f"[{report.horizon}]\ndots: runs; "
        "squares: their means with 95% intervals",
        fontsize=10,
    )
    drawn = io.BytesIO()
    # Text stays text, and identifiers do not depend on the moment.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "control"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
