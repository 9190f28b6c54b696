"""What diagnostics are told as: over seeds, with what is missing said."""

from __future__ import annotations

import dataclasses

import pytest
from made_results import made_evaluation

from openevolve_unified.config.names import DIAGNOSTIC_NAMES
from openevolve_unified.diagnostics import (
    Diagnostics,
    Extrapolation,
    MixingNumbers,
    RecallAtDistance,
    RecallFindings,
    RecallRun,
)
from openevolve_unified.judgement.diagnostics import generalisation_gap
from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.runs.history import size_details

MIXING = MixingNumbers(
    effective_rank=((4.0, 6.0), (8.0, 10.0)),
    mean_distance=((1.0, 3.0), (5.0, 7.0)),
    row_sum=((1.0, 1.0), (1.0, 1.0)),
    row_sum_sd=((0.0, 0.0), (0.0, 0.0)),
    data_dependence=((0.2, 0.4), (0.6, 0.8)),
)
FOUND = Diagnostics(
    repeated_share=0.25,
    repeated_nats=0.5,
    rest_nats=1.5,
    floor_nats=0.75,
    recall=(
        RecallAtDistance(min_distance=1, max_distance=8, num_words=50, loss_nats=0.125),
        RecallAtDistance(min_distance=9, max_distance=16, num_words=50, loss_nats=0.5),
    ),
    mixing=MIXING,
    extrapolation=Extrapolation(num_tokens=64, alone_nats=1.0, after_nats=1.25),
)
LOSSES = ({0: 2.40, 1: 2.42}, {0: 2.31, 1: 2.30}, {0: 2.25, 1: 2.27}, {0: 2.0, 1: 2.2})
RECALL = RecallFindings(
    settings="s",
    runs=(
        RecallRun(seq_len=64, learning_rate=1e-3, num_steps=9, accuracy={"4": 0.5, "16": 0.1}),
        RecallRun(seq_len=64, learning_rate=3e-3, num_steps=9, accuracy={"4": 1.0, "16": 0.5}),
    ),
    refusals={"128": "it is too long"},
)


def diagnosed(*found, recall=None):
    """With these at the largest size, one for each seed."""
    made = made_evaluation([{s: size[s] for s in range(len(found))} for size in LOSSES])
    largest = made.sizes[-1]
    runs = tuple(
        dataclasses.replace(run, diagnostics=one)
        for run, one in zip(largest.runs, found, strict=True)
    )
    sizes = (*made.sizes[:-1], dataclasses.replace(largest, runs=runs))
    return dataclasses.replace(made, sizes=sizes, recall=recall)


def told(result):
    return artifacts(result)["diagnostics"].splitlines()


def test_every_kind_has_a_line_with_its_error():
    other = dataclasses.replace(FOUND, repeated_nats=0.7)
    assert told(diagnosed(FOUND, other)) == [
        "at 96x2, +- over 2 seeds (1 degree of freedom); no part of the score",
        "induction: tokens that repeat an earlier pairing (25% of all) cost 0.9 +- 0.1 nats less "
        "than others",
        "loss above the entropy of the text: 1.35 +- 0.1 nats",
        "recall of what the story said (nats, 0 is perfect): 1-8 tokens back 0.125 +- 0, "
        "9-16 tokens back 0.5 +- 0",
        "layer 0: effective rank 5 +- 0 (heads 4 to 6), reads 2 +- 0 tokens back (heads 1 to 3), "
        "row sum 1 +- 0 (heads 1 to 1), data dependence 0.3 +- 0 (heads 0.2 to 0.4)",
        "layer 1: effective rank 9 +- 0 (heads 8 to 10), reads 6 +- 0 tokens back (heads 5 to 7), "
        "row sum 1 +- 0 (heads 1 to 1), data dependence 0.7 +- 0 (heads 0.6 to 0.8)",
        "at twice the length the same tokens cost 0.25 +- 0 nats more",
    ]
    assert told(diagnosed(FOUND))[0].startswith("at 96x2, one seed: unknown errors")


def test_what_does_not_apply_is_said_with_its_reason():
    bare = Diagnostics(
        repeated_share=0.0, rest_nats=1.0, no_mixing="not linear", no_extrapolation="a loop"
    )
    assert told(diagnosed(bare))[1:] == [
        "induction: not applicable (no pairing of two tokens is repeated)",
        "mixing matrix: not applicable (not linear)",
        "at twice the length: not applicable (a loop)",
    ]
    values = metrics(diagnosed(bare))
    assert [values[name] for name in DIAGNOSTIC_NAMES] == [-1.0] * 5


def test_a_model_of_before_has_none_and_its_record_is_read():
    assert told(diagnosed(None)) == ["not measured"]
    assert told(diagnosed(None, FOUND))[0].startswith("at 96x2, one seed")


def test_the_better_learning_rate_counts_in_associative_recall():
    *_, answered, refused = told(diagnosed(FOUND, recall=RECALL))
    assert answered == (
        "associative recall at length 64, one seed: unknown errors: 4 pairs 100%, 16 pairs 50% "
        "(a guess among the values: 1 / pairs)"
    )
    assert refused == "associative recall at length 128: not applicable (it is too long)"


def test_features_are_means_over_seeds_layers_and_heads():
    values = metrics(diagnosed(FOUND, dataclasses.replace(FOUND, repeated_nats=0.7), recall=RECALL))
    found = {name: values[name] for name in DIAGNOSTIC_NAMES}
    assert found == pytest.approx(
        {"effective_rank": 7, "mean_distance": 4, "data_dependence": 0.5, "induction": 0.9}
        | {"recall_accuracy": 0.75}
    )


def test_nothing_of_the_test_split_is_told_to_a_proposer_and_its_gap_is_kept_for_people():
    result = diagnosed(FOUND)
    (run,) = result.sizes[-1].runs
    tested = dataclasses.replace(run, test_loss_nats=9.125)
    size = dataclasses.replace(result.sizes[-1], runs=(tested,))
    with_test = dataclasses.replace(result, sizes=(*result.sizes[:-1], size))
    assert artifacts(with_test) == artifacts(result)
    assert metrics(with_test) == metrics(result)
    assert generalisation_gap(tested) == pytest.approx(7.125)
    assert generalisation_gap(run) is None
    assert size_details(size)["generalisation_gap_nats"] == [pytest.approx(7.125)]
