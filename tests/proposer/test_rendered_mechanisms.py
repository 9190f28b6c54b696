"""Every ingredient in every notation, and a sample of combinations, as running mechanisms."""

from __future__ import annotations

import random

import pytest
import rendered_programs as programs
import torch

from openevolve_unified.plugin.proposer.genome import Genome, mutate, softmax_genome
from openevolve_unified.plugin.proposer.ingredients import ALL, INGREDIENTS

NUM_TOKENS = 12


def sampled_genomes(num_per_framework: int) -> list[Genome]:
    rng = random.Random(0)
    sample = []
    for framework in ALL:
        for _ in range(num_per_framework):
            sample.append(mutate(softmax_genome(framework), rng, rng.randint(2, 5)))
    return sample


SINGLES = programs.single_ingredient_genomes()
SAMPLE = sampled_genomes(10)
BOTH = list(dict.fromkeys([*SINGLES, *SAMPLE]))
IN_ONE_NOTATION = {
    programs.genome_with(item.frameworks[i % len(item.frameworks)], item.name)
    for i, item in enumerate(INGREDIENTS)
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """The tensors are tiny: threads only get in each other's way."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def few_by_default(genomes: list[Genome]) -> list:
    """A third of the ingredients in one of their notations by default, everything with ``-m slow``:
    the shipped mechanisms, which they are taken from, are exported too."""
    few = [genome for genome in genomes if genome in IN_ONE_NOTATION][::3]
    return [g if g in few else pytest.param(g, marks=pytest.mark.slow) for g in genomes]


def name_of(genome: Genome) -> str:
    return f"{genome.framework}-{'-'.join(genome.departures) or 'softmax'}"


@pytest.mark.parametrize("genome", BOTH, ids=name_of)
def test_the_mechanism_is_causal_and_its_prefix_does_not_depend_on_the_length(genome):
    module = programs.attention(genome)
    programs.scramble(module)
    run = programs.mechanism(module)
    q, k, v, x, mask = programs.inputs(NUM_TOKENS)
    others = programs.inputs(NUM_TOKENS, seed=1)
    whole = run(q, k, v, x, mask)
    assert whole.shape == q.shape
    for cut in (1, 5, 11):
        mixed = [
            torch.cat((a[..., :cut, :], b[..., cut:, :]), dim=-2)
            for a, b in zip((q, k, v, x), others[:4], strict=True)
        ]
        torch.testing.assert_close(
            run(*mixed, mask)[..., :cut, :], whole[..., :cut, :], rtol=0, atol=1e-12
        )
        short = [tensor[..., :cut, :] for tensor in (q, k, v, x)]
        torch.testing.assert_close(
            run(*short, mask[:cut, :cut]), whole[..., :cut, :], rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("genome", BOTH, ids=name_of)
def test_the_past_has_no_gradient_from_the_future_and_every_parameter_has_one(genome):
    module = programs.attention(genome)
    programs.scramble(module)
    q, k, v, x, mask = programs.inputs(NUM_TOKENS)
    leaves = [tensor.requires_grad_() for tensor in (q, k, v, x)]
    result = programs.mechanism(module)(*leaves, mask)
    past = torch.autograd.grad(
        result[..., :6, :].square().sum(), leaves, allow_unused=True, retain_graph=True
    )
    for gradient in (gradient for gradient in past if gradient is not None):
        assert gradient[..., 6:, :].abs().max() == 0, "a later token reaches an earlier output"
        assert gradient.isfinite().all()
    result.square().sum().backward()
    for name, parameter in programs.own_parameters(module).items():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0, f"{name} gets no gradient"


@pytest.mark.parametrize("genome", BOTH, ids=name_of)
def test_the_mechanism_stays_finite_in_single_precision_on_extreme_inputs(genome):
    run = programs.mechanism(programs.attention(genome)).float()
    *tensors, mask = programs.inputs(NUM_TOKENS)
    constant = [tensor[..., :1, :].expand_as(tensor) for tensor in tensors]
    for batch in (tensors, constant):
        for scale in (1e-3, 1.0, 30.0):
            leaves = [(scale * tensor).float().requires_grad_() for tensor in batch]
            result = run(*leaves, mask)
            assert result.isfinite().all()
            used = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
            assert all(g.isfinite().all() for g in used if g is not None)
    first = [tensor[..., :1, :].float() for tensor in tensors]
    assert run(*first, mask[:1, :1]).isfinite().all()


@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")  # torch.export's own
@pytest.mark.parametrize("genome", few_by_default(SINGLES), ids=name_of)
def test_the_mechanism_can_be_exported_as_functional_operators(genome):
    run = programs.mechanism(programs.attention(genome))
    arguments = programs.inputs(NUM_TOKENS)
    exported = torch.export.export(run, tuple(arguments), strict=False).run_decompositions({})
    torch.testing.assert_close(exported.module()(*arguments), run(*arguments))
