"""Where each mechanism starts: published initial values, and a scale that training can use."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from openevolve_unified.config.schema import LADDERS
from openevolve_unified.mechanisms import catalog

EVERY = [pytest.param(m, id=f"{m.framework}-{m.name}") for m in catalog.mechanisms()]
SSD = ("gated_delta_net", "mamba2_ssd")


def of(*names):
    return [p for p in EVERY if p.values[0].name in names]


def build(mechanism, hidden_dim, num_heads, seed=0):
    scope = {"__name__": mechanism.name}
    exec(compile(mechanism.source, str(mechanism.path), "exec"), scope)
    torch.manual_seed(seed)
    return scope["EvolvableAttention"](hidden_dim, num_heads, 0.0)


def causal_mask(time):
    return torch.ones(time, time, dtype=torch.bool).tril()


@torch.no_grad()
def mixed(attention, q, k, v):
    x = torch.randn(q.shape[0], q.shape[2], attention.hidden_dim, dtype=q.dtype)
    return attention.mix(q, k, v, x, causal_mask(q.shape[2]))


@pytest.mark.parametrize("mechanism", EVERY)
def test_values_of_unit_size_leave_with_a_size_that_one_projection_can_use(mechanism):
    attention = build(mechanism, 96, 6)
    q, k, v = torch.randn(3, 4, 6, 128, 16)
    rms = mixed(attention, q, k, v).square().mean(dim=(0, 1, 3)).sqrt()
    assert rms.min() > 0.005
    assert rms.max() < 6


@pytest.mark.parametrize("mechanism", of("retnet"))
def test_the_row_scales_of_retnet_keep_its_values_level(mechanism):
    attention = build(mechanism, 96, 6)
    q, k, v = torch.randn(3, 8, 6, 128, 16)
    rms = mixed(attention, q, k, v).square().mean(dim=(0, 1, 3)).sqrt()
    assert rms.max() / rms.min() < 1.6


@pytest.mark.parametrize("bias", [0.0, 20.0], ids=["half steps", "full steps"])
@pytest.mark.parametrize("time", [128, 1_024])
@pytest.mark.parametrize("mechanism", of("ttt_linear"))
def test_one_key_again_and_again_does_not_blow_up(mechanism, time, bias):
    """Sixteen steps at one key add up, where a mini-batch does not take their mean."""
    attention = build(mechanism, 32, 2).double()
    attention.strength.bias.data += bias
    k = torch.randn(16, dtype=torch.float64).expand(1, 2, time, 16)
    v = torch.randn(1, 2, time, 16, dtype=torch.float64).sign()
    assert mixed(attention, k, k, v).abs().max() < 1.3


@pytest.mark.parametrize("mechanism", of("alibi"))
def test_slopes_are_the_published_ones_at_every_number_of_heads(mechanism):
    """For heads that are no power of two: those of the next smaller one, then every second one."""
    published = {
        2: [4, 8],
        3: [4, 8, 2],
        4: [2, 4, 6, 8],
        6: [2, 4, 6, 8, 1, 3],
        9: [1, 2, 3, 4, 5, 6, 7, 8, 0.5],
        13: [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5, 4.5],
        18: [*(n / 2 for n in range(1, 17)), 0.25, 0.75],
    }
    heads = {size.num_heads for sizes in LADDERS.values() for size in sizes}
    assert heads <= set(published)
    for num_heads, exponents in published.items():
        attention = build(mechanism, 16 * num_heads, num_heads)
        expected = torch.tensor([2.0**-exponent for exponent in exponents])
        torch.testing.assert_close(attention.slopes(torch.zeros(1)).flatten(), expected)


@pytest.mark.parametrize("mechanism", of(*SSD))
def test_steps_and_rates_are_drawn_independently(mechanism):
    """A ramp over heads in both ties the longest memory to the smallest input."""
    attention = build(mechanism, 1_024, 1_024)
    step = F.softplus(attention.step_bias)
    rate = attention.log_rate.exp().flatten()
    assert step.min() >= 0.001 * (1 - 1e-5)
    assert step.max() <= 0.1 * (1 + 1e-5)
    assert abs(step.log().mean() - math.log(0.01)) < 0.2, "log-uniform"
    lowest = {"mamba2_ssd": 1.0, "gated_delta_net": 0.0}[mechanism.name]
    assert rate.min() >= lowest
    assert rate.max() <= 16.0 * (1 + 1e-5)
    assert abs(rate.mean() - (16 + lowest) / 2) < 0.5, "uniform"
    both = torch.stack((step.log().detach(), rate.detach()))
    assert abs(torch.corrcoef(both)[0, 1]) < 0.15
    assert (attention.step_bias != build(mechanism, 1_024, 1_024, 1).step_bias).any()


@pytest.mark.parametrize("mechanism", of("mlstm"))
def test_gates_of_the_mlstm_start_from_their_biases_alone(mechanism):
    attention = build(mechanism, 96, 6)
    assert torch.count_nonzero(attention.gates.weight) == 0
    forget, put = attention.gate_bias.detach().chunk(2)
    torch.testing.assert_close(forget, torch.linspace(3.0, 6.0, 6))
    assert 0 < put.abs().max() < 0.5
    x = 1e3 * torch.randn(1, 5, 96)
    attention.gates.weight.data.normal_()
    log_forget, log_input = attention.log_gates(x)
    assert log_forget.min() >= -15.1
    assert log_input.abs().max() <= 15.0


@pytest.mark.parametrize("mechanism", of("qk_norm", "mesa", "parallax", "quasiseparable", "cauchy"))
def test_other_starts_are_the_published_ones(mechanism):
    attention = build(mechanism, 96, 6)
    if mechanism.name == "qk_norm":
        assert math.isclose(attention.gain.item(), math.log2(128**2 - 128), rel_tol=1e-6)
    elif mechanism.name == "mesa":
        regulariser = 0.25 + F.softplus(attention.regulariser)
        torch.testing.assert_close(regulariser, torch.ones_like(regulariser))
    elif mechanism.name == "parallax":
        assert abs(attention.probe.std() - 0.02) < 0.002
    elif mechanism.name == "quasiseparable":
        assert torch.equal(attention.log_rate, torch.zeros(6, 1))
        assert torch.equal(attention.skip_bias, torch.ones(6))
    else:
        assert math.isclose(attention.log_bias.exp().item(), 0.5, rel_tol=1e-6)
