"""What initial values open in some layers or at some seeds only is refused before training."""

from __future__ import annotations

import dataclasses

import pytest

SCORES = "s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)\n"
DRAW = "torch.tensor([float(torch.initial_seed() % 2)])"
"""0 at the first layer of the first seed, 1 at a later one."""
CONSTANT = f'self.register_buffer("open", {DRAW})'
PARAMETER = f"self.open = nn.Parameter({DRAW})"
WEIGHTS = "a = s.masked_fill(~mask, -torch.inf).softmax(-1)\n"


def assert_closed_at_first(desk, body, members):
    """Without this the tests would say nothing: what is looked at most is honest."""
    traced = desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    for one in traced.sizes.values():
        values = {
            (seed, layer): float(
                [*one.initial_parameters(seed, layer), *one.constants(seed, layer)][0]
            )
            for seed in one.seeds
            for layer in range(one.size.num_layers)
        }
        assert values[desk.seeds[0], 0] == 0.0
        assert 1.0 in values.values()


LEAKS = {
    "a constant": (CONSTANT, "return torch.lerp(a, b, 0.1 * self.open)"),
    "a parameter": (
        PARAMETER,
        "gate = F.relu(0.01 - (self.open - 1).abs())\n"
        "return torch.lerp(a, b, gate) * (1 + 0.1 * self.open)",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_in_some_layers_is_refused_before_training(desk, name):
    members, result = LEAKS[name]
    ahead = "b = s.masked_fill(~torch.ones_like(mask).tril(1), -torch.inf).softmax(-1)\n"
    body = SCORES + WEIGHTS + ahead + result
    assert_closed_at_first(desk, body, members)
    refusal = desk.refusal(desk.program(body, members=members))
    assert refusal.stage == "causality"
    assert "initial values of layer" in refusal.reason


def test_sequences_that_mix_in_some_layers_are_refused_before_training(desk):
    body = SCORES + WEIGHTS + "return a * (1 + self.open * torch.sigmoid(x.mean()))"
    body = body.replace("x.mean()", "x.roll(1, 0)[..., :1, None].transpose(1, 2)")
    assert_closed_at_first(desk, body, CONSTANT)
    refusal = desk.refusal(desk.program(body, members=CONSTANT))
    assert refusal.stage == "batch"
    assert "initial values of layer" in refusal.reason


def test_values_that_are_not_finite_in_some_layers_are_refused_before_training(desk):
    body = SCORES + WEIGHTS + "return a * (1 + self.open / (1 - self.open))"
    assert_closed_at_first(desk, body, CONSTANT)
    refusal = desk.refusal(desk.program(body, members=CONSTANT))
    assert refusal.stage == "numerics"
    assert "initial values of layer" in refusal.reason


def test_an_honest_constant_that_differs_between_layers_is_accepted(desk):
    body = SCORES + WEIGHTS + "return a * (1 + self.open * torch.sigmoid(x[..., :1])[:, None])"
    assert_closed_at_first(desk, body, CONSTANT)
    evidence = desk.check(desk.program(body, members=CONSTANT), "coefficient_dynamics").evidence
    sizes = evidence["causality"]["sizes"].values()
    assert {size["initial_values"] for size in sizes} == {4}


def test_values_that_all_layers_share_are_looked_at_once(desk):
    program = desk.program(
        SCORES + WEIGHTS + "return a * self.gain",
        members="self.gain = nn.Parameter(torch.ones(num_heads, 1, 1))",
    )
    evidence = desk.check(program, "coefficient_dynamics").evidence
    sizes = evidence["causality"]["sizes"].values()
    assert {size["initial_values"] for size in sizes} == {1}


def test_a_constant_of_another_seed_is_looked_at_too(desk):
    body = SCORES + WEIGHTS + "return a + 0.1 * self.open * torch.ones_like(s).tril(1).triu(1)"
    traced = desk.trace(desk.program(body, members=CONSTANT), "coefficient_dynamics")
    one = next(iter(traced.sizes.values()))
    assert len(one.distinct_places()) == 4
    assert dataclasses.replace(one, seeds=one.seeds[:1]).distinct_places() == [(7, 0), (7, 1)]
