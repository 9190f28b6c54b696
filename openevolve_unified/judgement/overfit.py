"""Overfit verdicts: what it means that a model did not learn a few sequences by heart.

The gate asks whether a mechanism can be trained at all, not whether it is good: it is no part of a
score. It refuses by nature whatever carries nothing from earlier tokens, the control ``identity``
among them, so the ranking of the published mechanisms does without it.
"""

from __future__ import annotations

from openevolve_unified.records import Overfit

_CLOSE = 0.03
"""Above what needs no context, an accuracy within this shows no use of it."""


def refusal(found: Overfit) -> str | None:
    """Why the candidate is broken, for its author; None if it is not."""
    wanted, settings = f"over {found.settings.min_accuracy:.0%}", found.settings
    if found.accuracy > settings.min_accuracy:
        return None
    reached = (
        f"the smallest model ({found.size}) cannot learn {settings.num_sequences} short texts by "
        f"heart: it predicts {found.accuracy:.1%} of their tokens after {found.num_steps} steps, "
        f"wanted {wanted} within {settings.max_steps}"
    )
    if found.loss_nats is None:
        return (
            f"{reached}; its loss is not finite: bound what is exponentiated or divided, and keep "
            "the output at the scale of the values"
        )
    without = f"the current token and its position alone give {found.context_free_accuracy:.1%}"
    if found.accuracy <= found.context_free_accuracy + _CLOSE:
        return (
            f"{reached}; {without}, so nothing of the earlier tokens arrives: look for an output "
            "that is constant, zero, tiny beside the values, or made of the current token only, "
            "and for a gradient that is cut off (round, sign, detach, saturation)"
        )
    return (
        f"{reached}; {without}, so little of the earlier tokens arrives: look at the scale of the "
        "output (normalise the rows to a sum of about one) and for gradients that saturate"
    )


def told_overfit(found: Overfit) -> str:
    """What a candidate that is not broken needed, in one line."""
    return (
        f"{found.accuracy:.1%} of the tokens of {found.settings.num_sequences} texts after "
        f"{found.num_steps} steps at {found.size} (wanted over {found.settings.min_accuracy:.0%} "
        f"within {found.settings.max_steps}; without looking back at most "
        f"{found.context_free_accuracy:.1%})"
    )
