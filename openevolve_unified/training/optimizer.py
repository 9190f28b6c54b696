"""AdamW over the flat parameter buffer."""

from __future__ import annotations

import torch

from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.training.flat_parameters import FlatParameters

MOMENTS = ("exp_avg", "exp_avg_sq")


def build_optimizer(flat: FlatParameters, training: TrainingConfig) -> torch.optim.AdamW:
    """Fused AdamW with one group for the decayed slice and one for the rest (if not empty).

    On a GPU the step count and the rate are tensors there, so that a step can be recorded.
    """
    on_gpu = flat.values.is_cuda
    cut = flat.num_decayed
    groups = []
    for rows, decay in ((slice(0, cut), training.weight_decay), (slice(cut, None), 0.0)):
        values = flat.values[rows]
        if values.numel():
            values.grad = flat.gradients[rows]
            groups.append({"params": [values], "weight_decay": decay})
    rate: float | torch.Tensor = training.learning_rate
    if on_gpu:
        rate = torch.tensor(rate, device=flat.values.device)
    return torch.optim.AdamW(
        groups,
        lr=rate,
        betas=(training.beta1, training.beta2),
        fused=True,
        capturable=on_gpu,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use ``rate`` from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Both moments of every group as named tensors; empty before the first step."""
    state: dict[str, torch.Tensor] = {}
    for index, values in enumerate(_group_values(optimizer)):
        for name in MOMENTS:
            if name in optimizer.state[values]:
                state[f"{name}.{index}"] = optimizer.state[values][name]
    return state


def restore_moments(
    optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor], num_steps: int
) -> None:
    """Put back what ``moments`` returned after ``num_steps`` steps, all of it or nothing.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor does not fit this optimizer.
    """
    restored = []
    for index, values in enumerate(_group_values(optimizer)):
        own = {"step": torch.tensor(float(num_steps), device=values.device)}
        for name in MOMENTS:
            tensor = state[f"{name}.{index}"]
            if tensor.shape != values.shape or tensor.dtype != values.dtype:
                raise ValueError(f"{name}.{index} is {tuple(tensor.shape)} {tensor.dtype}")
            own[name] = tensor.to(values.device)
        restored.append(own)
    for values, own in zip(_group_values(optimizer), restored, strict=True):
        optimizer.state[values] = own


def rewind_moments(
    optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor], num_steps: int
) -> None:
    """Write what ``moments`` returned after ``num_steps`` steps into the tensors that are there.

    A recorded step goes on reading those tensors; moments missing from ``state`` become zero.
    """
    for index, values in enumerate(_group_values(optimizer)):
        own = optimizer.state[values]
        if not own:
            continue  # it has not done a step since
        own["step"].fill_(num_steps)
        for name in MOMENTS:
            saved = state.get(f"{name}.{index}")
            own[name].zero_() if saved is None else own[name].copy_(saved)


def _group_values(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [group["params"][0] for group in optimizer.param_groups]
