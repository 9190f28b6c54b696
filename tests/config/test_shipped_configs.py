"""The shipped configurations: strict, complete, and with prompts that carry the feedback."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import yaml
from made_results import made_evaluation, with_score
from openevolve.config import Config, load_config
from openevolve.prompt.sampler import PromptSampler
from openevolve.utils.code_utils import apply_diff

from openevolve_unified import frameworks
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.names import METRIC_NAMES
from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.judgement.fitness import artifacts, metrics
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.plugin.population import REJECTIONS_ARTIFACT
from openevolve_unified.plugin.proposer import create_grammar_client
from openevolve_unified.records import Evaluation, Failure, Program

CONFIGS = Path(__file__).parents[2] / "configs"
FULL = ("coefficient_dynamics", "test_time_regression", "matrix_mixer")
ALL = ("quickstart", *FULL)
BASES = {
    "coefficient_dynamics": frameworks.CoefficientDynamics,
    "test_time_regression": frameworks.TestTimeRegression,
    "matrix_mixer": frameworks.MatrixMixer,
}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


def path_of(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


def evaluation_for(name: str) -> Evaluation:
    law = load_experiment(path_of(name)).scaling_law
    losses, baseline = (2.9, 2.8321, 2.77, 2.7), (2.91, 2.85, 2.78, 2.71)
    made = made_evaluation(losses, baseline, ladder=law.sizes)
    return dataclasses.replace(
        with_score(made, 0.0921, 0.0102),
        program=Program(source="", framework=law.framework),
        horizon=law.training.horizon,
        is_pilot=law.training.is_pilot,
    )


def prompt_for(name: str, program: str = "pass") -> dict[str, str]:
    """The prompt as OpenEvolve builds it, for a trained parent and a rejection beside it."""
    config = load_config(path_of(name))
    evaluation = evaluation_for(name)
    failure = Failure(
        program=evaluation.program,
        stage="causality",
        reason="row 3 changes when token 7 changes: mask before the softmax",
    )
    texts = artifacts(evaluation)
    texts |= {REJECTIONS_ARTIFACT: artifacts(failure)["rejected_because"]}
    return PromptSampler(config.prompt).build_prompt(
        current_program=program,
        parent_program=program,
        program_metrics=metrics(evaluation),
        evolution_round=3,
        program_artifacts=texts,
        feature_dimensions=config.database.feature_dimensions,
    )


@pytest.mark.parametrize("name", ALL)
def test_openevolve_and_this_package_read_every_key(name):
    mapping = yaml.safe_load(path_of(name).read_text(encoding="utf-8"))
    section = mapping.pop("scaling_law")
    config = load_config(path_of(name))
    assert set(mapping) <= {field.name for field in dataclasses.fields(Config)}
    for key, value in mapping.items():
        if isinstance(value, dict):
            known = {field.name for field in dataclasses.fields(getattr(config, key))}
            assert set(value) <= known, key
    for given, built in zip(mapping["llm"]["models"], config.llm.models, strict=True):
        assert {key: getattr(built, key) for key in given} == given
    law = from_mapping(ScalingLawConfig, section, "scaling_law")
    assert law == load_experiment(path_of(name)).scaling_law


@pytest.mark.parametrize("name", ALL)
def test_the_file_opens_with_its_purpose_machine_and_time(name):
    opening = path_of(name).read_text(encoding="utf-8").split("max_iterations")[0]
    for word in ("Purpose:", "Machine:", "Time:"):
        assert f"# {word}" in opening


@pytest.mark.parametrize("name", ALL)
def test_openevolve_is_kept_from_misreading_scores(name):
    config, law = load_config(path_of(name)), load_experiment(path_of(name)).scaling_law
    assert config.evaluator.timeout > law.execution.deadline_s + 60
    assert config.evaluator.max_retries == 0
    assert not config.evaluator.cascade_evaluation
    assert config.evaluator.parallel_evaluations == 1
    assert config.evaluator.enable_artifacts
    assert config.checkpoint_interval == 1
    assert config.early_stopping_patience is None
    assert set(config.database.feature_dimensions) <= set(METRIC_NAMES)


@pytest.mark.parametrize("name", ALL)
def test_the_noise_is_measured_before_anything_is_compared(name):
    noise = load_experiment(path_of(name)).scaling_law.noise
    assert noise == NoiseConfig(mode="measure", num_seeds=4, twin=False)


@pytest.mark.parametrize("name", FULL)
def test_the_full_experiment_is_the_one_that_claims_are_made_at(name):
    config, law = load_config(path_of(name)), load_experiment(path_of(name)).scaling_law
    assert config.max_iterations == 35
    assert law.framework == name
    assert not law.training.is_pilot
    assert law.ladder == "full"
    assert (law.data.vocab_size, law.data.seq_len, law.training.batch_size) == (16_384, 128, 64)
    assert [model.name for model in config.llm.models] == ["gpt-5", "gpt-4"]
    assert [model.weight for model in config.llm.models] == [0.9, 0.1]
    assert all(model.temperature == 0.8 for model in config.llm.models)
    assert config.llm.models[0].max_tokens == 16_000


def test_the_full_experiments_differ_in_their_framework_and_prompt_only():
    experiments = []
    for name in FULL:
        mapping = yaml.safe_load(path_of(name).read_text(encoding="utf-8"))
        mapping["prompt"].pop("system_message")
        for key in ("framework", "initial_program", "output_dir"):
            assert name in mapping["scaling_law"].pop(key)
        experiments.append(mapping)
    assert experiments[0] == experiments[1] == experiments[2]


@pytest.mark.parametrize("name", FULL)
def test_the_pilot_in_the_opening_comment_works_and_is_labelled_a_pilot(name):
    opening = path_of(name).read_text(encoding="utf-8").split("max_iterations")[0]
    command = opening.split("is a --set away:")[1].replace("#", " ").replace("\\\n", " ")
    words = shlex.split(command)
    assert words[:4] == ["openevolve", f"configs/{name}.yaml", "--iterations", "5"]
    overrides = [word for word, before in zip(words[1:], words, strict=False) if before == "--set"]
    training = load_experiment(path_of(name), overrides).scaling_law.training
    assert training.training_steps == 1000
    assert training.horizon == "pilot, 1,000 of 100,000 steps"


def test_the_quickstart_needs_no_key_and_reads_its_text_about_once():
    experiment = load_experiment(path_of("quickstart"))
    assert experiment.uses_grammar_only
    assert load_config(path_of("quickstart")).llm.models[0].provider == "grammar"
    law = experiment.scaling_law
    assert law.training.is_pilot
    assert (law.data.source, law.ladder) == ("stories", "quickstart")
    num_read = law.training.training_steps * law.training.batch_size
    assert 0.9 < num_read / law.data.num_documents < 1.1  # a story fills about one sequence


@pytest.mark.parametrize("name", ALL)
def test_the_prompt_says_what_can_evolve_what_must_stay_and_what_is_fixed(name):
    system = prompt_for(name)["system"]
    for heading in ("WHAT CAN EVOLVE", "WHAT MUST BE PRESERVED", "WHAT CANNOT BE MODIFIED"):
        assert heading in system
    base = BASES[load_experiment(path_of(name)).scaling_law.framework]
    assert f"{base.evolvable_method}(" in system
    for helper in re.findall(r"self\.(\w+)", system):
        assert hasattr(base, helper), f"the prompt promises self.{helper}"


@pytest.mark.parametrize("name", ALL)
def test_the_prompt_shows_losses_verdict_and_rejections(name):
    user = prompt_for(name)["user"]
    assert "2.8321" in user
    assert "-0.0179" in user, "the difference to the baseline"
    assert "fitness +0.0921" in user
    assert "score +0.0921 +- 0.0102 (3 degrees of freedom) over 1 seed" in user
    assert "row 3 changes when token 7 changes" in user
    assert load_experiment(path_of(name)).scaling_law.training.horizon in user
    assert "REDACTED" not in user


@pytest.mark.parametrize("name", ALL)
def test_the_prompt_explains_every_piece_of_feedback_by_its_name(name):
    user = prompt_for(name)["user"]
    rules = user[user.index("# How a program is judged") :]
    names = {*artifacts(evaluation_for(name)), REJECTIONS_ARTIFACT, "rejected_because"}
    for feedback in sorted(names):
        assert f"{feedback}" in rules


@pytest.mark.parametrize("name", ALL)
def test_the_prompt_is_one_that_the_grammar_proposer_can_answer(name):
    experiment = load_experiment(path_of(name))
    program = experiment.initial_program.read_text(encoding="utf-8")
    config = load_config(path_of(name)).llm.models[0]
    answer = create_grammar_client(config).answer(prompt_for(name, program)["user"])
    assert apply_diff(program, answer) != program


def test_a_stray_brace_in_the_template_would_be_noticed():
    text = (CONFIGS / "prompts" / "diff_user.txt").read_text(encoding="utf-8")
    fields = set(re.findall(r"\{(\w+)\}", text))
    assert text.count("{") == text.count("}") == len(re.findall(r"\{\w+\}", text))
    assert {"artifacts", "current_program", "evolution_history", "language"} <= fields
