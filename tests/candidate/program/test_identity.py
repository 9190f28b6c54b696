"""Fingerprints tell mechanisms apart, not spellings; budgets count what the model really holds."""

from __future__ import annotations

import pytest
import torch

from openevolve_unified.candidate.checks.causality import require_causal, require_prefix_holds
from openevolve_unified.candidate.program.budget import flops_per_token, num_parameters
from openevolve_unified.errors import CandidateError

BODY = "s = q @ k.mT * 0.5\nreturn s.masked_fill(~mask, -torch.inf).softmax(-1)"
MEMBERS = "self.scale = nn.Parameter(torch.randn(num_heads, 1, 1))"
SCALED = BODY.replace("0.5", "self.scale")


def fingerprint(desk, body: str, members: str = "", framework: str = "matrix_mixer") -> str:
    return desk.trace(desk.program(body, framework, members), framework).fingerprint


def test_names_comments_and_dead_code_do_not_change_the_fingerprint(desk):
    renamed = BODY.replace("s ", "weights ").replace("s.", "weights.")
    commented = "# another comment\nunused = torch.exp(q)\n" + BODY
    assert len({fingerprint(desk, body) for body in (BODY, renamed, commented)}) == 1
    other_name = fingerprint(
        desk, SCALED.replace("scale", "gain"), MEMBERS.replace("scale", "gain")
    )
    assert fingerprint(desk, SCALED, MEMBERS) == other_name


def test_numbers_operators_initial_values_and_frameworks_change_the_fingerprint(desk):
    found = {
        fingerprint(desk, BODY),
        fingerprint(desk, BODY.replace("0.5", "0.25")),
        fingerprint(desk, BODY.replace("q @ k.mT", "(q @ k.mT).tanh()")),
        fingerprint(desk, BODY, framework="coefficient_dynamics"),
        fingerprint(desk, SCALED, MEMBERS),
        fingerprint(desk, SCALED, MEMBERS.replace("randn", "ones")),
    }
    assert len(found) == 6


def test_each_size_and_seed_has_its_own_fingerprint(desk):
    traced = desk.trace(desk.program(SCALED, members=MEMBERS), "coefficient_dynamics")
    found = {size.fingerprint(seed) for size in traced.sizes.values() for seed in desk.seeds}
    assert len(found) == len(desk.sizes) * len(desk.seeds)
    (first, _) = traced.sizes.values()
    mechanism = first.mechanism(desk.seeds[0], 0)
    assert mechanism.meta["fingerprint"] == first.fingerprint(desk.seeds[0])


def test_parameters_are_those_of_the_full_experiments_model(desk):
    """2,890,496 in all at 128x4 with vocabulary 16,384, of which 16,384 * 128 are embeddings."""
    from openevolve_unified.candidate.program.budget import _fixed_parameters
    from openevolve_unified.config.schema import SizeConfig

    size = SizeConfig(hidden_dim=128, num_layers=4, num_heads=4)
    assert _fixed_parameters(size) == 2_890_496 - 16_384 * 128
    traced = desk.trace(desk.program(SCALED, members=MEMBERS), "coefficient_dynamics")
    plain = desk.trace(desk.program(BODY), "coefficient_dynamics")
    for name, one in traced.sizes.items():
        extra = num_parameters(one) - num_parameters(plain.sizes[name])
        assert extra == one.size.num_layers * one.size.num_heads == 2 * one.size.num_heads


def test_elementwise_compute_is_not_free(desk):
    plain = desk.trace(desk.program(BODY), "coefficient_dynamics")
    more = desk.trace(
        desk.program(BODY.replace("0.5", "0.5\ns = s.tanh()")), "coefficient_dynamics"
    )
    for name, one in more.sizes.items():
        extra = flops_per_token(one, 512) - flops_per_token(plain.sizes[name], 512)
        assert extra == one.size.num_layers * one.size.num_heads * desk.seq_len


def test_causality_can_be_asked_of_any_function():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    evidence = require_causal(lambda z: z.cumsum(1), x, range(1, 9), 0.0, "a running sum")
    assert (evidence.num_cuts, evidence.max_relative_change) == (8, 0.0)
    with pytest.raises(CandidateError, match="a running sum: the output at position 0"):
        require_causal(lambda z: z.flip(1).cumsum(1), x, [4], 0.0, "a running sum")
    tiny = torch.zeros(2, 9, 4, dtype=torch.float64)
    tiny[:, 0] = 1e-12
    with pytest.raises(CandidateError, match="position 0"):
        require_causal(lambda z: z + tiny * z[:, -1:], x, [8], 0.0, "a faint leak")
    with pytest.raises(CandidateError, match="depends on the time length"):
        require_prefix_holds(
            lambda z: z / z.shape[1], lambda z: z / z.shape[1], x, 5, 1e-9, "a mean"
        )
