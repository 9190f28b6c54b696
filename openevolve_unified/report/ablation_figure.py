"""The figure of an ablation: the effect of every hunk, alone and beside the others.

It needs matplotlib (the extra ``plot``); see ``report.control_figure``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openevolve_unified.judgement.ablation import Effect
from openevolve_unified.validation.ablations import AblationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class _Style:
    """Of one series; ``offset`` in rows."""

    color: str
    marker: str
    offset: float


_ALONE = _Style(color="C0", marker="o", offset=-0.14)
_WITHIN = _Style(color="C1", marker="s", offset=0.14)
_WHOLE = _Style(color="0.2", marker="D", offset=0.0)


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
    for style, name in ((_ALONE, "alone"), (_WITHIN, "beside the others")):
        panel.plot([], [], style.marker, color=style.color, markersize=5, label=name)
    for place, part in enumerate(parts):
        _draw(panel, place, part.alone, _ALONE)
        _draw(panel, place, part.within, _WITHIN)
    panel.axhline(len(parts) - 0.5, color="0.85", linewidth=0.8)
    _draw(panel, len(parts), judged.whole, _WHOLE)
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


def _draw(panel: Axes, row: int, effect: Effect | None, style: _Style) -> None:
    """One marker with its interval; hollow where both programs are the same."""
    height, color = row + style.offset, style.color
    if effect is None:
        across = panel.get_yaxis_transform()
        panel.text(
            0.01, height, "did not train", transform=across, color=color, fontsize=7, va="center"
        )
    elif effect.comparison is None:
        panel.plot([0.0], [height], style.marker, color=color, markersize=5, markerfacecolor="none")
    else:
        found = effect.comparison.largest_loss
        if found.ci95 is not None:
            panel.plot(list(found.ci95), [height] * 2, color=color, linewidth=1.5)
        panel.plot([found.value], [height], style.marker, color=color, markersize=5)


def _label(report: AblationReport, name: str) -> str:
    constants = {group.name for group in report.groups if group.is_constants_only}
    return f"{name} (constants)" if name in constants else name
