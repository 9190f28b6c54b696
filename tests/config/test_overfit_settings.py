"""The section ``scaling_law.gates.overfit``: on as shipped, off by null, one line for errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.overfit import OverfitConfig
from openevolve_unified.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SECTION = "scaling_law.gates.overfit"


def gate(*overrides, name="quickstart"):
    return load_experiment(CONFIGS / f"{name}.yaml", overrides).scaling_law.gates.overfit


@pytest.mark.parametrize(
    ("name", "max_steps"),
    [
        ("quickstart", 200),
        ("coefficient_dynamics", 300),
        ("test_time_regression", 300),
        ("matrix_mixer", 300),
    ],
)
def test_every_shipped_configuration_has_the_gate(name, max_steps, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    assert gate(name=name) == OverfitConfig(max_steps=max_steps)


def test_null_turns_it_off_and_one_setting_changes_alone():
    assert gate(f"{SECTION}=null") is None
    assert gate(f"{SECTION}.num_sequences=9") == OverfitConfig(num_sequences=9, max_steps=200)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("num_sequences", "1", "2 to 256"),
        ("num_sequences", "257", "2 to 256"),
        ("min_accuracy", "0", "more than 0 and less than 1"),
        ("min_accuracy", "1", "more than 0 and less than 1"),
        ("max_steps", "9", "10 to 10000"),
        ("max_steps", "10001", "10 to 10000"),
        ("learning_rate", "0", "more than 0, and finite"),
        ("learning_rate", ".inf", "more than 0, and finite"),
        ("seed", "-1", "0 to 2147483647"),
        ("max_steps", "soon", "a whole number"),
    ],
)
def test_a_value_out_of_range_is_one_line(name, value, wanted):
    with pytest.raises(ConfigError) as error:
        gate(f"{SECTION}.{name}={value}")
    told = str(error.value)
    assert f"{SECTION}.{name}: got " in told
    assert told.endswith(f"wanted {wanted}")
    assert "\n" not in told


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigError, match=r"max_step: unknown key \(did you mean 'max_steps'\?\)"):
        gate(f"{SECTION}.max_step=3")
