"""AdamW over the flat parameter buffer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.optim.adamw import adamw

from openevolve_unified.config.schema import TrainingConfig
from openevolve_unified.training.flat_parameters import FlatParameters

EPS = 1e-8


@dataclass(frozen=True)
class _Group:
    """A slice of the buffer that shares one weight decay."""

    values: torch.Tensor
    gradients: torch.Tensor
    exp_avg: torch.Tensor
    exp_avg_sq: torch.Tensor
    num_steps: torch.Tensor
    decay: float


class FlatAdamW:
    """The fused kernel of ``torch.optim.AdamW`` on one or two slices; its moments are flat too.

    torch's class is left out: its first use imports the compiler, which takes longer than
    importing torch, and its hooks cost as much as the kernel does on a small model. On a GPU the
    step count and the rate are tensors there, so that a step can be recorded.

    Attributes:
        exp_avg, exp_avg_sq: float32 like ``flat.values``, running means of gradients and squares.
    """

    def __init__(self, flat: FlatParameters, training: TrainingConfig):
        device = flat.values.device
        self.exp_avg = torch.zeros_like(flat.values)
        self.exp_avg_sq = torch.zeros_like(flat.values)
        self._betas = training.beta1, training.beta2
        self._on_gpu = flat.values.is_cuda
        self._rate: float | torch.Tensor = training.learning_rate
        if self._on_gpu:
            self._rate = torch.tensor(training.learning_rate, device=device)
        cut = flat.num_decayed if training.weight_decay else 0
        self._groups = [
            _Group(
                values=flat.values[rows],
                gradients=flat.gradients[rows],
                exp_avg=self.exp_avg[rows],
                exp_avg_sq=self.exp_avg_sq[rows],
                num_steps=torch.zeros((), device=device),
                decay=decay,
            )
            for rows, decay in ((slice(0, cut), training.weight_decay), (slice(cut, None), 0.0))
            if flat.values[rows].numel()
        ]

    def set_rate(self, rate: float) -> None:
        """Use ``rate`` from the next step on."""
        if isinstance(self._rate, torch.Tensor):
            self._rate.fill_(rate)
        else:
            self._rate = rate

    @torch.no_grad()
    def step(self) -> None:
        """Update the values with the gradients that are in the buffer."""
        beta1, beta2 = self._betas
        for group in self._groups:
            adamw(
                [group.values],
                [group.gradients],
                [group.exp_avg],
                [group.exp_avg_sq],
                [],
                [group.num_steps],
                fused=True,
                capturable=self._on_gpu,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=self._rate,
                weight_decay=group.decay,
                eps=EPS,
                maximize=False,
            )

    def moments(self) -> dict[str, torch.Tensor]:
        """Both moments by name."""
        return {"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}

    def restore(self, tensors: dict[str, torch.Tensor], num_steps: int) -> None:
        """Write back what ``moments`` returned after ``num_steps`` steps, all of it or nothing.

        It goes into the tensors that are there, which a recorded step goes on reading.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor does not fit this optimizer.
        """
        for name, own in self.moments().items():
            tensor = tensors[name]
            if tensor.shape != own.shape or tensor.dtype != own.dtype:
                raise ValueError(f"{name} is {tuple(tensor.shape)} {tensor.dtype}")
        for name, own in self.moments().items():
            own.copy_(tensors[name])
        for group in self._groups:
            group.num_steps.fill_(num_steps)
