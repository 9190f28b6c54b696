"""The ledger of a race: written by the command, held to the configuration, refused in a line."""

from __future__ import annotations

import dataclasses
import json

import pytest
from test_horizon_ledger import FALL, put, trained

from openevolve_unified.calibration.race_ledger import supported_rule
from openevolve_unified.cli.app import main
from openevolve_unified.config.early_stopping import EarlyStoppingConfig
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ScalingLawConfig, TrainingConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.race import MIN_PROGRAMS, RaceRule

LARGEST = FitnessConfig(kind="largest_loss")
HORIZON = "1,000 of 100,000 steps"


def law(ledger="ledger.json", at=0.5, regret=0.01, seeds=(42,), steps=1_000, **changes):
    """A configuration for the ledgers below."""
    early = EarlyStoppingConfig(ledger=ledger, at=at, regret=regret)
    training = TrainingConfig(training_steps=steps, warmup_steps=10, eval_frequency=50, seeds=seeds)
    settings = {"ladder": "quickstart", "training": training, "fitness": LARGEST, **changes}
    return ScalingLawConfig(
        framework="matrix_mixer",
        initial_program="-",
        output_dir="-",
        early_stopping=early,
        **settings,
    )


def made_ledger(place, number=MIN_PROGRAMS, falls=lambda index: FALL):
    """The file of a ledger of programs that are the better the later they come, and the keys of
    their baseline's models."""
    made = [trained(f"program {i}", 1.0 - 0.01 * i, fall=falls(i)) for i in range(number)]
    found = [
        dataclasses.replace(
            one,
            horizon=f"pilot, {HORIZON}",
            score=dataclasses.replace(one.score, kind="largest_loss"),
        )
        for one in made
    ]
    folder = put(place / "store", *found)
    assert main(["horizon", str(folder), "--output", str(place / "ledger.json")]) == 0
    return {run.job_key for size in found[0].baseline for run in size.runs}


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    place = tmp_path_factory.mktemp("steady")
    return place, made_ledger(place)


def test_a_ledger_of_the_configuration_gives_the_rule(steady):
    place, jobs = steady
    rule = supported_rule(law(), place, jobs, 20)
    assert isinstance(rule, RaceRule)
    assert (rule.share, rule.margin, rule.regret_bound) == (0.5, 0.0, 0.0)
    assert 0.3 < rule.saved_share < 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 2_000}, "horizon: it has pilot, 1,000 of 100,000 steps, the configuration"),
        ({"seeds": (42, 43)}, r"seeds: it has \[42\], the configuration \[42, 43\]"),
        ({"ladder": "full"}, r"sizes: it has \['32x2', '48x2', '64x2', '96x2'\]"),
        (
            {"fitness": FitnessConfig()},
            "fitness.kind: it has largest_loss, the configuration slope",
        ),
        ({"at": 0.2}, r"it was measured at other shares \(0.01, 0.1, 0.5\)"),
    ],
)
def test_another_configuration_is_refused_by_what_differs(steady, changes, words):
    place, jobs = steady
    with pytest.raises(ConfigError, match=words):
        supported_rule(law(**changes), place, jobs, 20)


def test_a_baseline_that_was_trained_otherwise_is_another_configuration(steady):
    place, jobs = steady
    with pytest.raises(ConfigError, match="its initial program was trained otherwise"):
        supported_rule(law(), place, {*jobs, "another"}, 20)


def test_curves_that_cross_support_no_race(tmp_path):
    jobs = made_ledger(tmp_path, falls=lambda i: (1.0, 0.5, 0.5 + 0.02 * i, 0.01, 0.0))
    with pytest.raises(ConfigError, match=r"does not support a race at 0.5 .* may cost up to"):
        supported_rule(law(), tmp_path, jobs, 20)


def test_a_file_that_is_no_ledger_is_one_line(tmp_path):
    for text in (None, "{", json.dumps({"ledgers": [{}]}), "[]"):
        if text is not None:
            (tmp_path / "ledger.json").write_text(text)
        with pytest.raises(ConfigError, match="wanted the file that openevolve-unified horizon"):
            supported_rule(law(), tmp_path, set(), 20)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"at": 0.255}, "which is step 255', wanted a share whose step is a multiple of"),
        ({"at": 1.0}, "at: got 1.0, wanted more than 0 and less than 1"),
        ({"regret": 0.0}, "regret: got 0.0, wanted more than 0"),
        ({"ledger": " "}, "wanted a file, or null for no race"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong, words):
    law(at=0.25)
    with pytest.raises(ConfigError, match=words):
        law(**wrong)
