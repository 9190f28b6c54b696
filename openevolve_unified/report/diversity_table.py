"""The diversity of a search in short: how wide it looked, with which parts, what came back."""

from __future__ import annotations

import textwrap

from openevolve_unified.judgement.diversity import NUM_RECENT, Diversity, IngredientUse, Spread

_WIDTH = 85


def diversity_lines(found: Diversity) -> list[str]:
    """For the summary of a run; none where no candidate was legal."""
    if found.num_programs < 2:
        return []
    lines = [
        f"{found.num_programs} legal programs, {found.num_fingerprints} fingerprints, "
        f"{found.num_classes} function classes",
        f"mean distance of two: {_apart(found.spread)}",
    ]
    if found.num_programs > NUM_RECENT:
        lines.append(f"of the latest {NUM_RECENT}: {_apart(found.recent)}")
    lines.append(
        f"{found.num_lines_added} lines added, {found.num_lines_again} of them known from earlier "
        "programs"
    )
    tried = [use for use in found.ingredients if use.num_programs and not use.is_in_initial]
    if tried:
        tried.sort(key=lambda use: -use.num_programs)
        lines += textwrap.wrap(f"parts tried: {', '.join(map(_use, tried))}", _WIDTH)
    if found.num_stale:
        lines.append(f"the last {found.num_stale} brought no new function class and no improvement")
    return lines


def _apart(spread: Spread) -> str:
    if spread.by_operators is None or spread.by_outputs is None:
        return "unknown"
    return f"{spread.by_operators:.2f} by operators and {spread.by_outputs:.2f} by outputs"


def _use(use: IngredientUse) -> str:
    better = f", {use.num_better} better" if use.num_better else ""
    kept = ", kept by the best" if use.is_kept else ""
    return f"{use.name} ({use.num_programs}{better}{kept})"
