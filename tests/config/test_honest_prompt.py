"""OpenEvolve's own words about raw differences stay out of the prompt; errors stay in.

Built by OpenEvolve itself, with programs whose raw metrics differ.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import made_evaluation
from openevolve.config import load_config
from openevolve.prompt.sampler import PromptSampler

from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
BASELINE = (2.40, 2.31, 2.25, 2.15)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


def shown(name, gain):
    evaluation = made_evaluation([loss - gain for loss in BASELINE], BASELINE)
    return {
        "id": name,
        "code": f"{name} = 1",
        "metrics": metrics(evaluation),
        "metadata": {"changes": f"change {name}", "parent_metrics": metrics(evaluation)},
    }


def prompt_of(path, is_ours=True):
    config = load_config(path).prompt
    if not is_ours:
        config.template_dir = None
    others = [shown(name, gain) for name, gain in (("first", 0.3), ("second", 0.2), ("third", 0.1))]
    evaluation = made_evaluation([loss - 0.05 for loss in BASELINE], BASELINE)
    return PromptSampler(config).build_prompt(
        current_program="pass",
        parent_program="pass",
        program_metrics={**metrics(evaluation), "combined_score": 0.2},
        previous_programs=others,
        top_programs=others,
        inspirations=[shown("fourth", 0.15)],
        program_artifacts=artifacts(evaluation),
        feature_dimensions=["lookback"],
    )["user"]


VERDICTS_OF_OPENEVOLVE = (
    "Fitness improved",
    "Fitness declined",
    "Fitness unchanged",
    "Mixed results",
    "in all metrics",
    "Excellent",
    "High-Performer",
    "Exploratory",
    "Consider revising recent changes",
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_openevolve_says_nothing_of_raw_differences(path):
    user = prompt_of(path)
    assert [words for words in VERDICTS_OF_OPENEVOLVE if words in user] == []
    assert "Scores of single programs differ by noise" in user
    for name in ("first", "second", "third", "fourth"):
        assert f"{name} = 1" in user


def test_without_our_templates_it_would():
    user = prompt_of(CONFIGS[0], is_ours=False)
    assert [words for words in VERDICTS_OF_OPENEVOLVE if words in user] != []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_gain_that_is_shown_has_its_error_beside_it(path):
    user = prompt_of(path)
    for line in user.splitlines():
        for name in ("gain_largest", "gain_slope", "gain_predicted", "predicted_loss"):
            assert line.count(f"{name} (") == line.count(f"{name}_stderr (")
            assert line.count(f"{name}: ") == line.count(f"{name}_stderr: ")
    assert user.count("gain_largest_stderr (-1.0000)") >= 3
    assert "one seed: unknown error" in user


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_placeholder_and_no_missing_fragment_is_left(path):
    user = prompt_of(path)
    assert "[Missing fragment" not in user
    assert "[Fragment formatting error" not in user
    assert "{key_features}" not in user
