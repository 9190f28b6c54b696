"""Every shipped mechanism against its recurrent or textbook form, one head and token at a time."""

from __future__ import annotations

import math

import head_references
import pytest
import recurrences
import torch
import torch.nn.functional as F

from openevolve_unified.mechanisms import catalog

HIDDEN_DIM, NUM_HEADS, D, T = 24, 3, 8, 37
EVERY = [
    pytest.param(m, id=f"{m.framework}-{m.name}")
    for m in catalog.mechanisms()
    if m.name not in head_references.REFERENCES
]


def build(mechanism, noise):
    """The program's attention, its initial values changed by normal numbers of size ``noise``."""
    scope = {"__name__": mechanism.name}
    exec(compile(mechanism.source, str(mechanism.path), "exec"), scope)
    torch.manual_seed(0)
    attention = scope["EvolvableAttention"](HIDDEN_DIM, NUM_HEADS, 0.0).double()
    for parameter in attention.parameters():
        parameter.data += noise * torch.randn_like(parameter)
    return attention


def softmax(scores, v):
    return recurrences.softmax_rows(scores) @ v


def scaled(q, k):
    return q @ k.T / math.sqrt(D)


def lags():
    position = torch.arange(T, dtype=torch.float64)
    return position[:, None] - position


def elu1(z):
    return F.elu(z) + 1


def unit(z):
    return z / z.norm(dim=-1, keepdim=True)


def weighted_rows(weights):
    """Rows of non-negative weights over the past, each summing to 1."""
    weights = weights.tril()
    return weights / weights.sum(dim=-1, keepdim=True)


# One function per mechanism: (attention, h, q, k, v, x) of one head to y, (time, head_dim).


def published_slopes(num_heads):
    """The recursion of the publication's code."""
    power = 2 ** math.floor(math.log2(num_heads))
    if power == num_heads:
        start = 2 ** (-(2 ** -(math.log2(num_heads) - 3)))
        return [start * start**i for i in range(num_heads)]
    return published_slopes(power) + published_slopes(2 * power)[0::2][: num_heads - power]


def alibi(a, h, q, k, v, x):
    return softmax(scaled(q, k) - published_slopes(NUM_HEADS)[h] * lags(), v)


def qk_norm(a, h, q, k, v, x):
    return softmax(a.gain * unit(q) @ unit(k).T, v)


def learned_temperature(a, h, q, k, v, x):
    return softmax(scaled(q, k) * a.log_temperature[h].exp(), v)


