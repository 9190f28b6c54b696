"""What the grammar's delta kernels, windows, buckets and talking heads compute."""

from __future__ import annotations

import math

import pytest
import rendered_programs as programs
import torch
import torch.nn.functional as F

from openevolve_unified.plugin.proposer.genome import conflict, genome_of
from openevolve_unified.plugin.proposer.ingredients import ALL, BY_NAME
from openevolve_unified.plugin.proposer.render import render_block

NUM_TOKENS, HALF = 40, programs.HIDDEN_DIM // programs.NUM_HEADS // 2
DELTA_KERNELS = ("kimi_delta", "delta_product", "rwkv7")


def scrambled(framework, *names):
    genome = genome_of(framework, names)
    assert conflict(genome) is None
    assert max(map(len, render_block(genome).splitlines())) <= 100
    module = programs.attention(genome)
    programs.scramble(module)
    return module


def by_head(gate):
    """(time, heads * half) of one sequence to the first head's (time, half)."""
    return gate[:, :HALF]


def first_head(module):
    """The inputs of the first head of the first sequence, and what the program makes of them."""
    q, k, v, x, mask = programs.inputs(NUM_TOKENS)
    return q[0, 0], k[0, 0], v[0, 0], x[0], module.mix(q, k, v, x, mask)[0, 0]


def unit(z):
    return z / z.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("framework", ALL)
