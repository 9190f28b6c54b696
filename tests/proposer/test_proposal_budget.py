"""Proposals keep the budget of a candidate where it is tightest: at the smallest shipped sizes."""

from __future__ import annotations

import random

import pytest
import rendered_programs as programs
import torch

from openevolve_unified.candidate.program.costs import CostCounter
from openevolve_unified.config.schema import LADDERS, GatesConfig, SizeConfig
from openevolve_unified.plugin.proposer.genome import Genome, genome_of, mutate, softmax_genome
from openevolve_unified.plugin.proposer.ingredients import ALL

GATES = GatesConfig()
QUICKSTART, FULL = LADDERS["quickstart"][0], LADDERS["full"][0]
BATCH = 2  # what depends on positions alone is shared by the sequences of a batch
DEAREST = {
    "coefficient_dynamics": "taylor qk_norm key_shift channel_decay input_gate",
    "test_time_regression": "taylor rope forget_gate input_gate near_taps",
    "matrix_mixer": "taylor key_shift channel_decay input_gate free_diagonal",
}
"""Found by a search over each framework's genomes."""


def model_costs(genome: Genome, size: SizeConfig, time: int, vocab: int) -> tuple[float, float]:
    """Operations per sequence and non-embedding parameters; the fixed part without its norms."""
    D, T = size.hidden_dim, time
    with torch.device("meta"):
        module = programs.attention(genome, D, size.num_heads).float()
        q, k, v = (torch.empty(BATCH, size.num_heads, T, size.head_dim) for _ in range(3))
        mask = torch.empty(T, T, dtype=torch.bool)
        with torch.no_grad(), CostCounter() as counter:
            module.mix(q, k, v, torch.empty(BATCH, T, D), mask)
    own = sum(parameter.numel() for parameter in programs.own_parameters(module).values())
    flops = size.num_layers * (24 * D * D * T + counter.flops / BATCH) + 2 * T * D * vocab
    return flops, size.num_layers * (12 * D * D + 13 * D + own)


def candidates(framework: str) -> list[Genome]:
    rng = random.Random(4)
    start = softmax_genome(framework)
    sample = [mutate(start, rng, rng.randint(3, 5)) for _ in range(20)]
    singles = [g for g in programs.single_ingredient_genomes() if g.framework == framework]
    return [*singles, *sample, genome_of(framework, DEAREST[framework].split())]


@pytest.mark.parametrize("framework", ALL)
@pytest.mark.parametrize(("size", "time", "vocab"), [(QUICKSTART, 64, 512), (FULL, 128, 16_384)])
def test_every_proposal_stays_within_the_budget(framework, size, time, vocab):
    base_flops, base_params = model_costs(softmax_genome(framework), size, time, vocab)
    for genome in candidates(framework):
        flops, params = model_costs(genome, size, time, vocab)
        assert flops / base_flops <= GATES.max_flops_ratio, genome.departures
        assert params / base_params <= GATES.max_params_ratio, genome.departures
