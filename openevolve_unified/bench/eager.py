"""The baseline: what anyone would write first for this model, with torch's own parts.

Scaled dot-product attention with its causal flag, ``nn.Dropout``, full float32 logits,
``F.cross_entropy``, the default AdamW, ``clip_grad_norm_``, the loss read back at every step. Its
parameters have the names of ``model.transformer``, so that a test can give both the same weights
and hold them to the same losses.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.model.initialisation import embedding_scale, initialise
from openevolve_unified.model.positions import sinusoidal_positions
from openevolve_unified.records import TrainJob
from openevolve_unified.training.schedule import learning_rate


class EagerAttention(nn.Module):
    """Softmax attention by ``F.scaled_dot_product_attention``."""

    def __init__(self, size: SizeConfig):
        super().__init__()
        self.num_heads = size.num_heads
        self.qkv_proj = nn.Linear(size.hidden_dim, 3 * size.hidden_dim)
        self.out_proj = nn.Linear(size.hidden_dim, size.hidden_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``x`` (batch, time, hidden_dim) to the same shape."""
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.num_heads, -1).transpose(1, 2)  # (B, H, T, head_dim)
            for part in self.qkv_proj(x).chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        projected: torch.Tensor = self.out_proj(y.transpose(1, 2).reshape(B, T, D))
        return projected


class EagerBlock(nn.Module):
    """Pre-norm residual block with dropout on both branches."""

    def __init__(self, size: SizeConfig, dropout: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(size.hidden_dim)
        self.attention = EagerAttention(size)
        self.feed_forward_norm = nn.LayerNorm(size.hidden_dim)
        self.up = nn.Linear(size.hidden_dim, 4 * size.hidden_dim)
        self.down = nn.Linear(4 * size.hidden_dim, size.hidden_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``x`` (batch, time, hidden_dim) to the same shape."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.down(F.gelu(self.up(self.feed_forward_norm(x)))))


class EagerTransformer(nn.Module):
    """The fixed transformer of this project with softmax attention."""

    positions: torch.Tensor

    def __init__(self, size: SizeConfig, vocab_size: int, seq_len: int, dropout: float, seed: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, size.hidden_dim)
        self.blocks = nn.ModuleList(EagerBlock(size, dropout) for _ in range(size.num_layers))
        self.final_norm = nn.LayerNorm(size.hidden_dim)
        self.scale = embedding_scale(size.hidden_dim)
        positions = sinusoidal_positions(seq_len, size.hidden_dim)
        self.register_buffer("positions", positions, persistent=False)
        for name, parameter in self.named_parameters():
            initialise(name, parameter, size.num_layers, seed)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map ``tokens`` (batch, time) to logits (batch, time, vocab)."""
        x = self.token_embedding(tokens) * self.scale + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.final_norm(x), self.token_embedding.weight)


def eager_model(job: TrainJob) -> EagerTransformer:
    """The plain twin of the model that ``job`` trains."""
    return EagerTransformer(job.size, job.vocab_size, job.seq_len, job.training.dropout, job.seed)


class EagerStep:
    """One training step of any model that maps tokens to logits."""

    def __init__(self, model: nn.Module, training: TrainingConfig):
        self.model = model.train()
        self._training = training
        self._optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=training.learning_rate,
            betas=(training.beta1, training.beta2),
            weight_decay=training.weight_decay,
        )

    def __call__(self, tokens: torch.Tensor, step: int) -> float:
        """Train on ``tokens`` (batch, time + 1); the loss in nats before the update."""
        logits = self.model(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._training.grad_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._training, step)
        self._optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validation_loss(self, tokens: torch.Tensor) -> float:
        """Loss of one validation batch, (batch, time + 1)."""
        self.model.eval()
        logits = self.model(tokens[:, :-1])
        self.model.train()
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
