"""The figure of a comparison: the best gain against hours of training, and the test losses.

It needs matplotlib (the extra ``plot``); see ``report.control_figure``.
"""

from __future__ import annotations

import io

from openevolve_unified.validation.frameworks import FrameworkComparison


def draw_comparison(found: FrameworkComparison) -> bytes:
    """The figure as an SVG file; the same comparison gives the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, run in enumerate(found.runs):
        trail, color = run.evolvability.trail, f"C{place}"
        hours, gains = [p.training_h for p in trail], [p.gain for p in trail]
        left.step(hours, gains, where="post", color=color, label=run.name)
        losses = list(run.variant.largest.values())
        is_confirmed = run.variant.basis == "confirmed"
        style = {"color": color, "markerfacecolor": color if is_confirmed else "none"}
        right.plot([place] * len(losses), losses, "o", alpha=0.7, markersize=6, **style)
    left.axhline(0.0, color="0.6", linewidth=0.8)
    left.set_xlabel("hours of training in the search", fontsize=9)
    left.set_ylabel("gain of the best so far, as selected", fontsize=9)
    left.legend(fontsize=8, loc="upper left")
    right.set_xticks(range(len(found.runs)), [run.name for run in found.runs], fontsize=8)
    right.margins(x=0.2)
    right.set_ylabel("test loss at the largest size, nats per token", fontsize=9)
    right.set_title("filled: confirmed on fresh seeds", fontsize=9)
    figure.suptitle("; ".join(dict.fromkeys(run.horizon for run in found.runs)), fontsize=10)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "comparison"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
