"""The fixed causal transformer: everything but the mechanism, the same for every candidate."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.model.attention import Block
from openevolve_unified.model.initialisation import embedding_scale, initialise
from openevolve_unified.model.parameters import ParameterCount, count_parameters
from openevolve_unified.model.positions import sinusoidal_positions
from openevolve_unified.model.vocabulary_loss import position_losses, vocabulary_loss


class Transformer(nn.Module):
    """Pre-norm decoder: token embedding plus sinusoids, blocks, final norm, tied output.

    There is no state that depends on training or evaluation: dropout happens where masks are
    handed in (see ``model.dropout``), so a step is a closed function of its tensors.

    Args:
        size: width, depth and heads.
        vocab_size: entries of the embedding.
        seq_len: longest input.
        framework: how a mechanism's result meets the values.
        mechanism: layer index to a module with its own initial values, called as
            ``mechanism(q, k, v, x, mask)``.
        seed: of the shared parameters; the mechanism's values are its own business.
        under_autocast: see ``Attention``.
    """

    positions: torch.Tensor
    mask: torch.Tensor

    def __init__(
        self,
        *,
        size: SizeConfig,
        vocab_size: int,
        seq_len: int,
        framework: str,
        mechanism: Callable[[int], nn.Module],
        seed: int,
        under_autocast: bool = False,
    ):
        super().__init__()
        self.size = size
        self.vocab_size = vocab_size
        self.seq_len = seq_len
        self.chunk_rows: int | None = None
        """Of the vocabulary loss, see there."""
        self.token_embedding = nn.Embedding(vocab_size, size.hidden_dim)
        self.blocks = nn.ModuleList(
            Block(size, layer, framework, mechanism(layer), under_autocast)
            for layer in range(size.num_layers)
        )
        self.final_norm = nn.LayerNorm(size.hidden_dim)
        positions = sinusoidal_positions(seq_len, size.hidden_dim)
        self.register_buffer("positions", positions, persistent=False)
        mask = torch.ones(seq_len, seq_len, dtype=torch.bool).tril()
        self.register_buffer("mask", mask, persistent=False)
        for name, parameter in self.named_parameters():
            if not is_mechanism_parameter(name):
                initialise(name, parameter, size.num_layers, seed)
        self.parameter_count = self._count()

    def hidden(
        self, tokens: torch.Tensor, dropout_masks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map ``tokens`` (batch, time) to the last norm's output (batch, time, hidden_dim)."""
        T = tokens.shape[1]
        embedded = F.embedding(tokens, self.token_embedding.weight)
        x = torch.add(self.positions[:T], embedded, alpha=embedding_scale(self.size.hidden_dim))
        mask = self.mask[:T, :T]
        for block in self.blocks:
            x = block(x, mask, dropout_masks)
        normed: torch.Tensor = self.final_norm(x)
        return normed

    def forward(
        self, tokens: torch.Tensor, dropout_masks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map ``tokens`` (batch, time) to logits (batch, time, vocab)."""
        return F.linear(self.hidden(tokens, dropout_masks), self.token_embedding.weight)

    def loss(
        self,
        tokens: torch.Tensor,
        targets: torch.Tensor,
        dropout_masks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Mean cross-entropy in nats per token of ``targets`` (batch, time) int64."""
        hidden = self.hidden(tokens, dropout_masks).flatten(0, 1)
        if torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        return vocabulary_loss(
            hidden, self.token_embedding.weight, targets.flatten(), self.chunk_rows
        )

    def token_losses(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats of each target, (batch, time) float32, without gradients."""
        with torch.no_grad():
            hidden = self.hidden(tokens)
        return self.losses_of(hidden.flatten(0, 1), targets.flatten()).view(targets.shape)

    def losses_of(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each target (positions,) after ``hidden`` (positions, hidden_dim)."""
        return position_losses(hidden, self.token_embedding.weight, targets)

    def _count(self) -> ParameterCount:
        names = dict(self.named_parameters())
        own = sum(p.numel() for name, p in names.items() if is_mechanism_parameter(name))
        count = count_parameters(self.size, self.vocab_size, own)
        actual = sum(parameter.numel() for parameter in names.values())
        assert count.total == actual, f"closed form {count.total}, model {actual}"
        return count


def is_mechanism_parameter(name: str) -> bool:
    """True for a parameter that the candidate brought, by its name in the transformer."""
    return ".attention.mechanism." in name
