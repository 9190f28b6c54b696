"""A mechanism that trains in bfloat16 rounds its matrix products, and nothing else."""

from __future__ import annotations

import pytest
import torch
from assembled_programs import build_program
from recorded_programs import CD, SIZES, TIME, request_for

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.candidate.tracing.inside.capture import capture
from openevolve_unified.config.schema import GatesConfig

GATED = """
gates = F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(-1)
keys = k @ k.mT / 8
solved = torch.linalg.solve_triangular(keys.tril(-1), keys, upper=False, unitriangular=True)
s = q @ k.mT + solved + gates[..., None] - gates[..., None, :]
return s.masked_fill(~mask, float("-inf")).softmax(-1)
"""
"""A running sum behind a product, and a solve, which has no kernel in bfloat16."""


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    path = tmp_path_factory.mktemp("rounded") / "traced.safetensors"
    source = build_program(GATED, CD, "self.gate = nn.Linear(hidden_dim, num_heads)")
    path.write_bytes(capture(request_for(source)))
    return load_traced(path, GatesConfig()).sizes[SIZES[1].name]


def arguments(size):
    generator = torch.Generator().manual_seed(3)
    q, k, v = torch.randn(3, 2, size.num_heads, TIME, size.head_dim, generator=generator)
    x = torch.randn(2, TIME, size.hidden_dim, generator=generator)
    return q, k, v, x, torch.ones(TIME, TIME, dtype=torch.bool).tril()


def test_without_autocast_it_gives_the_bits_of_float32(traced):
    inputs = arguments(traced.size)
    exact, rounding = (traced.mechanism(3, 0, precision) for precision in ("float32", "bfloat16"))
    assert torch.equal(rounding(*inputs), exact(*inputs))
    assert rounding.meta["fingerprint"] == exact.meta["fingerprint"], "the same program"
    assert [*rounding.state_dict()] == [*exact.state_dict()]


def test_under_autocast_products_round_and_what_follows_them_is_float32(traced):
    inputs = arguments(traced.size)
    mechanism = traced.mechanism(3, 0, "bfloat16")
    expected = traced.mechanism(3, 0)(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = mechanism(*inputs)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected), "nothing was rounded"
    assert (found - expected).abs().max() < 0.05


def test_float32_mechanisms_cannot_run_under_autocast(traced):
    """Why the products alone are rounded: the accepted twin is above."""
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(RuntimeError, match="not implemented for 'BFloat16'"),
    ):
        traced.mechanism(3, 0)(*arguments(traced.size))


def test_gradients_are_near_those_of_float32(traced):
    q, *rest = arguments(traced.size)
    found = []
    for precision in ("float32", "bfloat16"):
        mechanism = traced.mechanism(3, 0, precision)
        leaf = q.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            result = mechanism(leaf, *rest)
        weights = torch.linspace(0, 1, result.numel()).view_as(result)
        found.append(torch.autograd.grad((result * weights).sum(), leaf)[0])
    exact, rounded = found
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.05
