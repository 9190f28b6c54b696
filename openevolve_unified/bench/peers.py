"""Other libraries' models of the same shape, where they are installed, in the same plain loop."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
import torch.nn as nn

from openevolve_unified.records import TrainJob


class _Logits(nn.Module):
    """A Hugging Face model that returns its logits alone."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(tokens, use_cache=False).logits
        return logits


def _gpt2(job: TrainJob) -> nn.Module:
    """GPT-2 of Hugging Face: learnt positions, its own initialisation, dropout at its own sites."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from transformers import GPT2Config, GPT2LMHeadModel

    dropout = job.training.dropout
    config = GPT2Config(
        vocab_size=job.vocab_size,
        n_positions=job.seq_len,
        n_embd=job.size.hidden_dim,
        n_layer=job.size.num_layers,
        n_head=job.size.num_heads,
        activation_function="gelu",
        resid_pdrop=dropout,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return _Logits(GPT2LMHeadModel(config))


def _x_transformers(job: TrainJob) -> nn.Module:
    """The decoder of x-transformers with tied embeddings."""
    from x_transformers import Decoder, TransformerWrapper

    dropout = job.training.dropout
    layers = Decoder(
        dim=job.size.hidden_dim,
        depth=job.size.num_layers,
        heads=job.size.num_heads,
        attn_dim_head=job.size.head_dim,
        attn_flash=True,
        layer_dropout=0.0,
        ff_dropout=dropout,
    )
    return TransformerWrapper(
        num_tokens=job.vocab_size,
        max_seq_len=job.seq_len,
        attn_layers=layers,
        tie_embedding=True,
    )


PEERS: dict[str, Callable[[TrainJob], nn.Module]] = {
    "transformers": _gpt2,
    "x_transformers": _x_transformers,
}
