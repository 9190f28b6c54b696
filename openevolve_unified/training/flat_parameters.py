"""Flat parameters: all of a model in one buffer, and their gradients in another.

Small models spend their time in dispatch: over one buffer, clipping and AdamW are a handful of
operations whatever the number of parameters, and a checkpoint is a few tensors.
"""

from __future__ import annotations

import torch
import torch.nn as nn

from openevolve_unified.model.transformer import is_mechanism_parameter

ALIGNMENT = 4
"""Elements, 16 bytes: kernels on a GPU read in such pieces, or one by one."""


class FlatParameters:
    """Moves the parameters of ``model`` into ``values``; they become views of it.

    Decayed parameters come first, so that each decay group is one slice. Each parameter starts at a
    multiple of ``ALIGNMENT``, whatever size the one before has; the zeros between stay zero.

    Attributes:
        values: (length,) float32, the parameters themselves.
        gradients: (length,) float32, written by ``set_gradients``.
        gradient_norm: () float32, their global L2 norm before ``clip_gradients``; always the same
            tensor, so that a recorded step writes to it too.
        num_decayed: how many leading elements take weight decay.
    """

    def __init__(self, model: nn.Module):
        named = list(model.named_parameters())
        decayed = [p for name, p in named if is_decayed(name, p)]
        others = [p for name, p in named if not is_decayed(name, p)]
        self.parameters = decayed + others
        self.num_decayed = sum(map(_length, decayed))
        self.values = self.parameters[0].new_zeros(sum(map(_length, self.parameters)))
        self.gradients = torch.zeros_like(self.values)
        self.gradient_norm = self.values.new_zeros(())
        self.gradient_views: list[torch.Tensor] = []
        """Of ``gradients``, in the order of ``parameters``."""
        start = 0
        for parameter in self.parameters:
            place = slice(start, start + parameter.numel())
            start += _length(parameter)
            parameter.data = self.values[place].view(parameter.shape).copy_(parameter.detach())
            self.gradient_views.append(self.gradients[place].view(parameter.shape))

    def set_gradients(self, loss: torch.Tensor) -> None:
        """Differentiate ``loss``; a parameter that it does not depend on gets zeros."""
        gradients = torch.autograd.grad(
            loss, self.parameters, allow_unused=True, materialize_grads=True
        )
        torch._foreach_copy_(self.gradient_views, gradients)

    def clip_gradients(self, max_norm: float) -> None:
        """Scale the gradients in place so that their global L2 norm is at most ``max_norm``."""
        norm = torch.linalg.vector_norm(self.gradients)
        self.gradient_norm.copy_(norm)
        self.gradients.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))


def _length(parameter: torch.Tensor) -> int:
    """Of its place in the buffer."""
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """True for the weight matrices: no embedding, no bias, no norm.

    A candidate's parameter is a matrix when at least two of its dimensions are longer than one, so
    a scalar per head of shape (heads, 1, 1) is not decayed.
    """
    if name.startswith("token_embedding"):
        return False
    if is_mechanism_parameter(name):
        return sum(length > 1 for length in parameter.shape) >= 2
    return parameter.ndim >= 2
