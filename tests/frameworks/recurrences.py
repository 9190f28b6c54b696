"""Slow references: one head, one token at a time, straight from the papers' recurrences.

Shapes: q, k (time, d); v (time, dv); scalar gates (time,). float64.
"""

from __future__ import annotations

import torch


def softmax_rows(scores):
    rows = []
    for i in range(scores.shape[0]):
        weights = scores[i, : i + 1].softmax(dim=0)
        rows.append(torch.cat((weights, weights.new_zeros(scores.shape[0] - i - 1))))
    return torch.stack(rows)


def linear_attention(q, k, v):
    state, norm = q.new_zeros(k.shape[1], v.shape[1]), q.new_zeros(k.shape[1])
    out = []
    for t in range(len(q)):
        state, norm = state + torch.outer(k[t], v[t]), norm + k[t]
        out.append(q[t] @ state / (q[t] @ norm))
    return torch.stack(out)


def gated_linear(q, k, v, decay):
    """``decay``: (time,) as in SSD or (time, d) as in GLA."""
    state, out = q.new_zeros(k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        state = decay[t].reshape(-1, 1) * state + torch.outer(k[t], v[t])
        out.append(q[t] @ state)
    return torch.stack(out)


def gated_delta(q, k, v, beta, decay):
    state, out = q.new_zeros(k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        state = decay[t] * state
        state = state + beta[t] * torch.outer(k[t], v[t] - k[t] @ state)
        out.append(q[t] @ state)
    return torch.stack(out)


def coefficient_dynamics(q, impulse, matrices):
    """z_ij = q_i' A_i ... A_{j+1} b_j k_j by carrying every impulse forward."""
    T = len(q)
    z = q.new_zeros(T, T)
    for j in range(T):
        h = impulse[j]
        for i in range(j, T):
            h = matrices[i] @ h if i > j else h
            z[i, j] = q[i] @ h
    return z


def ridge(q, k, v, weights, regulariser):
    """Weighted ridge regression solved afresh at every t; ``weights`` (time, time)."""
    out = []
    for t in range(len(q)):
        keys, w = k[: t + 1], weights[t, : t + 1, None]
        gram = keys.T @ (w * keys) + regulariser * torch.eye(k.shape[1], dtype=k.dtype)
        out.append(q[t] @ torch.linalg.solve(gram, keys.T @ (w * v[: t + 1])))
    return torch.stack(out)


def recursive_least_squares(q, k, v, regulariser):
    """The same with equal weights, by the Sherman-Morrison recursion."""
    inverse = torch.eye(k.shape[1], dtype=k.dtype) / regulariser
    state, out = q.new_zeros(k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        gain = inverse @ k[t] / (1 + k[t] @ inverse @ k[t])
        inverse = inverse - torch.outer(gain, k[t] @ inverse)
        state = state + torch.outer(gain, v[t] - k[t] @ state)
        out.append(q[t] @ state)
    return torch.stack(out)


def local_linear(q, k, v, weights, regulariser):
    """Penalised weighted least squares for intercept and slopes around q_t, by one big solve."""
    out, d = [], k.shape[1]
    for t in range(len(q)):
        design = torch.cat((torch.ones(t + 1, 1, dtype=k.dtype), k[: t + 1] - q[t]), dim=1)
        w = weights[t, : t + 1, None] / weights[t, : t + 1].sum()
        penalty = regulariser * torch.eye(d + 1, dtype=k.dtype)
        penalty[0, 0] = 0.0
        fit = torch.linalg.solve(design.T @ (w * design) + penalty, design.T @ (w * v[: t + 1]))
        out.append(fit[0])
    return torch.stack(out)


def mlstm(q, k, v, log_forget, log_input):
    """Unstabilised mLSTM: y = C'q / max(|n'q|, 1)."""
    state, norm = q.new_zeros(k.shape[1], v.shape[1]), q.new_zeros(k.shape[1])
    out = []
    for t in range(len(q)):
        forget, put = log_forget[t].exp(), log_input[t].exp()
        state = forget * state + put * torch.outer(k[t], v[t])
        norm = forget * norm + put * k[t]
        out.append(q[t] @ state / (q[t] @ norm).abs().clamp(min=1.0))
    return torch.stack(out)


def stick_breaking(scores):
    """Weights (time, time) and what is left of the stick, (time,)."""
    T = len(scores)
    weights, rest = scores.new_zeros(T, T), scores.new_ones(T)
    for i in range(T):
        for j in reversed(range(i)):
            share = torch.sigmoid(scores[i, j])
            weights[i, j] = rest[i] * share
            rest[i] = rest[i] * (1 - share)
    return weights, rest


def decay_products(decay):
    """L_ij = prod_{t=j+1..i} a_t."""
    T = len(decay)
    matrix = decay.new_zeros(T, T)
    for i in range(T):
        for j in range(i + 1):
            matrix[i, j] = decay[j + 1 : i + 1].prod()
    return matrix
