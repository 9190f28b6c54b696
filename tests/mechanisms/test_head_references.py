"""Mechanisms against whole layers written anew, at their own initial values and far from them."""

from __future__ import annotations

import math
import re

import pytest
import torch
from head_references import REFERENCES, t5_bucket
from shipped import shipped_source

from openevolve_unified.mechanisms import catalog
from openevolve_unified.notations import FRAMEWORKS

HEAD_DIM = 8
LENGTHS = {"t5_bias": 140}
"""Longer than the default where distances matter."""
OURS = [
    pytest.param(m, id=f"{m.framework}-{m.name}")
    for m in catalog.mechanisms()
    if m.name in REFERENCES
]


def build(mechanism, num_heads, seed=0, head_dim=HEAD_DIM):
    scope = {"__name__": mechanism.name}
    exec(compile(mechanism.source, str(mechanism.path), "exec"), scope)
    torch.manual_seed(seed)
    return scope["EvolvableAttention"](num_heads * head_dim, num_heads, 0.0).double()


def initial(name, num_heads=3, seed=0, head_dim=HEAD_DIM):
    """The attention of a mechanism in any of its notations, untouched."""
    mechanism = next(m for m in catalog.mechanisms() if m.name == name)
    return build(mechanism, num_heads, seed, head_dim)