@torch.no_grad()
def test_the_kimi_kernel_decays_every_channel_and_then_corrects(framework):
    module = scrambled(framework, "kimi_delta")
    q, k, v, x, y = first_head(module)
    q, k = unit(q[:, :HALF]), unit(k[:, :HALF])
    decay, step = torch.sigmoid(by_head(module.fade(x)) + 4), torch.sigmoid(module.step(x)[:, 0])
    state = torch.zeros(HALF, v.shape[1]).double()
    for t in range(NUM_TOKENS):
        state = decay[t][:, None] * state
        state = state + step[t] * torch.outer(k[t], v[t] - k[t] @ state)
        torch.testing.assert_close(y[t], q[t] @ state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("framework", ALL)
@torch.no_grad()
def test_the_product_kernel_fades_and_corrects_twice(framework):
    module = scrambled(framework, "delta_product", "forget_gate")
    q, k, v, x, y = first_head(module)
    keys = unit(k[:, :HALF]), unit(by_head(module.second_key(x)))
    step, fade = 2 * torch.sigmoid(module.step(x)[:, :2]), torch.sigmoid(module.forget(x)[:, 0] + 4)
    state = torch.zeros(HALF, v.shape[1]).double()
    for t in range(NUM_TOKENS):
        state = fade[t] * state
        for number, key in enumerate(keys):
            state = state + step[t, number] * torch.outer(key[t], v[t] - key[t] @ state)
        expected = unit(q[t, :HALF]) @ state
        torch.testing.assert_close(y[t], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("framework", BY_NAME["rwkv7"].frameworks)
@torch.no_grad()
def test_the_rwkv_kernel_removes_at_one_key_and_writes_at_another(framework):
    module = scrambled(framework, "rwkv7")
    q, k, v, x, y = first_head(module)
    q, k = q[:, :HALF] / HALF**0.5, k[:, :HALF]
    w = (-math.exp(-0.5) * torch.sigmoid(by_head(module.fade(x)) - 4)).exp()
    rate = torch.sigmoid(by_head(module.rate(x)))
    removed = unit(k * module.removal[0, 0])
    written = k * (1 + (rate - 1) * module.rewrite[0, 0])
    state = torch.zeros(v.shape[1], HALF).double()
    for t in range(NUM_TOKENS):
        change = torch.diag(w[t]) - torch.outer(removed[t], rate[t] * removed[t])
        state = state @ change + torch.outer(v[t], written[t])
        torch.testing.assert_close(y[t], state @ q[t], rtol=0, atol=1e-12)


@pytest.mark.parametrize("framework", BY_NAME["sliding_window"].frameworks)
@pytest.mark.parametrize("kernel", ["softmax", "sink", "taylor", "elu"])
@torch.no_grad()
def test_a_window_hides_everything_but_the_last_32_tokens(framework, kernel):
    module = scrambled(framework, "sliding_window", kernel)
    q, k, v, x, mask = programs.inputs(NUM_TOKENS)
    other = v.clone()
    other[:, :, 3] += 1.0
    changed = module.mix(q, k, other, x, mask) - module.mix(q, k, v, x, mask)
    is_changed = changed.abs().amax(dim=(0, 1, 3)) > 0
    assert is_changed.nonzero().flatten().tolist() == list(range(3, 35))


@pytest.mark.parametrize("framework", BY_NAME["t5_buckets"].frameworks)
@torch.no_grad()
def test_the_bias_of_a_bucket_is_added_to_the_scores_of_its_distances(framework):
    module = scrambled(framework, "t5_buckets")
    q, k, v, x, mask = programs.inputs(NUM_TOKENS)
    y = module.mix(q, k, v, x, mask)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    buckets = [
        *range(16),
        *[16] * 3,
        *[17] * 2,
        *[18] * 3,
        *[19] * 3,
        *[20] * 4,
        *[21] * 4,
        *[22] * 5,
    ]
    for i in range(NUM_TOKENS):
        for j in range(i + 1):
            scores[:, :, i, j] += module.near[:, buckets[i - j]]
    expected = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1) @ v
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_talking_heads_start_as_heads_that_do_not_talk_and_then_mix():
    inputs = programs.inputs(NUM_TOKENS)
    plain = programs.attention(genome_of("matrix_mixer", []))
    talking = programs.attention(genome_of("matrix_mixer", ["talking_heads"]))
    torch.testing.assert_close(talking.mix(*inputs), plain.mix(*inputs), rtol=0, atol=1e-12)
    programs.scramble(talking)
    q, k, v, _, mask = inputs
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    logits = [sum(talking.before[f, g] * scores[:, f] for f in range(2)) for g in range(2)]
    weights = [row.masked_fill(~mask, float("-inf")).softmax(dim=-1) for row in logits]
    expected = sum(talking.after[g, 1] * weights[g] for g in range(2)) @ v[:, 1]
    torch.testing.assert_close(talking.mix(*inputs)[:, 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("framework", BY_NAME["tied_decay"].frameworks)
@torch.no_grad()
def test_tied_keys_are_what_their_decay_lets_go(framework):
    module = scrambled(framework, "tied_decay", "relu")
    q, k, v, _, y = first_head(module)
    bound = torch.sigmoid(module.bound[0, 0])
    decay, written = bound + (1 - bound) * torch.sigmoid(k), torch.sigmoid(-k) / k.shape[1] ** 0.5
    for t in range(NUM_TOKENS):
        faded = [written[j] * decay[j + 1 : t + 1].prod(dim=0) for j in range(t + 1)]
        weights = F.relu(torch.stack(faded) @ q[t]) / (t + 1)
        torch.testing.assert_close(y[t], weights @ v[: t + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", DELTA_KERNELS)
@pytest.mark.parametrize("other", ["qk_norm", "rope", "sliding_window", "talking_heads"])
def test_a_delta_kernel_refuses_what_its_own_parts_replace(kernel, other):
    assert f"{kernel} excludes {other}" in str(conflict(genome_of("matrix_mixer", [kernel, other])))
    assert conflict(genome_of("matrix_mixer", [kernel, "key_shift"])) is None


def test_only_kernels_that_fade_by_themselves_may_ask_for_a_short_memory():
    assert conflict(genome_of("matrix_mixer", ["kimi_delta", "short_memory"])) is None
    reason = conflict(genome_of("matrix_mixer", ["delta_product", "short_memory"]))
    assert "says nothing" in str(reason)
