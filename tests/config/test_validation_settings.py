"""The section ``scaling_law.validation``: what is accepted, and what is one clear line."""

from __future__ import annotations

import pytest

from openevolve_unified.config.validation import SearchSpace, TuningConfig, ValidationConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.validation.plan import criteria_of


def test_what_is_written_is_read():
    written = {
        "num_seeds": 5,
        "tuning": {"mode": "shared", "num_trials": 3, "space": {"batch_sizes": [16, 32]}},
        "alpha": 0.01,
    }
    found = from_mapping(ValidationConfig, written, "validation")
    assert found.tuning.space == SearchSpace(batch_sizes=(16, 32))
    assert criteria_of(found).alpha == 0.01
    assert criteria_of(found).min_relative_gain == 0.01, "as shipped"


@pytest.mark.parametrize(
    ("kind", "wrong", "reason"),
    [
        (ValidationConfig, {"num_seeds": 2}, "num_seeds: got 2, wanted 3 or more"),
        (ValidationConfig, {"seeds": [1, 2]}, r"seeds: got \[1, 2\], wanted 3 or more"),
        (ValidationConfig, {"seeds": [1, 1, 2]}, "distinct seeds"),
        (ValidationConfig, {"effect": 0}, "effect: got 0"),
        (ValidationConfig, {"power": 0.3}, "power: got 0.3"),
        (TuningConfig, {"num_trials": 1}, "num_trials: got 1, wanted 2 or more"),
        (TuningConfig, {"num_finalists": 0}, "num_finalists: got 0, wanted 1 or more"),
        (TuningConfig, {"mode": "both"}, "mode"),
        (SearchSpace, {"learning_rate": [0.1, 0.01]}, "learning_rate"),
        (SearchSpace, {"learning_rate": [0, 0.01]}, "above 0"),
        (SearchSpace, {"batch_sizes": []}, "batch_sizes"),
    ],
)
def test_a_wrong_setting_is_one_line(kind, wrong, reason):
    with pytest.raises(ConfigError, match=reason):
        from_mapping(kind, wrong, "validation")


def test_a_criterion_outside_its_range_is_named():
    with pytest.raises(ConfigError, match=r"scaling_law\.validation\.alpha: got 2"):
        criteria_of(ValidationConfig(alpha=2))
