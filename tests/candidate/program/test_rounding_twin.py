"""The rounding twin: the same function, other roundings, and a program like any other."""

from __future__ import annotations

import torch

from openevolve_unified.candidate.program.rounding_twin import write_rounding_twin
from openevolve_unified.candidate.program.traced import load_traced

MEMBERS = "self.scale = nn.Parameter(torch.randn(num_heads, 1, 1))"
BODIES = {
    "matrix_mixer": "s = q @ k.mT * self.scale\n"
    "return s.masked_fill(~mask, -torch.inf).softmax(-1)",
    "test_time_regression": "return v * self.scale",
}


def traced_pair(desk, framework):
    candidate = desk.trace(desk.program(BODIES[framework], framework, members=MEMBERS), framework)
    trace, twin = desk.folder / "candidate.safetensors", desk.folder / "twin.safetensors"
    write_rounding_twin(trace, twin)
    return candidate, load_traced(twin, desk.gates)


def outputs(candidate, seed, double):
    size = next(iter(candidate.sizes.values()))
    heads, width = size.size.num_heads, size.size.head_dim
    generator = torch.Generator().manual_seed(0)
    shape, dtype = (2, heads, candidate.seq_len, width), torch.float64
    q, k, v = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(3))
    x = torch.randn(2, candidate.seq_len, size.size.hidden_dim, generator=generator, dtype=dtype)
    mask = torch.ones(candidate.seq_len, candidate.seq_len, dtype=torch.bool).tril()
    if double:
        parameters = tuple(p.double() for p in size.initial_parameters(seed, 0))
        return size.double_mechanism(candidate.seq_len, parameters, seed)(q, k, v, x, mask)
    single = (tensor.float() for tensor in (q, k, v, x))
    return size.mechanism(seed, 0)(*single, mask)


def test_a_twin_computes_the_same_function_and_rounds_differently(desk):
    for framework in BODIES:
        candidate, twin = traced_pair(desk, framework)
        seed = desk.seeds[0]
        exact, again = (outputs(one, seed, double=True) for one in (candidate, twin))
        torch.testing.assert_close(again, exact, rtol=1e-14, atol=1e-14)
        rounded, otherwise = (outputs(one, seed, double=False) for one in (candidate, twin))
        torch.testing.assert_close(otherwise, rounded, rtol=1e-6, atol=1e-6)
        changed = (rounded != otherwise)[rounded != 0].float().mean()
        assert changed > 0.1, framework


def test_a_twin_is_another_program_with_the_same_initial_values_at_every_size(desk):
    candidate, twin = traced_pair(desk, "matrix_mixer")
    assert twin.fingerprint != candidate.fingerprint
    assert list(twin.sizes) == list(candidate.sizes)
    for name, size in candidate.sizes.items():
        for seed in desk.seeds:
            for own, same in zip(
                size.initial_parameters(seed, 1),
                twin.sizes[name].initial_parameters(seed, 1),
                strict=True,
            ):
                assert torch.equal(own, same)
