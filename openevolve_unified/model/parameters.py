"""The number of parameters of a transformer, in closed form (no torch)."""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.config.schema import SizeConfig


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Numbers of trained parameters."""

    total: int
    embedding: int
    """The token embedding, which is also the output matrix; positions are not parameters."""

    @property
    def non_embedding(self) -> int:
        """What the scaling law is fitted against."""
        return self.total - self.embedding


def count_parameters(
    size: SizeConfig, vocab_size: int, mechanism_parameters: int = 0
) -> ParameterCount:
    """Count a transformer of ``size``.

    Args:
        mechanism_parameters: what the mechanism adds, summed over all layers; softmax attention
            adds none.
    """
    d = size.hidden_dim
    attention = 4 * (d * d + d)
    feed_forward = (4 * d * d + 4 * d) + (4 * d * d + d)
    norms = 2 * 2 * d
    shared = size.num_layers * (attention + feed_forward + norms) + 2 * d
    embedding = vocab_size * d
    return ParameterCount(total=shared + embedding + mechanism_parameters, embedding=embedding)
