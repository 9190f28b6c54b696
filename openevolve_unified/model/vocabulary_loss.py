"""Cross-entropy against the tied embedding, without keeping the logits.

At vocabulary 16,384 the float32 logits of one batch are most of the memory traffic of a small
model. Here they exist for one chunk of positions at a time, and the gradient is formed in the same
pass, so a backward pass only scales it. The twin is ``F.cross_entropy`` of the full logits.
"""

from __future__ import annotations

from typing import Any

import torch

CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
"""Upper bound of one chunk's logits, as if they were float32; what a chunk has where nobody chose
fewer rows."""


def vocabulary_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    chunk_rows: int | None = None,
) -> torch.Tensor:
    """Mean cross-entropy in nats of ``targets`` under softmax(hidden @ weight').

    Args:
        hidden: (positions, hidden_dim), float32 or bfloat16; the products run in its type, the
            exponentials and the loss in float32.
        weight: (vocab, hidden_dim) float32.
        targets: (positions,) int64.
        chunk_rows: positions whose logits exist at once; beyond rounding it changes nothing. None:
            what ``CHUNK_BYTES`` holds.
    """
    loss: torch.Tensor = _VocabularyLoss.apply(hidden, weight, targets, chunk_rows)
    return loss


def position_losses(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """The same loss for each position, (positions,) float32, without gradients."""
    losses = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
    with torch.no_grad():
        for rows in _chunks(hidden, weight, None):
            logits = (hidden[rows] @ weight.t()).float()
            target = logits.gather(1, targets[rows].unsqueeze(1)).squeeze(1)
            losses[rows] = logits.logsumexp(-1) - target
    return losses


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        chunk_rows: int | None,
    ) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return _forward(ctx, hidden, weight.to(hidden.dtype), targets, chunk_rows)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * grads[0].to(hidden_grad.dtype), weight_grad * grads[0], None, None


def _forward(
    ctx: Any,
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    chunk_rows: int | None,
) -> torch.Tensor:
    num_positions = hidden.shape[0]
    hidden_grad = torch.empty_like(hidden)
    weight_grad = None
    total = None
    for rows in _chunks(hidden, weight, chunk_rows):
        logits = hidden[rows] @ weight.t()
        differentiate = _by_one_kernel if _is_compiled_for_gpu(logits) else _by_operators
        loss, exact = differentiate(logits, targets[rows].unsqueeze(1))
        total = loss if total is None else total + loss
        gradient = exact.to(hidden.dtype)
        torch.mm(gradient, weight, out=hidden_grad[rows])
        part = gradient.t() @ hidden[rows]
        weight_grad = part.float() if weight_grad is None else weight_grad.add_(part)
    assert total is not None
    assert weight_grad is not None
    ctx.save_for_backward(hidden_grad.div_(num_positions), weight_grad.div_(num_positions))
    return total / num_positions


def _is_compiled_for_gpu(logits: torch.Tensor) -> bool:
    return logits.is_cuda and torch.compiler.is_compiling()


def _by_operators(logits: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses and its gradient, in few passes of whole operators.

    Args:
        logits: (rows, vocab) float32 or bfloat16; no float32 copy of them is made.
        index: (rows, 1) int64, the targets.
    """
    softmax = logits.softmax(-1, dtype=torch.float32)
    # The largest probability is at least 1/vocab, so its logarithm cannot underflow; this
    # gives log-sum-exp for two cheap maxima instead of a second pass of exponentials.
    log_sum = logits.amax(-1).float() - softmax.amax(-1).log()
    loss = (log_sum - logits.gather(1, index).squeeze(1).float()).sum()
    softmax.scatter_add_(1, index, index.new_full(index.shape, -1, dtype=softmax.dtype))
    return loss, softmax


def _by_one_kernel(logits: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same where elementwise operators become one kernel, for a GPU.

    Besides the product's own logits, nothing of this size is written but the gradient. On a CPU the
    second exponential costs more than the pass over memory that it spares.
    """
    logits = logits.float()
    largest = logits.amax(-1, keepdim=True)
    exponential = (logits - largest).exp()
    total = exponential.sum(-1, keepdim=True)
    loss = (largest + total.log() - logits.gather(1, index)).sum()
    is_target = torch.arange(logits.shape[1], device=index.device) == index
    return loss, exponential / total - is_target.float()


def max_chunk_rows(vocab_size: int, device: torch.device) -> int:
    """As many rows as ``CHUNK_BYTES`` holds."""
    return max(1, CHUNK_BYTES[device.type] // (4 * vocab_size))


def _chunks(hidden: torch.Tensor, weight: torch.Tensor, num_rows: int | None) -> list[slice]:
    num_rows = num_rows or max_chunk_rows(weight.shape[0], hidden.device)
    return [slice(i, i + num_rows) for i in range(0, hidden.shape[0], num_rows)]
