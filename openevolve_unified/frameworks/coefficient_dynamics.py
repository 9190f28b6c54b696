"""Attention as coefficient dynamics: every key sets off an impulse that later queries read.

Source: arXiv 2510.09389 (Sieber, Orvieto, Zeilinger, Amo Alonso, 2025).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from openevolve_unified.frameworks import dynamics, normalisers
from openevolve_unified.frameworks.attention import CausalAttention


class CoefficientDynamics(CausalAttention):
    """``y_i = sum_{j<=i} alpha_ij v_j``, ``alpha_ij = phi(q_i' A_i ... A_{j+1} b_j k_j) / eta_i``.

    Evolvable: :meth:`coefficients`, or its parts :meth:`transition` (A_t), :meth:`impulse`
    (b_j k_j), :meth:`readout` (phi) and :meth:`normaliser` (1 / eta). The defaults are softmax
    attention: identity transitions, impulses scaled by ``1 / sqrt(head_dim)``, exponential readout,
    row-sum normaliser. Values are never seen here, and queries never enter the dynamics.

    The paper's names: evolution matrix A_t, input scaling b_j (ours returns ``b_j k_j``, so that it
    can be a vector), readout map phi (ours is its logarithm where phi is positive), normalisation
    eta (ours returns phi / eta, so that both are one stable step).

    Helpers, called as ``self.name(...)``: ``impulse_response(q, impulse, transition, mask)``,
    ``masked_softmax(scores, mask)``, ``row_normalise(weights, mask)``,
    ``bounded_normalise(weights, mask)``, ``rotate(z, angle)``.

    A program's method is a pure function of real float32 tensors that is recorded as tensor
    operators: no state between calls, no writes into the inputs, bounded loops, broadcasting in
    place of ``torch.vmap``, any number of heads (odd ones too); members of a program's own take
    names that this class does not have.

    Shapes: q, k (batch, heads, time, head_dim); x (batch, time, hidden_dim); mask bool
    (time, time).
    """

    evolvable_method: ClassVar[str] = "coefficients"

    impulse_response = staticmethod(dynamics.impulse_response)
    rotate = staticmethod(dynamics.rotate)
    masked_softmax = staticmethod(normalisers.masked_softmax)
    row_normalise = staticmethod(normalisers.row_normalise)
    bounded_normalise = staticmethod(normalisers.bounded_normalise)

    def transition(self, k: torch.Tensor, x: torch.Tensor) -> dynamics.Transition:
        """The evolution matrices A_t as a dictionary; empty means the identity.

        Keys: ``log_decay`` (batch, heads, time) or (batch, heads, time, head_dim), at most 0;
        ``direction`` (batch, heads, time, head_dim), unit vectors, with ``strength``
        (batch, heads, time) in [0, 2], a delta step after the decay (several with shapes (batch,
        heads, time, steps, head_dim) and (batch, heads, time, steps); a strength per channel is
        shaped like ``direction``); ``angle`` (..., time, head_dim / 2) in radians, not beside a
        direction or a decay per channel; ``log_bias`` (batch, heads, time), at most 0, added up
        along the way.
        """
        return {}

    def impulse(self, k: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The impulses b_j k_j, shaped like ``k``."""
        return k / math.sqrt(self.head_dim)

    def readout(self, z: torch.Tensor) -> torch.Tensor:
        """The elementwise readout of responses (batch, heads, time, time), as log phi.

        In logarithms, because the default normaliser exponentiates after taking out the row's
        maximum. A readout that is not positive returns phi and brings its own normaliser.
        """
        return z

    def normaliser(self, log_phi: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The coefficients phi / eta with eta the row sum; zero where ``mask`` is False."""
        return normalisers.masked_softmax(log_phi, mask)

    def coefficients(
        self, q: torch.Tensor, k: torch.Tensor, x: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return alpha, (batch, heads, time, time), zero where ``mask`` is False."""
        z = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)
        return self.normaliser(self.readout(z), mask)

    def mix(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Apply the coefficients to the values."""
        return self.coefficients(q, k, x, mask) @ v
