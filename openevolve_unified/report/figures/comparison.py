"""The figure of compared runs: the best gain against hours of training, and the test losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Figure
from openevolve_unified.report.figures.marks import Series, counted, legend
from openevolve_unified.validation.frameworks import ComparedRun, FrameworkComparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def comparison_figure(found: FrameworkComparison) -> Figure:
    """How fast each run gained, and where its best program ended."""
    looks = [(run, _look(place, run)) for place, run in enumerate(found.runs)]
    horizon = "; ".join(dict.fromkeys(run.horizon for run in found.runs))

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(4.8)
        upper, lower = canvas.subplots(2, 1)
        upper.axhline(0.0, color=palette.MUTED, linewidth=0.8)
        for place, (run, series) in enumerate(looks):
            trail = run.evolvability.trail
            hours, gains = [p.training_h for p in trail], [p.gain for p in trail]
            look = {"color": series.color, "linestyle": series.line}
            upper.step(hours, gains, where="post", label=series.name, **look)
            losses = list(run.variant.largest.values())
            lower.plot(losses, [place] * len(losses), linestyle="none", alpha=0.7, **series.look)
        upper.set_title("gain of the best so far, as selected")
        upper.set_xlabel("hours of training in the search")
        lower.set_yticks(range(len(looks)), [series.name for _, series in looks])
        lower.set_ylim(len(looks) - 0.5, -0.5)
        lower.set_xlabel("test loss of the best at the largest size, nats per token")
        legend(canvas)

    return Figure(
        name="comparison",
        title="Runs compared",
        caption=f"{counted(len(looks), 'run')} [{horizon}]. Filled: test losses confirmed on fresh "
        "seeds; hollow: at the seeds that chose the program, too good on average. Gains: "
        + ", ".join(f"{run.name} {run.evolvability.gain:+.4f}" for run, _ in looks)
        + ".",
        alternative_text="Gains over hours of training as step lines, and test losses as points: "
        + "; ".join(f"{run.name} gains {run.evolvability.gain:+.4f}" for run, _ in looks),
        columns=("run", "basis", "seed", "test loss nats", "gain", "hours of training"),
        rows=tuple(
            (
                *(run.name, run.variant.basis, seed, loss),
                *(run.evolvability.gain, run.evolvability.trail[-1].training_h),
            )
            for run, _ in looks
            for seed, loss in run.variant.largest.items()
        ),
        records=tuple(run.name for run, _ in looks),
        draw=draw,
    )


def _look(place: int, run: ComparedRun) -> Series:
    number = place % len(palette.SERIES)
    return Series(
        name=run.name,
        color=palette.SERIES[number],
        marker=palette.MARKERS[number],
        line=palette.LINES[number],
        is_hollow=run.variant.basis != "confirmed",
    )
