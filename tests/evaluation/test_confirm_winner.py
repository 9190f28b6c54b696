"""The confirmation on a real, tiny ladder: fresh seeds, nothing twice, and what is then said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.evaluation.confirmation import confirm_winner
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.noise import measure_noise

WEAKER = INITIAL.replace("return z\n", "return 0.5 * z\n")
RENAMED = INITIAL.replace("return z\n", "other = z\n        return other\n")
TWIN = INITIAL.replace("return z\n", "return 3.0 * (z / 3.0)\n")
assert INITIAL not in (WEAKER, RENAMED, TWIN)


HALF = Estimate(value=0.5, stderr=0.1, degrees_of_freedom=6.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("confirmation")


@pytest.fixture(scope="module")
def pipeline(folder, one_worker):
    config = dataclasses.replace(
        tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=300)),
        selection=SelectionConfig(max_seeds=2, num_confirmation_seeds=2),
    )
    pipeline, _ = build_pipeline(config, folder, "store", one_worker)
    return pipeline


def num_trained(folder):
    return len(list((folder / "store" / "runs").rglob("*.json")))


def test_a_winner_meets_the_baseline_at_seeds_that_chose_nothing(pipeline, folder):
    floor = measure_noise([1e3, 2e3, 4e3], np.eye(3) / 1000)
    found = confirm_winner(pipeline, WEAKER, HALF, floor)
    assert set(found.seeds).isdisjoint(seeds_of(pipeline.config).search)
    assert num_trained(folder) == 2 * 2 * 3, "two programs, two seeds, three sizes"
    gains = np.subtract(found.winner_scores, found.initial_scores)
    assert found.gain.value == pytest.approx(gains.mean())
    assert found.gap == pytest.approx(0.5 - gains.mean())
    assert found.gain.degrees_of_freedom == 1 + 2, "one of its own pairs, two of the floor"
    assert "at 2 fresh seeds; selected +0.5000 +- 0.1000 (6 df), gap " in str(found)
    assert found.gap_estimate.stderr == pytest.approx(np.hypot(0.1, found.gain.stderr))
    assert found.gap_estimate.degrees_of_freedom == 3, "the fewer"
    assert confirm_winner(pipeline, WEAKER, HALF, floor) == found
    assert num_trained(folder) == 2 * 2 * 3, "nothing was trained again"


def test_a_renamed_baseline_is_trained_no_more_and_never_improved(pipeline, folder):
    confirm_winner(pipeline, WEAKER, HALF, None)
    before = num_trained(folder)
    found = confirm_winner(pipeline, RENAMED, Estimate(value=0.03), None)
    assert num_trained(folder) == before, "its fingerprint is known"
    assert (found.gain.value, found.verdict) == (0.0, "not told apart")
    assert found.gap == 0.03


def test_one_that_computes_the_same_and_rounds_otherwise_is_trained_and_not_called_improved(
    pipeline, folder
):
    confirm_winner(pipeline, RENAMED, Estimate(value=0.0), None)
    before = num_trained(folder)
    floor = measure_noise([1e3, 2e3, 4e3], np.eye(3) / 1000)
    found = confirm_winner(pipeline, TWIN, Estimate(value=0.03), floor)
    assert num_trained(folder) == before + 2 * 3, "another program to a computer"
    assert found.winner_scores != found.initial_scores
    assert abs(found.gain.value) < 0.001
    assert found.verdict == "not told apart"


def test_one_fresh_seed_without_a_floor_says_that_its_error_is_unknown(pipeline):
    one = dataclasses.replace(pipeline.config.selection, num_confirmation_seeds=1)
    context = dataclasses.replace(
        pipeline.context, config=dataclasses.replace(pipeline.config, selection=one)
    )
    found = confirm_winner(type(pipeline)(context, INITIAL), WEAKER, HALF, None)
    assert found.verdict == "unknown"
    assert "one seed: unknown error" in str(found)


def test_without_seeds_nothing_is_confirmed_and_a_winner_that_diverges_is_refused(pipeline):
    none = dataclasses.replace(pipeline.config.selection, num_confirmation_seeds=0)
    context = dataclasses.replace(
        pipeline.context, config=dataclasses.replace(pipeline.config, selection=none)
    )
    assert confirm_winner(type(pipeline)(context, INITIAL), WEAKER, HALF, None) is None
    found = confirm_winner(pipeline, INITIAL.replace("import torch\n", "import os\n"), HALF, None)
    assert (found.verdict, found.gain) == ("refused", None)
    assert "refused at a fresh seed: " in str(found)
