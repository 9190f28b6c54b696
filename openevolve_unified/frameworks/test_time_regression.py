"""Attention as regression at test time: fit the past keys to their values, read at the query.

Source: arXiv 2501.12352 (Wang, Shi, Fox, 2025).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from openevolve_unified.frameworks import dynamics, normalisers, solvers, structured
from openevolve_unified.frameworks.attention import CausalAttention


class TestTimeRegression(CausalAttention):
    """``m_t = argmin_m sum_{i<=t} gamma_ti |v_i - m(k_i)|^2`` and ``y_t = m_t(q_t)``.

    Evolvable: :meth:`regress`, or its parts :meth:`association_weights` (log gamma),
    :meth:`features` (of keys and queries) and :meth:`solver`. The defaults are softmax attention:
    a local constant fit with weights ``exp(q . k / sqrt(head_dim))``.

    The paper chooses three things: regression weights (ours :meth:`association_weights`), function
    class, and optimiser. Our :meth:`solver` merges the last two, because a way to fit implies what
    it fits: constants and lines around the query (``local_*``, ``weighted_mean``), linear maps by
    one gradient step (``hebbian``), by steps token after token (``online_gradient``,
    ``delta_steps``) or exactly (``ridge``). :meth:`features` is the rest of the function class.

    Solvers, called as ``self.name(...)``: ``local_constant(v, log_weights, mask)``,
    ``weighted_mean(v, weights, mask)``, ``local_linear(q, k, v, log_weights, ridge, mask)``,
    ``hebbian(q, k, v, weights, mask)``, ``online_gradient(q, k, v, step, log_decay)``,
    ``ridge(q, k, v, weights, regulariser, mask)``. Weights that fade:
    ``cumulative_decay(log_decay, mask)`` and its exponential ``decay_matrix(log_decay, mask)``.
    Pairs that fade feature by feature: ``semiseparable(q, k, log_decay, mask) @ v``; steps with a
    decay per feature, or several per token: ``delta_steps(q, k * step, k, step, log_decay)``, lower
    triangle, times ``v``.
    ``masked_softmax(scores, mask)`` normalises rows.

    A program's method is a pure function of real float32 tensors that is recorded as tensor
    operators: no state between calls, no writes into the inputs, bounded loops, broadcasting in
    place of ``torch.vmap``, any number of heads (odd ones too); members of a program's own take
    names that this class does not have.

    Shapes: q, k, v (batch, heads, time, head_dim); x (batch, time, hidden_dim); mask bool
    (time, time).
    """

    __test__ = False  # the paper's name begins like a test's: pytest must not collect it

    evolvable_method: ClassVar[str] = "regress"

    local_constant = staticmethod(solvers.local_constant)
    weighted_mean = staticmethod(solvers.weighted_mean)
    local_linear = staticmethod(solvers.local_linear)
    hebbian = staticmethod(solvers.hebbian)
    online_gradient = staticmethod(solvers.online_gradient)
    ridge = staticmethod(solvers.ridge)
    semiseparable = staticmethod(structured.semiseparable)
    delta_steps = staticmethod(dynamics.delta_steps)
    cumulative_decay = staticmethod(structured.cumulative_decay)
    decay_matrix = staticmethod(structured.decay_matrix)
    masked_softmax = staticmethod(normalisers.masked_softmax)

    def association_weights(
        self, q: torch.Tensor, k: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        """log gamma, (batch, heads, time, time): how much pair j counts for the fit at time t.

        With a Gaussian kernel of bandwidth ``head_dim ** 0.25`` and prior weights that undo the
        key norms, everything but the inner product cancels.
        """
        return q @ (k / math.sqrt(self.head_dim)).transpose(-2, -1)

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """The feature map of keys and queries, (batch, heads, time, head_dim) to any width."""
        return z

    def solver(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        log_weights: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Fit the values and read the fit at the query; ``q``, ``k`` are features."""
        return self.local_constant(v, log_weights, mask)

    def regress(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Return y, (batch, heads, time, head_dim)."""
        q, k = self.features(q), self.features(k)
        return self.solver(q, k, v, self.association_weights(q, k, x), x, mask)

    def mix(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """The regression's own readout is the result."""
        return self.regress(q, k, v, x, mask)
