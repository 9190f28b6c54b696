"""Diagnostics of a candidate: what its trained models showed beside their loss, over seeds.

Told of the largest size, as features for OpenEvolve's map and as lines for people and proposers.
The test split is for people alone: ``generalisation_gap`` is never told to a proposer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from openevolve_unified.config.names import DIAGNOSTIC_NAMES, RECALL_NAME, UNKNOWN_STDERR
from openevolve_unified.diagnostics import ByHead, Diagnostics, MixingNumbers, RecallFindings
from openevolve_unified.judgement.estimates import mean_with_error
from openevolve_unified.records import SizeResult, TrainRun

Measure = Callable[[Diagnostics], float | None]
MIXING: tuple[tuple[str, Callable[[MixingNumbers], ByHead], str], ...] = (
    ("effective_rank", lambda mixing: mixing.effective_rank, "effective rank {}"),
    ("mean_distance", lambda mixing: mixing.mean_distance, "reads {} tokens back"),
    ("row_sum", lambda mixing: mixing.row_sum, "row sum {}"),
    ("data_dependence", lambda mixing: mixing.data_dependence, "data dependence {}"),
)
"""Name, value and words of what is told of a mixing matrix."""


def diagnostic_features(
    sizes: Sequence[SizeResult], recall: RecallFindings | None
) -> dict[str, float]:
    """What ``DIAGNOSTIC_NAMES`` name, means over seeds, layers and heads of the largest size;
    ``UNKNOWN_STDERR`` where it was not measured or does not apply."""
    found = _found(sizes[-1])
    measures: dict[str, Measure] = {
        name: _over_heads(value) for name, value, _ in MIXING if name in DIAGNOSTIC_NAMES
    }
    measures["induction"] = lambda one: one.induction_nats
    values = {name: _values(found, measure) for name, measure in measures.items()}
    values[RECALL_NAME] = [run.mean_accuracy for run in recall.best] if recall else []
    return {
        name: fmean(values[name]) if values[name] else UNKNOWN_STDERR for name in DIAGNOSTIC_NAMES
    }


def told_diagnostics(sizes: Sequence[SizeResult], recall: RecallFindings | None) -> str:
    """The diagnostics of the largest size, a line for each kind, with errors over seeds.

    A size of which no run was diagnosed is said to be ``not measured``.
    """
    size = sizes[-1]
    found = _found(size)
    learnt = _told_associations(recall)
    if not found:
        return "\n".join(["not measured", *learnt])
    number = len(found)
    error = "one seed: unknown errors"
    if number > 1:
        plural = "" if number == 2 else "s"
        error = f"+- over {number} seeds ({number - 1} degree{plural} of freedom)"
    lines = [f"at {size.size.name}, {error}; no part of the score", _told_induction(found)]
    floor = [one.floor_nats for one in found if one.floor_nats is not None]
    if floor:
        above = [run.final_loss_nats - floor[0] for run in size.runs if run.final_loss_nats]
        lines.append(f"loss above the entropy of the text: {_told(above)} nats")
    if found[0].recall:
        lines.append(_told_recall(found))
    lines += _told_mixing(found)
    if found[0].extrapolation is None:
        lines.append(f"at twice the length: not applicable ({found[0].no_extrapolation})")
    else:
        gaps = [one.extrapolation.gap_nats for one in found if one.extrapolation is not None]
        lines.append(f"at twice the length the same tokens cost {_told(gaps)} nats more")
    return "\n".join([*lines, *learnt])


def generalisation_gap(run: TrainRun) -> float | None:
    """Test loss less validation loss, nats per token; about 0 unless a split was learnt by heart
    or chosen on. None where a loss is missing."""
    if run.test_loss_nats is None or run.final_loss_nats is None:
        return None
    return run.test_loss_nats - run.final_loss_nats


def _told_associations(recall: RecallFindings | None) -> list[str]:
    if recall is None:
        return []
    lines = []
    for run in recall.best:
        by_pairs = ", ".join(f"{pairs} pairs {share:.0%}" for pairs, share in run.accuracy.items())
        lines.append(
            f"associative recall at length {run.seq_len}, one seed: unknown errors: "
            f"{by_pairs or 'diverged'} (a guess among the values: 1 / pairs)"
        )
    refusals = recall.refusals.items()
    return lines + [
        f"associative recall at length {n}: not applicable ({why})" for n, why in refusals
    ]


def _told_induction(found: Sequence[Diagnostics]) -> str:
    gains = _values(found, lambda one: one.induction_nats)
    if not gains:
        return "induction: not applicable (no pairing of two tokens is repeated)"
    return (
        f"induction: tokens that repeat an earlier pairing ({found[0].repeated_share:.0%} of all) "
        f"cost {_told(gains)} nats less than others"
    )


def _told_recall(found: Sequence[Diagnostics]) -> str:
    parts = []
    for place, one in enumerate(found[0].recall):
        losses = [other.recall[place].loss_nats for other in found]
        parts.append(f"{one.min_distance}-{one.max_distance} tokens back {_told(losses)}")
    return f"recall of what the story said (nats, 0 is perfect): {', '.join(parts)}"


def _told_mixing(found: Sequence[Diagnostics]) -> list[str]:
    mixing = found[0].mixing
    if mixing is None:
        return [f"mixing matrix: not applicable ({found[0].no_mixing})"]
    lines = []
    for layer in range(len(mixing.effective_rank)):
        parts = [
            words.format(_told(_values(found, _over_heads(value, layer))))
            + _range(value(mixing)[layer])
            for _, value, words in MIXING
        ]
        lines.append(f"layer {layer}: {', '.join(parts)}")
    return lines


def _range(heads: Sequence[float]) -> str:
    return "" if len(heads) == 1 else f" (heads {min(heads):.3g} to {max(heads):.3g})"


def _over_heads(value: Callable[[MixingNumbers], ByHead], layer: int | None = None) -> Measure:
    """The mean over the heads of a layer, or of all layers."""

    def measure(one: Diagnostics) -> float | None:
        if one.mixing is None:
            return None
        rows = value(one.mixing)
        return fmean(
            [
                number
                for row in (rows if layer is None else rows[layer : layer + 1])
                for number in row
            ]
        )

    return measure


def _told(values: Sequence[float]) -> str:
    estimate = mean_with_error(values)
    text = f"{estimate.value:.3g}"
    return text if estimate.stderr is None else f"{text} +- {estimate.stderr:.2g}"


def _values(found: Sequence[Diagnostics], measure: Measure) -> list[float]:
    return [value for value in map(measure, found) if value is not None]


def _found(size: SizeResult) -> list[Diagnostics]:
    return [run.diagnostics for run in size.runs if run.diagnostics is not None]
