"""Published recurrences of whole layers, written anew: one token and one head at a time, float64.

Each takes the attention (for its parameters), q, k, v (heads, time, head_dim) and x (time,
hidden_dim) of one sequence, and returns y, shaped like v.
"""

from __future__ import annotations

import math

import torch


def softplus(z):
    return torch.log1p(z.exp())


def silu(z):
    return z / (1 + (-z).exp())


def unit(z):
    return z / z.square().sum(dim=-1, keepdim=True).sqrt()


def by_head(z, like):
    """(time, heads * head_dim) to (heads, time, head_dim)."""
    D = like.shape[-1]
    return torch.stack([z[:, h * D : (h + 1) * D] for h in range(len(like))])


def scores(q, k):
    return torch.stack(
        [one @ other.T / math.sqrt(q.shape[-1]) for one, other in zip(q, k, strict=True)]
    )


def kimi_delta(a, q, k, v, x):
    """S = diag(alpha) S, then S = S + beta k (v - S' k)', read as S' q (arXiv 2510.26692)."""
    q, k = unit(silu(q)), unit(silu(k))
    beta = 1 / (1 + (-x @ a.strength.weight.T).exp())
    gate = x @ a.gate_down.weight.T @ a.gate_up.weight.T + a.step_bias
    alpha = (-softplus(by_head(gate, q)) * a.log_rate.exp()).exp()
    y = torch.zeros_like(v)
    for h in range(len(q)):
        state = torch.zeros(q.shape[-1], v.shape[-1], dtype=v.dtype)
        for t in range(q.shape[1]):
            state = alpha[h, t][:, None] * state
            state = state + beta[t, h] * torch.outer(k[h, t], v[h, t] - state.T @ k[h, t])
            y[h, t] = state.T @ q[h, t]
    return y


def rwkv7(a, q, k, v, x):
    """S = S (diag(w) - r (a r)') + v k', read as S q (arXiv 2503.14456, equations 15 to 17)."""
    pre = a.decay_bias + (x @ a.decay_down).tanh() @ a.decay_up
    w = by_head((-(-softplus(-pre) - 0.5).exp()).exp(), q)
    rate = by_head(1 / (1 + (-(a.rate_bias + x @ a.rate_down @ a.rate_up)).exp()), q)
    y = torch.zeros_like(v)
    for h in range(len(q)):
        state = torch.zeros(v.shape[-1], q.shape[-1], dtype=v.dtype)
        for t in range(q.shape[1]):
            removed = unit(k[h, t] * a.removal[h, 0])
            written = k[h, t] * (1 + (rate[h, t] - 1) * a.rewrite[h, 0])
            change = torch.diag(w[h, t]) - torch.outer(removed, rate[h, t] * removed)
            state = state @ change + torch.outer(v[h, t], written)
            y[h, t] = state @ q[h, t]
    return y


def hgrn2(a, q, k, v, x):
    """S = diag(f) S + (1 - f) v', f above its lower bound (arXiv 2404.07904)."""
    bound = 1 / (1 + (-a.bound).exp())
    forget = bound + (1 - bound) / (1 + (-k).exp())
    y = torch.zeros_like(v)
    for h in range(len(q)):
        state = torch.zeros(q.shape[-1], v.shape[-1], dtype=v.dtype)
        for t in range(q.shape[1]):
            state = forget[h, t][:, None] * state + torch.outer(1 - forget[h, t], v[h, t])
            y[h, t] = state.T @ silu(q[h, t]) / math.sqrt(q.shape[-1])
    return y


def delta_product(a, q, k, v, x):
    """Two delta steps to a token, both towards its value (arXiv 2502.10297, equation 4)."""
    keys = unit(silu(k)), unit(silu(by_head(x @ a.second_key.weight.T, k)))
    beta = 2 / (1 + (-x @ a.strength.weight.T).exp())
    y = torch.zeros_like(v)
    for h in range(len(q)):
        state = torch.zeros(q.shape[-1], v.shape[-1], dtype=v.dtype)
        for t in range(q.shape[1]):
            for step, key in enumerate(keys):
                error = v[h, t] - state.T @ key[h, t]
                state = state + beta[t, 2 * h + step] * torch.outer(key[h, t], error)
            y[h, t] = state.T @ unit(silu(q[h, t]))
    return y


def attention_sink(a, q, k, v, x):
    """The denominator has one term more than the numerators (arXiv 2508.10925)."""
    y = torch.zeros_like(v)
    for h, s in enumerate(scores(q, k)):
        for t in range(len(s)):
            weights = s[t, : t + 1].exp()
            y[h, t] = weights @ v[h, : t + 1] / (a.sink[h, 0, 0].exp() + weights.sum())
    return y


def t5_bucket(distance):
    """Causal buckets of arXiv 1910.10683: 32 of them, the last for everything from 128 on."""
    if distance < 16:
        return distance
    return min(31, 16 + int(math.log(distance / 16) / math.log(128 / 16) * 16))


def t5_bias(a, q, k, v, x):
    y = torch.zeros_like(v)
    for h, s in enumerate(scores(q, k)):
        for t in range(len(s)):
            buckets = [t5_bucket(t - j) for j in range(t + 1)]
            y[h, t] = (s[t, : t + 1] + a.bias[h, buckets]).softmax(dim=0) @ v[h, : t + 1]
    return y


def sliding_window(a, q, k, v, x):
    """The last 32 tokens, the present one among them (arXiv 2310.06825)."""
    y = torch.zeros_like(v)
    for h, s in enumerate(scores(q, k)):
        for t in range(len(s)):
            seen = slice(max(0, t - 31), t + 1)
            y[h, t] = s[t, seen].softmax(dim=0) @ v[h, seen]
    return y


def talking_heads(a, q, k, v, x):
    """Logits and weights are mixed across heads (arXiv 2003.02436, figure 1)."""
    heads = range(len(q))
    s = scores(q, k)
    y = torch.zeros_like(v)
    for t in range(q.shape[1]):
        logits = [sum(a.before[f, g] * s[f, t, : t + 1] for f in heads) for g in heads]
        weights = [row.softmax(dim=0) for row in logits]
        for h in heads:
            mixed = sum(a.after[g, h] * weights[g] for g in heads)
            y[h, t] = mixed @ v[h, : t + 1]
    return y


REFERENCES = {
    reference.__name__: reference
    for reference in (
        attention_sink,
        delta_product,
        hgrn2,
        kimi_delta,
        rwkv7,
        sliding_window,
        t5_bias,
        talking_heads,
    )
}