def rope(a, h, q, k, v, x):
    rates = [10000.0 ** (-2 * n / D) for n in range(D // 2)]

    def turned(z):
        z = torch.complex(z[:, : D // 2], z[:, D // 2 :])
        angle = lags()[:, :1] * torch.tensor(rates, dtype=torch.float64)
        return (
            torch.view_as_real(z * torch.polar(torch.ones_like(angle), angle))
            .transpose(-2, -1)
            .flatten(1)
        )

    return softmax(scaled(turned(q), turned(k)), v)


def forgetting_transformer(a, h, q, k, v, x):
    decay = recurrences.decay_products(torch.sigmoid(a.forget(x))[:, h])
    return weighted_rows(decay * scaled(q, k).exp()) @ v


def path(a, h, q, k, v, x):
    w, beta = unit(k @ a.direction[h]), 2 * torch.sigmoid(a.strength(x))[:, h]
    eye = torch.eye(D, dtype=q.dtype)
    matrices = [eye - b * torch.outer(u, u) for b, u in zip(beta, w, strict=True)]
    return softmax(recurrences.coefficient_dynamics(q, k, matrices) / math.sqrt(D), v)


def stick_breaking(a, h, q, k, v, x):
    weights, rest = recurrences.stick_breaking(scaled(q, k))
    return weights @ v + rest[:, None] * v


def sigmoid(a, h, q, k, v, x):
    position = torch.arange(1, T + 1, dtype=q.dtype)[:, None]
    odds = scaled(q, k).exp() / position
    return (odds / (1 + odds)).tril() @ v


def differential(a, h, q, k, v, x):
    half, initial = D // 2, 0.8 - 0.6 * math.exp(-0.3 * 0)
    first = q[:, :half] @ k[:, :half].T / math.sqrt(half)
    second = q[:, half:] @ k[:, half:].T / math.sqrt(half)
    a1, b1, a2, b2 = a.balance
    weight = ((a1 @ b1).exp() - (a2 @ b2).exp() + initial).clamp(0, 0.9)
    return (1 - initial) * (softmax(first, v) - weight * softmax(second, v))


def linear_attention(a, h, q, k, v, x):
    return recurrences.linear_attention(elu1(q), elu1(k), v)


def based_taylor(a, h, q, k, v, x):
    def features(z):
        z = z / D**0.25
        pairs = (z[:, :, None] * z[:, None]).flatten(1) / math.sqrt(2)
        return torch.cat((torch.ones(T, 1, dtype=z.dtype), z, pairs), dim=1)

    return recurrences.linear_attention(features(q), features(k), v)


def retnet(a, h, q, k, v, x):
    """Pairs of channels as complex numbers: the state turns and fades, then takes the key."""
    gamma = 1 - 2.0 ** (-5 - h)
    turn = gamma * torch.exp(1j / 10000 ** torch.linspace(0, 1, D // 2, dtype=torch.float64))
    q, k = (torch.complex(z[:, : D // 2], z[:, D // 2 :]) for z in (q, k))
    values = torch.cat((v, torch.ones(T, 1, dtype=v.dtype)), dim=1)  # the last one sums the row
    state, fading, out = torch.zeros(D // 2, D + 1, dtype=q.dtype), 0.0, []
    for t in range(T):
        state = turn[:, None] * state + torch.outer(k[t].conj(), values[t].to(q.dtype))
        fading = gamma * fading + 1
        read = (q[t] @ state).real / math.sqrt(D * fading)
        out.append(read[:-1] / read[-1].abs().clamp(min=1))
    return torch.stack(out)


def gated_linear_attention(a, h, q, k, v, x):
    gate = torch.sigmoid(a.gate_up(a.gate_down(x))) ** (1 / 16)
    return recurrences.gated_linear(q, k / math.sqrt(D), v, gate[:, h * D : (h + 1) * D])


def ssd_gates(a, h, x):
    steps = F.softplus(a.step(x) + a.step_bias)[:, h]
    return steps, torch.exp(-steps * a.log_rate[h].exp())


def mamba2_ssd(a, h, q, k, v, x):
    steps, decay = ssd_gates(a, h, x)
    return recurrences.gated_linear(q, steps[:, None] * k / math.sqrt(D), v, decay)


def quasiseparable(a, h, q, k, v, x):
    steps, _ = ssd_gates(a, h, x)
    present = steps * (q * k).sum(dim=-1) / math.sqrt(D)
    free = (a.skip(x) + a.skip_bias)[:, h] - present
    return mamba2_ssd(a, h, q, k, v, x) + free[:, None] * v


def mlstm(a, h, q, k, v, x):
    """The published recurrence with its stabiliser m, which the program does without."""
    logits = 15 * torch.tanh((a.gates(x) + a.gate_bias) / 15)
    log_forget, log_input = F.logsigmoid(logits[:, h]), logits[:, NUM_HEADS + h]
    state, norm, m, out = q.new_zeros(D, D), q.new_zeros(D), q.new_zeros(()), []
    for t in range(T):
        largest = torch.maximum(log_forget[t] + m, log_input[t])
        forget, put = (log_forget[t] + m - largest).exp(), (log_input[t] - largest).exp()
        state = forget * state + put * torch.outer(k[t], v[t]) / math.sqrt(D)
        norm, m = forget * norm + put * k[t] / math.sqrt(D), largest
        out.append(q[t] @ state / torch.maximum((q[t] @ norm).abs(), (-m).exp()))
    return torch.stack(out)


def delta_net(a, h, q, k, v, x):
    beta = torch.sigmoid(a.strength(x))[:, h]
    return recurrences.gated_delta(unit(F.silu(q)), unit(F.silu(k)), v, beta, torch.ones_like(beta))


def gated_delta_net(a, h, q, k, v, x):
    beta, (_, decay) = torch.sigmoid(a.strength(x))[:, h], ssd_gates(a, h, x)
    return recurrences.gated_delta(unit(F.silu(q)), unit(F.silu(k)), v, beta, decay)


def ttt_linear(a, h, q, k, v, x):
    """Gradients at the mini-batch's start; token i of it steps along their mean up to itself."""
    q, k, beta = unit(q), unit(k), torch.sigmoid(a.strength(x))[:, h]
    memory, out = q.new_zeros(D, D), []
    for t in range(T):
        if t % 16 == 0:
            start, gradients = memory, []
        gradients.append(beta[t] * torch.outer(k[t], k[t] @ start - v[t]))
        memory = start - torch.stack(gradients).mean(dim=0)
        out.append(q[t] @ memory)
    return torch.stack(out)


def mesa(a, h, q, k, v, x):
    weights = torch.sigmoid(a.strength(x))[:, h].expand(T, T)
    return recurrences.ridge(unit(q), unit(k), v, weights, 0.25 + F.softplus(a.regulariser[h]))


def local_linear(a, h, q, k, v, x):
    weights = recurrences.softmax_rows(scaled(q, k))
    return recurrences.local_linear(q, k, v, weights, 0.05 + F.softplus(a.penalty[h]))


def parallax(a, h, q, k, v, x):
    """The publication's algorithm 1: two sums of values under unnormalised weights."""
    r, out = (x @ a.probe)[:, h * D : (h + 1) * D], []
    for t in range(T):
        first = (q[t] @ k[: t + 1].T / math.sqrt(D)).exp()
        second = first * (r[t] @ k[: t + 1].T)
        read, correction = first @ v[: t + 1], second @ v[: t + 1]
        total = first.sum()
        out.append(read / total * (1 + second.sum() / total) - correction / total)
    return torch.stack(out)


def toeplitz(a, h, q, k, v, x):
    """The diagonal state space whose impulse response the taps are, held between tokens."""
    modes = torch.complex(-a.log_damping[h].exp(), a.frequency[h])
    rate, weight = torch.exp(a.log_step[h].exp() * modes), torch.complex(*a.weight[:, h])
    state, out = torch.zeros(8, D, dtype=torch.complex128), []
    for t in range(T):
        state = rate[:, None] * state + ((rate - 1) / modes)[:, None] * v[t]
        out.append(2 * (weight @ state).real + a.skip[h] * v[t])
    return torch.stack(out)


def toeplitz_data_dependent(a, h, q, k, v, x):
    taps = a.taps(x)[:, h]
    convolved = torch.stack(
        [sum(taps[i - j] * v[j] for j in range(i + 1)) / math.sqrt(i + 1) for i in range(T)]
    )
    return v + 0.5 * convolved


def position_features():
    angle = lags()[:, :1] * 1000.0 ** (-torch.arange(8, dtype=torch.float64) / 8)
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def low_rank_positional(a, h, q, k, v, x):
    u, w = position_features() @ a.maps[0, h], position_features() @ a.maps[1, h]
    state, out = torch.zeros(4, D, dtype=v.dtype), []
    for t in range(T):
        state = state + torch.outer(w[t], v[t])
        out.append(v[t] + u[t] @ state / math.sqrt(4 * (t + 1)))
    return torch.stack(out)


def dense_positional(a, h, q, k, v, x):
    return softmax(position_features() @ a.form[h] @ position_features().T, v)


def cauchy(a, h, q, k, v, x):
    q, k = (z.exp() + a.log_bias.exp() for z in (q, k))
    rows = []
    for i in range(T):
        entries = (1 / (q[i] + k[: i + 1])).sum(dim=-1)
        rows.append(v[i] + entries @ v[: i + 1] / math.sqrt(D * (i + 1)))
    return torch.stack(rows)


def vandermonde(a, h, q, k, v, x):
    out = []
    for i in range(T):
        row = v[i].clone()
        for j in range(i + 1):
            entry = ((2e-3 * math.pi * q[i] * j).cos() - (2e-3 * math.pi * k[j] * i).cos()).sum()
            row = row + entry / math.sqrt(2 * D * (i + 1)) * v[j]
        out.append(row)
    return torch.stack(out)


def block_low_rank(a, h, q, k, v, x):
    gate, out = torch.sigmoid(a.balance[h, 0, 0]), []
    for t in range(T):
        start = 16 * (t // 16)
        inside = scaled(q, k)[t, start : t + 1].softmax(dim=0) @ v[start : t + 1]
        s = scaled(q, k)[t, :start]
        weights = 1 + s + s**2 / 2
        across = weights @ v[:start] / weights.sum() if start else torch.zeros_like(inside)
        out.append(gate * inside + (1 - gate) * across)
    return torch.stack(out)


def causal_mean(a, h, q, k, v, x):
    return torch.stack([v[: t + 1].mean(dim=0) for t in range(T)])


def identity(a, h, q, k, v, x):
    return v


REFERENCES = {
    reference.__name__: reference
    for reference in (
        alibi,
        based_taylor,
        block_low_rank,
        cauchy,
        causal_mean,
        delta_net,
        dense_positional,
        differential,
        forgetting_transformer,
        gated_delta_net,
        gated_linear_attention,
        identity,
        learned_temperature,
        linear_attention,
        local_linear,
        low_rank_positional,
        mamba2_ssd,
        mesa,
        mlstm,
        parallax,
        path,
        qk_norm,
        quasiseparable,
        retnet,
        rope,
        sigmoid,
        stick_breaking,
        toeplitz,
        toeplitz_data_dependent,
        ttt_linear,
        vandermonde,
    )
}


@pytest.mark.parametrize("noise", [0.0, 0.3], ids=["initial", "scrambled"])
@pytest.mark.parametrize("mechanism", EVERY)
@torch.no_grad()
def test_it_equals_its_recurrent_or_textbook_form(mechanism, noise):
    attention = build(mechanism, noise)
    q, k, v = torch.randn(3, 2, NUM_HEADS, T, D, dtype=torch.float64)
    x = torch.randn(2, T, HIDDEN_DIM, dtype=torch.float64)
    y = attention.mix(q, k, v, x, torch.ones(T, T, dtype=torch.bool).tril())
    for h in range(NUM_HEADS):
        expected = REFERENCES[mechanism.name](attention, h, q[1, h], k[1, h], v[1, h], x[1])
        assert (y[1, h] - expected).norm() <= 1e-12 * expected.norm(), f"head {h}"


def test_every_mechanism_has_a_reference():
    every = {m.name for m in catalog.mechanisms()}
    assert REFERENCES.keys() | head_references.REFERENCES.keys() == every
