"""The figure of the best program's mixing matrices on a real sentence, per layer and head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from openevolve_unified.diagnostics import ExampleMatrices
from openevolve_unified.records import TrainRun
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Cell, Figure, Missing
from openevolve_unified.report.figures.marks import counted
from openevolve_unified.report.run_records import RunRecords

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

NAME, TITLE = "coefficients", "Coefficient matrices of the best program"
NUM_LABELLED = 20
"""Tokens of the large matrix; more could not be read."""


def coefficients_figure_of(records: RunRecords) -> Figure | Missing:
    """Of the best program at the largest size, first seed."""
    if records.best is not None:
        model = records.trained(records.best)[-1].runs[0]
        found = model.diagnostics
        if found is not None and found.example is not None:
            return coefficients_figure(found.example, model)
        if found is not None and found.no_mixing:
            return Missing(
                name=NAME,
                title=TITLE,
                sentence=f"The best program has no matrix to show: {found.no_mixing}.",
            )
    return Missing(
        name=NAME,
        title=TITLE,
        sentence="The records of the best program hold no matrices (scaling_law.diagnostics says "
        "whether they are kept); `openevolve CONFIG` with a new store trains and keeps them.",
    )


def coefficients_figure(example: ExampleMatrices, model: TrainRun) -> Figure:
    """The last layer's first head large, with its tokens, and every kept head small.

    Args:
        example: ``ExampleMatrices`` of the diagnostics: ``tokens`` (time,), ``layers``, ``heads``
            and ``matrices`` (layers, heads, time, time), whose rows say what each position reads.
        model: whose matrices they are.
    """
    matrices = example.matrices
    L, H, T, _ = matrices.shape
    is_signed = bool((matrices < 0).any())
    num_labelled = min(NUM_LABELLED, T)
    text = "".join(example.tokens[:num_labelled]).replace("Ġ", " ").strip()
    rows: list[tuple[Cell, ...]] = []
    for place, layer in enumerate(example.layers):
        for number, head in enumerate(example.heads):
            rows.append((layer + 1, head + 1, *_numbers(matrices[place, number])))

    def draw(canvas: Canvas) -> None:
        canvas.set_figheight(4.4 + 5.4 * L / max(H, 2))
        halves: Any = canvas.subfigures(2, 1, height_ratios=[4.4, 5.4 * L / max(H, 2)])
        upper, lower = halves
        large = upper.subplots()
        _heat(large, matrices[-1, 0, :num_labelled, :num_labelled], is_signed)
        labels = [_word(token) for token in example.tokens[:num_labelled]]
        large.set_yticks(range(num_labelled), labels, fontsize=8)
        large.set_xticks(range(num_labelled), labels, fontsize=8, rotation=90)
        large.set_title(f"layer {example.layers[-1] + 1}, head 1: a row's token reads its columns")
        panels = lower.subplots(L, H, squeeze=False)
        for place, layer in enumerate(example.layers):
            for number, head in enumerate(example.heads):
                panel = panels[place, number]
                _heat(panel, matrices[place, number], is_signed)
                panel.set_xticks([])
                panel.set_yticks([])
                if place == 0:
                    panel.set_title(f"head {head + 1}", fontsize=8, loc="center")
                if number == 0:
                    panel.set_ylabel(f"layer {layer + 1}", fontsize=8)

    scale = "violet below zero, orange above" if is_signed else "brighter is more"
    return Figure(
        name=NAME,
        title=TITLE,
        caption=f"How much each token reads of those before it, after training, on {text!r}; "
        f"{counted(L, 'layer')} of {counted(H, 'head')} at {T} tokens, each head on its own scale "
        f"({scale}, by the square root; the largest of each is in the table).",
        alternative_text=f"Heatmaps of {L} by {H} lower triangular matrices: "
        + "; ".join(f"layer {row[0]} head {row[1]} reaches {row[3]:.3g} tokens" for row in rows),
        columns=(
            *("layer", "head", "largest", "mean distance, tokens"),
            *("share on itself", "share on the first"),
        ),
        rows=tuple(rows),
        records=(f"store: runs/{model.job_key[:12]}",),
        draw=draw,
    )


def _heat(panel: Axes, matrix: np.ndarray, is_signed: bool) -> None:
    """A cell for each pixel; what a causal mask forbids stays empty."""
    T = len(matrix)
    top = float(np.abs(matrix).max()) or 1.0
    roots = np.sign(matrix) * np.sqrt(np.abs(matrix) / top)
    panel.imshow(
        np.ma.masked_array(roots, mask=~np.tri(T, dtype=bool)),
        cmap=palette.SIGNED if is_signed else palette.AMOUNTS,
        vmin=-1.0 if is_signed else 0.0,
        vmax=1.0,
        interpolation="none",
    )
    panel.grid(visible=False)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    panel.tick_params(length=0)


def _numbers(matrix: np.ndarray) -> tuple[float, ...]:
    """Largest magnitude, mean distance, shares of itself and of the first token."""
    weights = np.abs(matrix.astype(np.float64))
    reach = weights / np.maximum(weights.sum(1, keepdims=True), 1e-30)
    place = np.arange(len(matrix))
    distance = (reach * (place[:, None] - place)).sum(1).mean()
    shares = (reach.diagonal().mean(), reach[:, 0].mean())
    return (float(weights.max()), float(distance), *map(float, shares))


def _word(token: str) -> str:
    """A token as a label: a space as such a thing can be seen, and no more than ten letters."""
    shown = token.replace("Ġ", "·").replace(" ", "·").replace("\n", "\\n").replace("$", r"\$")
    return shown if len(shown) <= 10 else shown[:9] + "…"
