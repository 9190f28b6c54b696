"""What each mechanism costs, counted on its traced program, against what the catalog says."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from openevolve_unified.candidate.program.costs import CostCounter
from openevolve_unified.config.schema import LADDERS
from openevolve_unified.mechanisms import catalog
from openevolve_unified.notations import FRAMEWORKS

MAX_RATIO = 1.10
TEXTS = {"quickstart": (64, 512), "full": (128, 16_384)}
"""Time and vocabulary of the two experiments."""
INITIAL_PROGRAMS = Path(__file__).parents[2] / "initial_programs"


def attention(source, size):
    scope = {"__name__": "program"}
    exec(compile(source, "program", "exec"), scope)
    return scope["EvolvableAttention"](size.hidden_dim, size.num_heads, 0.0)


def num_own_parameters(module):
    fixed = ("q_proj.", "k_proj.", "v_proj.", "out_proj.")
    return sum(p.numel() for n, p in module.named_parameters() if not n.startswith(fixed))


class Mixing(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, q, k, v, x, mask):
        return self.attention.mix(q, k, v, x, mask)


@torch.no_grad()
def flops_per_token(source, ladder, size):
    """Of the whole model; what no gradient or output needs is gone from a traced program."""
    time, vocab_size = TEXTS[ladder]
    heads = (2, size.num_heads, time, size.head_dim)
    q, k, v = (torch.randn(heads) for _ in range(3))
    mask = torch.ones(time, time, dtype=torch.bool).tril()
    inputs = (q, k, v, torch.randn(2, time, size.hidden_dim), mask)
    with warnings.catch_warnings():
        # torch 2.13 warns about its own use of LeafSpec.
        warnings.simplefilter("ignore", FutureWarning)
        exported = torch.export.export(Mixing(attention(source, size)), inputs, strict=False)
        module = exported.run_decompositions({}).module()
    with CostCounter() as counter:
        module(*inputs)
    fixed = 24 * size.hidden_dim**2 + 16 * size.hidden_dim
    head = (2 * size.hidden_dim + 3) * vocab_size
    return size.num_layers * (fixed + counter.flops / (2 * time)) + head


@pytest.fixture(scope="module")
def baselines():
    sources = {f: (INITIAL_PROGRAMS / f"{f}.py").read_text() for f in FRAMEWORKS}
    return {
        (framework, ladder): flops_per_token(source, ladder, LADDERS[ladder][0])
        for framework, source in sources.items()
        for ladder in TEXTS
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "mechanism", [pytest.param(m, id=f"{m.framework}-{m.name}") for m in catalog.mechanisms()]
)
def test_its_operations_are_within_budget_where_the_catalog_says_so(mechanism, baselines):
    """At the smallest size of each ladder, where mixing is the largest share of the model."""
    over = []
    for ladder in TEXTS:
        own = flops_per_token(mechanism.source, ladder, LADDERS[ladder][0])
        if own / baselines[mechanism.framework, ladder] > MAX_RATIO:
            over.append(ladder)
    assert mechanism.over_budget_at == tuple(over)
    assert mechanism.within_budget == (not over)


@pytest.mark.parametrize(
    "mechanism", [pytest.param(m, id=f"{m.framework}-{m.name}") for m in catalog.mechanisms()]
)
def test_its_own_parameters_are_within_budget_at_every_size(mechanism):
    for sizes in LADDERS.values():
        for size in sizes:
            layer = 12 * size.hidden_dim**2 + 13 * size.hidden_dim
            own = num_own_parameters(attention(mechanism.source, size))
            assert 1 + own / layer <= MAX_RATIO
