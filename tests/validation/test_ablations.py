"""The ablation of a planted program on a tiny ladder, trained for real."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.noise_floor import measure_noise_floor
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.ablations import (
    ALL_CONSTANTS,
    EVOLVED,
    STANDARD,
    ablate,
    ablation_seeds,
)

SEEDS = (2042, 2043)


def edited(*changes, source=INITIAL):
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


SCALE = ("return k / math.sqrt(self.head_dim)", "return 2.5 * k / math.sqrt(self.head_dim)")
DECAY = ("        return {}\n", '        return {"log_bias": -self.rate(x).exp().mT}\n')
RATE = (
    "        super().__init__(hidden_dim, num_heads, dropout)\n",
    "        super().__init__(hidden_dim, num_heads, dropout)\n"
    "        self.rate = nn.Linear(hidden_dim, num_heads)\n",
)
RENAME = (
    "        z = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)\n"
    "        return self.normaliser(self.readout(z), mask)\n",
    "        score = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)\n"
    "        return self.normaliser(self.readout(score), mask)\n",
)
READOUT = ("        return z\n", "        return z - 0.5 * z.tanh()\n")
STANDARD_PROGRAM = edited(
    ("return k / math.sqrt(self.head_dim)", "return 1.0 * k / math.sqrt(self.head_dim)")
)
TUNED = edited(("return 1.0 * k", "return 2.5 * k"), source=STANDARD_PROGRAM)
PLANTED = edited(DECAY, RATE, RENAME, READOUT, source=TUNED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def base(folder):
    execution = ExecutionConfig(num_workers=1, deadline_s=240)
    config = tiny_config(folder, execution, training_steps=6, warmup_steps=2, eval_frequency=3)
    pipeline, events = build_pipeline(config, folder, "store")
    yield pipeline, events
    pipeline.context.machine.close()


def runs_in(folder, store="store"):
    return {
        path.stem: path.stat().st_mtime_ns for path in (folder / store / "runs").rglob("*.json")
    }


@pytest.fixture(scope="module")
def planted(base, folder):
    told = []
    report = ablate(base[0], STANDARD_PROGRAM, PLANTED, SEEDS, told.append)
    return report, told


def test_the_pair_that_is_legal_only_together_is_one_group(planted):
    report, _ = planted
    assert [group.name for group in report.groups] == ["hunks 1+2", "hunk 3", "hunk 4", "hunk 5"]
    assert "self.rate = nn.Linear" in report.groups[0].text
    assert "log_bias" in report.groups[0].text


def test_constants_are_a_class_of_their_own_and_a_rename_is_inert(planted):
    report, _ = planted
    assert [group.is_constants_only for group in report.groups] == [False, True, False, False]
    assert [part.is_inert for part in report.judgement.parts] == [False, False, False, True]
    assert report.same_as == {
        "standard with hunk 5": STANDARD,
        "evolved without hunk 5": EVOLVED,
    }
    assert not report.judgement.unions, "one group of constants is its own union"


def test_every_distinct_program_is_trained_once_seed_by_seed_in_turn(planted, folder, base):
    report, told = planted
    assert len(report.losses) == 2 + 2 * 3
    assert len(runs_in(folder)) == len(report.losses) * 3 * len(SEEDS)
    turns = [title.partition(", ")[2] for title in told[1:]]
    assert turns == [*report.losses, *report.losses]
    before = runs_in(folder)
    assert ablate(base[0], STANDARD_PROGRAM, PLANTED, SEEDS, told.append) == report
    assert runs_in(folder) == before


def test_the_effects_are_of_the_programs_named(planted):
    report, _ = planted
    losses = {name: np.array(rows) for name, rows in report.losses.items()}
    part = report.judgement.parts[1]
    alone = (losses["standard with hunk 3"] - losses[STANDARD]).mean(0)
    within = (losses[EVOLVED] - losses["evolved without hunk 3"]).mean(0)
    for effect, wanted in ((part.alone, alone), (part.within, within)):
        assert [size.value for size in effect.comparison.sizes] == pytest.approx(list(wanted))
    assert report.seeds == SEEDS
    assert not report.has_noise
