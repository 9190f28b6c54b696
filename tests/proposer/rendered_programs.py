"""Runs rendered programs the slow way: compiled, instantiated, and driven in float64."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified import frameworks
from openevolve_unified.plugin.proposer.genome import Genome, conflict, genome_of
from openevolve_unified.plugin.proposer.ingredients import ALL, INGREDIENTS
from openevolve_unified.plugin.proposer.render import render_block

PROGRAMS = Path(__file__).parents[2] / "initial_programs"
HIDDEN_DIM, NUM_HEADS = 16, 2


def genome_with(framework: str, name: str) -> Genome:
    """The simplest legal genome with this ingredient."""
    companions = [] if name != "short_memory" else ["forget_gate"]
    genome = genome_of(framework, [*companions, name])
    assert conflict(genome) is None
    return genome


def single_ingredient_genomes() -> list[Genome]:
    """Every ingredient in every notation that can express it; softmax attention once."""
    genomes = [
        genome_with(framework, item.name)
        for framework in ALL
        for item in INGREDIENTS
        if framework in item.frameworks
    ]
    return list(dict.fromkeys(genomes))


def program_with(framework: str, block: str) -> str:
    """The framework's initial program with this EVOLVE-BLOCK."""
    source = (PROGRAMS / f"{framework}.py").read_text(encoding="utf-8")
    before, _, rest = source.partition("# EVOLVE-BLOCK-START\n")
    _, _, after = rest.partition("# EVOLVE-BLOCK-END")
    return f"{before}# EVOLVE-BLOCK-START\n{block}\n\n\n# EVOLVE-BLOCK-END{after}"


def attention(
    genome: Genome, hidden_dim: int = HIDDEN_DIM, num_heads: int = NUM_HEADS
) -> nn.Module:
    """The rendered class, instantiated in float64."""
    names = {"math": math, "torch": torch, "nn": nn, "F": F}
    names |= {name: getattr(frameworks, name) for name in frameworks.__all__}
    exec(compile(render_block(genome), "rendered", "exec"), names)
    torch.manual_seed(0)
    return names["EvolvableAttention"](hidden_dim, num_heads, 0.0).double()


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that the rendered class added to its base's."""
    fixed = ("q_proj", "k_proj", "v_proj", "out_proj")
    return {n: p for n, p in module.named_parameters() if n.split(".")[0] not in fixed}


def scramble(module: nn.Module, seed: int = 1) -> None:
    """Move every parameter away from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator).double()


def mechanism(module: nn.Module) -> nn.Module:
    """The evolvable method applied to the values, as a module of (q, k, v, x, mask)."""

    class Mechanism(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, q, k, v, x, mask):
            return self.attention.mix(q, k, v, x, mask)

    return Mechanism()


def inputs(num_tokens: int, scale: float = 1.0, seed: int = 0) -> list[torch.Tensor]:
    """q, k, v, x and the mask for a batch of two."""
    generator = torch.Generator().manual_seed(seed)
    heads = (2, NUM_HEADS, num_tokens, HIDDEN_DIM // NUM_HEADS)
    tensors = [torch.randn(heads, generator=generator).double() * scale for _ in range(3)]
    x = torch.randn(2, num_tokens, HIDDEN_DIM, generator=generator).double() * scale
    return [*tensors, x, torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()]
