"""Configuration files: everything wrong is one line that names the key and the way out."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from dataclasses import fields

import pytest
import yaml
from openevolve.config import (
    Config,
    DatabaseConfig,
    EvaluatorConfig,
    EvolutionTraceConfig,
    LLMConfig,
    PromptConfig,
)

from openevolve_unified.config.experiment import load_experiment, redacted
from openevolve_unified.config.openevolve_half import known_providers, missing_api_keys
from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin.evolve import openevolve_config

GOOD = {
    "max_iterations": 3,
    "llm": {"provider": "grammar", "api_key": "not-needed", "models": [{"name": "grammar"}]},
    "database": {"feature_dimensions": ["lookback", "complexity"]},
    "evaluator": {"timeout": 1000, "cascade_evaluation": False},
    "scaling_law": {
        "framework": "matrix_mixer",
        "initial_program": "program.py",
        "output_dir": "out",
        "ladder": "quickstart",
        "execution": {"deadline_s": 900},
    },
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "program.py").write_text("pass\n")

    def write(changes=None):
        mapping = copy.deepcopy(GOOD)
        for dotted, value in (changes or {}).items():
            *parents, last = dotted.split(".")
            place = mapping
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(mapping))
        return path

    return write


def test_a_good_file_is_accepted_and_its_paths_are_absolute(write, tmp_path):
    experiment = load_experiment(write())
    assert experiment.initial_program == tmp_path / "program.py"
    assert experiment.output_dir == tmp_path / "out"
    assert experiment.store_dir == tmp_path / "store"
    assert experiment.iterations == 3
    assert experiment.uses_grammar_only


BAD = {
    "scaling_law.trainig": ({}, "did you mean 'training'"),
    "scaling_law.training": ({"training_stepps": 5}, "did you mean 'training_steps'"),
    "scaling_law.framework": ("matrix_mixr", "did you mean 'matrix_mixer'"),
    "scaling_law.ladder": ([{"hidden_dim": 32, "num_layers": 1, "num_heads": 2}] * 2, "at least 3"),
    "scaling_law.data": ({"vocab_size": "many"}, "wanted a whole number"),
    "scaling_law.initial_program": ("nowhere.py", "no file at"),
    "databse": ({}, "did you mean 'database'"),
    "evaluator.timeot": (5, "did you mean 'timeout'"),
    "evaluator.timeout": (500, "above any honest negative fitness"),
    "evaluator.cascade_evaluation": (True, "wanted false"),
    "evaluator.use_llm_feedback": (True, "language model's opinion"),
    "llm.provider": ("gramar", "did you mean 'grammar'"),
    "llm.models": ([], "at least one model"),
    "llm.evaluator_models": ([{"name": "m", "provider": "opnai"}], "did you mean 'openai'"),
    "llm.init_client": ("json.loads", "unknown key"),
    "database.novelty_llm": ("gpt", "unknown key"),
    "llm.temperature": ("hot", "OpenEvolve cannot read"),
    "database.feature_dimensions": (["lokback"], "did you mean 'lookback'"),
}


@pytest.mark.parametrize("key", BAD)
def test_a_bad_value_is_named_with_the_way_out(key, write):
    value, wanted = BAD[key]
    with pytest.raises(ConfigError, match=wanted) as caught:
        load_experiment(write({key: value}))
    assert "\n" not in str(caught.value)
    assert key.split(".")[-1] in str(caught.value) or "OpenEvolve" in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "known", "unknown"),
    [
        ("none", "lookback", "effective_rank"),
        ("cheap", "effective_rank", "recall_accuracy"),
        ("recall", "recall_accuracy", "recal"),
    ],
)
def test_a_feature_dimension_is_one_that_the_diagnostics_measure(mode, known, unknown, write):
    asked = {"scaling_law.diagnostics": {"mode": mode}, "database.feature_dimensions": [known]}
    assert load_experiment(write(asked)).scaling_law.diagnostics.mode == mode
    with pytest.raises(ConfigError, match=f"feature_dimensions: got '{unknown}'"):
        load_experiment(write({**asked, "database.feature_dimensions": [unknown]}))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "empty"),
        ("- a\n", "wanted a mapping"),
        ("a: [", "not valid YAML"),
        ("llm: {}\n", "scaling_law: missing"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text, wanted, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=wanted):
        load_experiment(path)


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0], [float("nan"), 1.0], [float("inf")]])
def test_weights_that_cannot_be_shares_are_refused(weights, write):
    models = [{"name": "grammar", "weight": weight} for weight in weights]
    with pytest.raises(ConfigError, match=r"llm\.models: got the weights"):
        load_experiment(write({"llm.models": models}))
    load_experiment(write({"llm.models": [{"name": "grammar", "weight": 0.5}]}))


SECTIONS = {
    "": Config,
    "llm.": LLMConfig,
    "prompt.": PromptConfig,
    "database.": DatabaseConfig,
    "evaluator.": EvaluatorConfig,
    "evolution_trace.": EvolutionTraceConfig,
}
IN_PYTHON_ONLY = {"init_client", "novelty_llm"}
SET_ELSEWHERE = {
    "llm.models",
    "llm.primary_model",
    "llm.provider",
    "llm.system_message",
    "database.feature_dimensions",
    "evaluator.timeout",
    "evaluator.cascade_evaluation",
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_installed_openevolve_is_known(section, write):
    default = SECTIONS[section]()
    values = {
        f"{section}{field.name}": getattr(default, field.name)
        for field in dataclasses.fields(default)
        if not field.name.startswith("_") and field.name not in IN_PYTHON_ONLY
    }
    plain = {
        key: value
        for key, value in values.items()
        if key not in SET_ELSEWHERE and value is not None and not dataclasses.is_dataclass(value)
    }
    assert len(plain) > 5
    load_experiment(write(plain))


def test_every_provider_of_the_installed_openevolve_is_known(write):
    providers = known_providers()
    assert {"openai", "grammar"} < set(providers)
    assert ("codex_app_server" in providers) is has_module("openevolve.llm.codex_app_server")
    for provider in providers:
        load_experiment(write({"llm.provider": provider}))


def has_module(name):
    return importlib.util.find_spec(name) is not None


HAS_ISLAND_PROGRAMS = any(f.name == "island_initial_programs" for f in fields(DatabaseConfig))
needs_island_programs = pytest.mark.skipif(not HAS_ISLAND_PROGRAMS, reason="came with 0.4.1")


@needs_island_programs
def test_the_programs_of_islands_are_files_beside_the_config(write, tmp_path):
    islands = {"database.num_islands": 2}
    with pytest.raises(ConfigError, match=r"island_initial_programs\[1\]: no file at"):
        load_experiment(write({**islands, "database.island_initial_programs": [None, "b.py"]}))
    (tmp_path / "b.py").write_text("pass\n")
    experiment = load_experiment(
        write({**islands, "database.island_initial_programs": [None, "b.py"]})
    )
    config = openevolve_config(experiment)
    assert config.database.island_initial_programs == [None, str(tmp_path / "b.py")]
    with pytest.raises(ConfigError, match="OpenEvolve cannot read this configuration"):
        load_experiment(write({"database.island_initial_programs": ["b.py"]}))


@needs_island_programs
def test_arguments_that_the_evaluator_does_not_take_are_refused(write):
    with pytest.raises(ConfigError, match=r"evaluator\.evaluator_args: got arguments, wanted none"):
        load_experiment(write({"evaluator.evaluator_args": {"steps": 3}}))
    load_experiment(write({"evaluator.evaluator_args": {}}))


def test_a_missing_file_points_to_init(tmp_path):
    with pytest.raises(ConfigError, match="openevolve-unified init"):
        load_experiment(tmp_path / "none.yaml")


def test_overrides_reach_both_halves_and_are_checked(write):
    experiment = load_experiment(
        write(), ["scaling_law.training.learning_rate=3e-3", "max_iterations=7"]
    )
    assert experiment.scaling_law.training.learning_rate == 3e-3
    assert experiment.iterations == 7
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        load_experiment(write(), ["scaling_law.training.learning_rat=1"])
    with pytest.raises(ConfigError, match=r"wanted dotted\.key=value"):
        load_experiment(write(), ["nonsense"])


def test_a_missing_key_is_named_and_a_set_one_is_enough(write, monkeypatch):
    changes = {"llm": {"api_key": "${SOME_KEY}", "models": [{"name": "gpt-5"}]}}
    experiment = load_experiment(write(changes))
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert missing_api_keys(experiment.mapping) == ["SOME_KEY"]
    monkeypatch.setenv("SOME_KEY", "x")
    assert missing_api_keys(experiment.mapping) == []
    assert missing_api_keys(load_experiment(write()).mapping) == []


def test_a_key_in_an_override_that_is_wrong_is_not_repeated(write):
    for override in ("llm.api_key.x=sk-123", "llm.models=[{api_key: sk-123"):
        with pytest.raises(ConfigError) as caught:
            load_experiment(write(), ["llm.api_key=a", override])
        assert "sk-123" not in str(caught.value)


def test_literal_keys_are_hidden_and_variables_stay():
    hidden = redacted({"llm": {"api_key": "sk-123", "models": [{"api_key": "${KEY}"}]}})
    assert hidden == {"llm": {"api_key": "(hidden)", "models": [{"api_key": "${KEY}"}]}}


def test_a_pilot_is_called_one(write):
    pilot = load_experiment(write({"scaling_law.training": {"training_steps": 1000}}))
    assert pilot.scaling_law.training.is_pilot
    assert "pilot, 1,000 of 100,000 steps" in pilot.scaling_law.training.horizon
    assert not load_experiment(write()).scaling_law.training.is_pilot
