"""The memory of one training job, estimated before it is run.

Counted, not guessed: what autograd keeps for the backward pass is affine in the batch size, so it
is read off at one and at two sequences and carried to the whole batch. Temporaries of the backward
pass come on top as one pair of the largest tensors that were kept.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn

from openevolve_unified.config.schema import StepKind
from openevolve_unified.model.dropout import new_masks
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.model.vocabulary_loss import CHUNK_BYTES
from openevolve_unified.records import TrainJob
from openevolve_unified.training.step import build_model, forward_precision

_COPIES_PER_PARAMETER = 6
"""Values, gradients, two moments, the gradients as autograd returns them, and the sum for averaged
weights; float32 each."""
_COPIES_PER_CHUNK = 4
"""Logits, softmax and its gradient, while the vocabulary loss works on a chunk, and room for one
more of them."""
_SLACK = 1.45
"""Held over counted bytes: 1.35 to 1.45 measured with glibc, which keeps freed blocks, and 1.05 to
1.45 with torch's allocator for GPUs, recording the shipped mechanisms at 96x4."""
CUDA_CONTEXT_BYTES = 600 << 20
"""What a process takes on a GPU for CUDA and its kernels; a few hundred megabytes are usual."""


def training_bytes(
    job: TrainJob, mechanism: Callable[[int], nn.Module], device: torch.device, step_kind: StepKind
) -> int:
    """Bytes of parameters, optimizer state, activations and temporaries of ``job`` on ``device``.

    Not counted: the process itself (its libraries) on a CPU, and the tokens.

    Args:
        step_kind: under ``auto`` two recordings are on a GPU at once while they are compared.
    """
    model = build_model(job, mechanism, torch.device("cpu"))
    job_batch = job.training.batch_size
    (one, largest_one), (two, largest_two) = (_kept_bytes(job, model, size) for size in (1, 2))
    per_sequence, largest = two - one, largest_two - largest_one
    kept = one + per_sequence * (job_batch - 1)
    temporaries = 2 * (largest_one + largest * (job_batch - 1))
    logits = 4 * job_batch * job.seq_len * job.vocab_size
    chunk = _COPIES_PER_CHUNK * min(CHUNK_BYTES[device.type], logits)
    parameters = 4 * _COPIES_PER_PARAMETER * model.parameter_count.total
    on_gpu = device.type == "cuda"
    num_forms = 2 if on_gpu and step_kind == "auto" else 1
    counted = parameters + num_forms * (kept + max(temporaries, chunk)) + _mask_bytes(job)
    return round(_SLACK * counted) + on_gpu * CUDA_CONTEXT_BYTES


def _kept_bytes(job: TrainJob, model: Transformer, batch_size: int) -> tuple[int, int]:
    """Bytes that autograd keeps of one forward pass, and the largest tensor among them."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), model.mask)}
    kept: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # so that no address is used twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    tokens = torch.zeros(batch_size, job.seq_len, dtype=torch.int64)
    masks = None
    if job.training.dropout > 0:
        size = job.size
        masks = new_masks(
            size.num_layers, batch_size, job.seq_len, size.hidden_dim, torch.device("cpu")
        )
        own.add(masks.untyped_storage().data_ptr())
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        forward_precision(job, torch.device("cpu")),
    ):
        model.loss(tokens, tokens, masks)
    return sum(kept.values()), max(kept.values(), default=0)


def _mask_bytes(job: TrainJob) -> int:
    if job.training.dropout == 0:
        return 0
    size = job.size
    meta = torch.device("meta")
    return new_masks(
        size.num_layers, job.training.batch_size, job.seq_len, size.hidden_dim, meta
    ).nbytes
