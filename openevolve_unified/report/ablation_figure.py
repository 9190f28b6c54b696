"""The figure of an ablation: the effect of every hunk, alone and beside the others.

It needs matplotlib (the extra ``plot``); see ``report.control_figure``.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from openevolve_unified.judgement.ablation import Effect
from openevolve_unified.validation.ablations import AblationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OFFSET = 0.14
_STYLES = {
    "alone": {"color": "C0", "marker": "o", "at": -_OFFSET},
    "beside the others": {"color": "C1", "marker": "s", "at": _OFFSET},
}


def draw_ablation(report: AblationReport) -> bytes:
    """The figure as an SVG file; the same report gives the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    judged = report.judgement
    parts = (*judged.parts, *judged.unions)
    labels = [_label(report, part.name) for part in parts] + ["all hunks"]
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(labels)), layout="constrained")
    panel = figure.subplots()
    panel.axvline(0.0, color="0.6", linewidth=0.8)
    for place, part in enumerate(parts):
        for name, effect in (("alone", part.alone), ("beside the others", part.within)):
            _draw(panel, place, effect, name if place == 0 else None, **_STYLES[name])
    panel.axhline(len(parts) - 0.5, color="0.85", linewidth=0.8)
    _draw(panel, len(parts), judged.whole, None, color="0.2", marker="D", at=0.0)
    panel.set_yticks(range(len(labels)), labels, fontsize=9)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_xlabel(
        f"loss at {report.sizes[-1]} with the hunk minus without it, nats per token (left: helps)",
        fontsize=9,
    )
    number = len(report.seeds)
    figure.suptitle(
        f"effect of each hunk [{report.horizon}], {number} seed{'' if number == 1 else 's'}; "
        "bars: 95%",
        fontsize=10,
    )
    figure.legend(loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ablation"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _draw(
    panel: Axes, place: int, effect: Effect | None, label: str | None, *, color, marker, at
) -> None:
    """One marker with its interval; hollow where the effect is nothing, by the same program."""
    height = place + at
    if effect is None:
        panel.text(0.0, height, " did not train", color=color, fontsize=7, va="center")
        return
    style = {"color": color, "markersize": 5, "label": label}
    if effect.comparison is None:
        panel.plot([0.0], [height], marker, markerfacecolor="none", **style)
        return
    found = effect.comparison.largest_loss
    if found.ci95 is not None:
        panel.plot(list(found.ci95), [height] * 2, color=color, linewidth=1.5)
    panel.plot([found.value], [height], marker, **style)


def _label(report: AblationReport, name: str) -> str:
    constants = {group.name for group in report.groups if group.is_constants_only}
    return f"{name} (constants)" if name in constants else name