def scramble(attention, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in attention.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += 0.5 * noise


def require_equal(attention, reference, num_heads, time):
    """To 1e-12 of the largest output, on the second of two sequences."""
    generator = torch.Generator().manual_seed(num_heads)
    heads = (3, 2, num_heads, time, attention.head_dim)
    q, k, v = torch.randn(heads, generator=generator, dtype=torch.float64)
    x = torch.randn(2, time, attention.hidden_dim, generator=generator, dtype=torch.float64)
    y = attention.mix(q, k, v, x, torch.ones(time, time, dtype=torch.bool).tril())
    expected = reference(attention, q[1], k[1], v[1], x[1])
    tolerance = 1e-12 * float(expected.abs().max())
    torch.testing.assert_close(y[1], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("mechanism", OURS)
@torch.no_grad()
def test_it_equals_the_published_layer_at_its_initial_values_and_at_others(mechanism):
    time = LENGTHS.get(mechanism.name, 40)
    attention = build(mechanism, 3)
    require_equal(attention, REFERENCES[mechanism.name], 3, time)
    scramble(attention, 1)
    require_equal(attention, REFERENCES[mechanism.name], 3, time)


@pytest.mark.parametrize("mechanism", OURS)
@torch.no_grad()
def test_it_equals_the_published_layer_for_every_number_of_heads_of_the_ladders(mechanism):
    for num_heads in (2, 4, 6, 9, 13, 18):
        attention = build(mechanism, num_heads)
        scramble(attention, 2)
        require_equal(attention, REFERENCES[mechanism.name], num_heads, 9)


def test_the_catalog_names_every_framework():
    assert {m.framework for m in catalog.mechanisms()} == set(FRAMEWORKS)


def test_kimi_delta_starts_with_the_published_rates_and_steps_drawn_apart():
    steps, rates = [], []
    for seed in range(20):
        attention = initial("kimi_delta", 6, seed)
        steps.append(torch.nn.functional.softplus(attention.step_bias))
        rates.append(attention.log_rate.exp().flatten())
    steps, rates = torch.stack(steps), torch.stack(rates)
    assert 1e-3 * 0.999 < steps.min() < 2e-3
    assert 5e-2 < steps.max() < 0.1 * 1.001
    assert 1 <= rates.min() < 2 < 15 < rates.max() <= 16
    per_head = steps.log().view(20, 6, HEAD_DIM).mean(dim=-1)
    correlation = torch.corrcoef(torch.stack((per_head.flatten(), rates.flatten())))[0, 1]
    assert correlation.abs() < 0.3
    assert attention.gate_down.weight.shape == (HEAD_DIM, 6 * HEAD_DIM)
    assert attention.strength.bias is None


@pytest.mark.parametrize(
    ("name", "first", "largest"),
    [
        ("kimi_delta", 0.15, 0.36),
        ("rwkv7", 1.7, 5.4),
        ("hgrn2", 0.4, 0.5),
        ("delta_product", 0.4, 1.1),
    ],
)
@torch.no_grad()
def test_values_leave_without_an_output_norm_at_the_sizes_that_the_docstring_says(
    name, first, largest
):
    attention = initial(name, 6, head_dim=16).float()
    q, k, v = torch.randn(3, 32, 6, 128, 16)
    y = attention.mix(q, k, v, torch.randn(32, 128, 96), torch.ones(128, 128).tril().bool())
    rms = y.square().mean(dim=(0, 1, 3)).sqrt()
    assert rms[0] == pytest.approx(first, rel=0.2)
    assert rms.max() == pytest.approx(largest, rel=0.2)
    source = shipped_source(name, "matrix_mixer")
    assert re.search(rf"leave\s+with\s+{first}\s+\(first\s+token\)\s+to\s+{largest}\s", source)


def test_rwkv7_starts_with_the_published_values_of_the_first_layer():
    attention = initial("rwkv7", 3)
    C, N = 3 * HEAD_DIM, HEAD_DIM
    for n in range(C):
        linear = n / (C - 1) - 0.5
        zigzag = ((n % N) - (N - 1) / 2) / ((N - 1) / 2)
        zigzag = zigzag * abs(zigzag)
        assert attention.decay_bias[n].item() == pytest.approx(
            -6 + 6 * n / (C - 1) + 0.5 + 2.5 * zigzag, abs=1e-5
        )
        assert attention.rate_bias[n].item() == pytest.approx(
            -0.19 + 0.3 * zigzag + 0.4 * linear, abs=1e-6
        )
        assert attention.removal.flatten()[n].item() == pytest.approx(0.71 - 0.1 * linear, abs=1e-6)
    assert (attention.rewrite - 1.02).abs().max() < 1e-6
    for down, up in (
        (attention.decay_down, attention.decay_up),
        (attention.rate_down, attention.rate_up),
    ):
        assert torch.count_nonzero(down) == 0
        torch.testing.assert_close(up @ up.T, 0.01 * torch.eye(8).double(), rtol=0, atol=1e-8)


def test_rwkv7_decays_stay_above_the_published_bound_whatever_its_parameters():
    attention = initial("rwkv7", 3)
    attention.decay_bias.data += 100.0
    x = torch.randn(1, 5, 3 * HEAD_DIM, dtype=torch.float64)
    assert attention.log_gate(x).min() >= -math.exp(-0.5)
    assert math.exp(-math.exp(-0.5)) == pytest.approx(0.545, abs=1e-3)


def test_the_other_initial_values_are_the_published_ones():
    torch.testing.assert_close(
        torch.sigmoid(initial("hgrn2").bound), torch.full((3, 1, HEAD_DIM), 0.25).double()
    )
    for name, member, deviation in (
        ("t5_bias", "bias", (16 * HEAD_DIM) ** -0.5),
        ("talking_heads", "before", 0.25),
        ("talking_heads", "after", 0.25),
        ("attention_sink", "sink", 0.02),
    ):
        drawn = [getattr(initial(name, 16, seed), member).flatten() for seed in range(20)]
        assert torch.cat(drawn).std().item() == pytest.approx(deviation, rel=0.15), name


def test_delta_product_takes_two_unit_keys_and_strengths_up_to_a_reflection():
    attention = initial("delta_product", 2)
    k, x = torch.randn(1, 2, 500, HEAD_DIM).double(), torch.randn(1, 500, 2 * HEAD_DIM).double()
    keys, strengths, written = attention.steps(k, 5 * x)
    torch.testing.assert_close(keys.norm(dim=-1), torch.ones(1, 2, 500, 2).double())
    assert 0 < strengths.min() < 0.1 < 1.9 < strengths.max() < 2
    (first, second), (one, two) = keys[0, 1, 7], strengths[0, 1, 7]
    erased = torch.eye(HEAD_DIM).double() - two * torch.outer(second, second)
    torch.testing.assert_close(written[0, 1, 7], erased @ (one * first) + two * second)


def test_the_buckets_of_distances_are_the_published_ones():
    buckets = [t5_bucket(distance) for distance in range(200)]
    assert buckets[:17] == list(range(17))
    assert sorted(set(buckets)) == list(range(32))
    assert buckets == sorted(buckets)
    assert buckets[127:] == [31] * 73
    attention = initial("t5_bias", 1, head_dim=32)
    attention.bias.data = torch.arange(32.0).double()[None]
    taps = attention.taps(torch.zeros(1, 1, 200, 32).double())
    assert taps[0].tolist() == buckets


@torch.no_grad()
def test_a_window_hides_what_lies_before_it_and_a_sink_takes_weight_from_every_row():
    mask = torch.ones(40, 40, dtype=torch.bool).tril()
    q, k = torch.randn(2, 1, 2, 40, HEAD_DIM).double()
    x = torch.randn(1, 40, 2 * HEAD_DIM).double()
    mixers = {m.name: build(m, 2) for m in catalog.mechanisms() if m.framework == "matrix_mixer"}
    window = mixers["sliding_window"].mixing_matrix(q, k, x, mask)
    assert torch.equal(window[0, 0] != 0, mask & ~mask.tril(-32))
    sums = mixers["attention_sink"].mixing_matrix(q, k, x, mask).sum(dim=-1)
    assert 0 < sums.min() < sums.max() < 1
