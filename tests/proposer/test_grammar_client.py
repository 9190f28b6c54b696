from __future__ import annotations

import ast
import asyncio
import pickle

import pytest
import rendered_programs as programs
from openevolve.config import LLMModelConfig, PromptConfig
from openevolve.llm import ensemble
from openevolve.prompt.sampler import PromptSampler
from openevolve.utils.code_utils import apply_diff, parse_evolve_blocks

from openevolve_unified.plugin.proposer import create_grammar_client, register_grammar_provider
from openevolve_unified.plugin.proposer.genome import genome_of, genomes_in, softmax_genome
from openevolve_unified.plugin.proposer.grammar_client import (
    MODEL_NAME,
    current_program,
    replacing_diff,
)
from openevolve_unified.plugin.proposer.ingredients import ALL
from openevolve_unified.plugin.proposer.render import render_block

METRICS = {"combined_score": 0.09, "lookback": 0.2, "log10_operators": 1.3}


def initial_program(framework: str) -> str:
    return (programs.PROGRAMS / f"{framework}.py").read_text(encoding="utf-8")


def prompt_for(program: str, others: tuple[str, ...] = (), diff: bool = True) -> str:
    shown = [{"id": str(i), "code": code, "metrics": METRICS} for i, code in enumerate(others)]
    sampler = PromptSampler(PromptConfig(num_top_programs=3, num_diverse_programs=1))
    return sampler.build_prompt(
        current_program=program,
        parent_program=program,
        program_metrics=METRICS,
        previous_programs=shown,
        top_programs=shown,
        diff_based_evolution=diff,
        program_artifacts={"losses_per_size": "32x2 3.21"},
        feature_dimensions=["lookback"],
    )["user"]


def client(seed: int | None = 7):
    return create_grammar_client(LLMModelConfig(name=MODEL_NAME, random_seed=seed))


def child_of(program: str, answer: str) -> str:
    child = apply_diff(program, answer)
    assert child != program
    before = parse_evolve_blocks(program)[0]
    after = parse_evolve_blocks(child)[0]
    assert child.split("\n")[: after[0]] == program.split("\n")[: before[0]]
    assert child.split("\n")[after[1] :] == program.split("\n")[before[1] :]
    return child


@pytest.mark.parametrize("framework", ALL)
def test_the_answer_is_a_diff_that_openevolve_applies_inside_the_block(framework):
    program = initial_program(framework)
    answer = asyncio.run(
        client().generate_with_context("", [{"role": "user", "content": prompt_for(program)}])
    )
    child = child_of(program, answer)
    (genome,) = genomes_in(child, framework)
    assert genome != softmax_genome(framework)
    assert render_block(genome) in child
    assert "not a language model" in answer


@pytest.mark.parametrize("framework", ALL)
def test_a_chain_of_proposals_stays_legal_and_never_repeats_itself(framework):
    proposer, program, seen = client(), initial_program(framework), set()
    for _ in range(25):
        program = child_of(program, proposer.answer(prompt_for(program)))
        ast.parse(program)
        (genome,) = genomes_in(program, framework)
        assert genome not in seen
        seen.add(genome)


def test_the_same_seed_and_prompts_give_the_same_answers():
    prompt = prompt_for(initial_program("matrix_mixer"))
    first, second = client(), client()
    answers = [first.answer(prompt) for _ in range(5)]
    assert answers == [second.answer(prompt) for _ in range(5)]
    assert len(set(answers)) == 5
    other = client(seed=8)
    assert answers != [other.answer(prompt) for _ in range(5)]


def test_scores_in_the_prompt_do_not_change_the_choice():
    prompt = prompt_for(initial_program("matrix_mixer"))
    assert client().answer(prompt) == client().answer(prompt.replace("0.09", "0.91"))


def test_programs_in_the_prompt_are_not_proposed_again_and_serve_for_crossover():
    framework = "test_time_regression"
    names = (["qk_norm"], ["forget_gate", "key_shift"], ["rope", "sink"])
    genomes = [genome_of(framework, departures) for departures in names]
    shown = tuple(programs.program_with(framework, render_block(genome)) for genome in genomes)
    prompt = prompt_for(shown[0], shown)
    operations = set()
    for seed in range(40):
        answer = client(seed).answer(prompt)
        (genome,) = genomes_in(child_of(shown[0], answer), framework)
        assert genome not in genomes
        operations.add(answer.split(": ")[1].split(" ")[0])
    assert operations == {"mutation", "crossover"}


def test_a_program_that_the_grammar_did_not_write_is_replaced_by_one_of_its_own():
    foreign = '''SCALE = 0.5


def helper(z):
    """Someone's helper, with a fence:

```
z
```
    """
    return z * SCALE


# =========================
class EvolvableAttention(CoefficientDynamics):
    """A person wrote this."""

    # ---------------- =======
    def coefficients(self, q, k, x, mask):
        # =======
        return helper(self.masked_softmax(q @ k.transpose(-2, -1), mask))
'''
    program = programs.program_with("coefficient_dynamics", foreign)
    prompt = prompt_for(program)
    assert current_program(prompt) == program
    child = child_of(program, client().answer(prompt))
    ast.parse(child)
    assert len(genomes_in(child, "coefficient_dynamics")) == 1
    assert "A person wrote this" not in child


def test_a_rule_of_equal_signs_inside_a_string_cannot_be_replaced_and_says_so():
    foreign = 'class EvolvableAttention(MatrixMixer):\n    """Title\n    =======\n    """\n'
    program = programs.program_with("matrix_mixer", foreign)
    with pytest.raises(ValueError, match="cannot be replaced"):
        replacing_diff(program, render_block(softmax_genome("matrix_mixer")))


def test_without_diffs_the_answer_is_a_whole_program():
    program = initial_program("matrix_mixer")
    answer = client().answer(prompt_for(program, diff=False))
    code = answer.split("```python\n")[1].split("\n```")[0]
    assert code.startswith(program.split("# EVOLVE-BLOCK-START")[0])
    assert len(genomes_in(code, "matrix_mixer")) == 1
    ast.parse(code)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print(1)", "none of the framework classes"),
        ("class EvolvableAttention(MatrixMixer):\n    pass", "0 EVOLVE-BLOCKs, wanted one"),
    ],
)
def test_a_prompt_without_a_usable_program_says_why(program, reason):
    with pytest.raises(ValueError, match=reason):
        client().answer(prompt_for(program))


def test_a_prompt_without_a_current_program_says_so():
    with pytest.raises(ValueError, match="no fenced code"):
        client().answer("Improve my program.")


def test_openevolve_still_has_the_registry_that_the_provider_is_added_to():
    assert "openai" in ensemble._PROVIDER_REGISTRY


def test_the_registered_provider_is_what_openevolve_builds_and_logs(monkeypatch):
    monkeypatch.setattr(ensemble, "_PROVIDER_REGISTRY", dict(ensemble._PROVIDER_REGISTRY))
    register_grammar_provider()
    config = LLMModelConfig(name="grammar", provider="grammar", random_seed=1)
    built = ensemble.LLMEnsemble([config])
    prompt = prompt_for(initial_program("coefficient_dynamics"))
    messages = [{"role": "user", "content": prompt}]
    answer = asyncio.run(built.generate_with_context("", messages))
    assert answer == client(1).answer(prompt)
    assert vars(built.models[0])["model"] == MODEL_NAME


def test_the_factory_travels_to_worker_processes():
    assert pickle.loads(pickle.dumps(create_grammar_client)) is create_grammar_client  # noqa: S301
