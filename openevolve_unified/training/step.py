"""One training step: loss, gradients, clip, AdamW; a closed function of its tensors."""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn as nn
from torch._functorch import config as functorch_config

from openevolve_unified.errors import ConfigError
from openevolve_unified.model.dropout import draw_masks, new_masks
from openevolve_unified.model.transformer import Transformer
from openevolve_unified.records import TrainJob
from openevolve_unified.training.flat_parameters import FlatParameters
from openevolve_unified.training.optimizer import FlatAdamW
from openevolve_unified.training.schedule import learning_rate


def build_model(
    job: TrainJob, mechanism: Callable[[int], nn.Module], device: torch.device
) -> Transformer:
    """The transformer of ``job`` at its initial values."""
    model = Transformer(
        size=job.size,
        vocab_size=job.vocab_size,
        seq_len=job.seq_len,
        framework=job.framework,
        mechanism=mechanism,
        seed=job.seed,
        under_autocast=job.mechanism_precision == "bfloat16",
    )
    return model.to(device)


@contextlib.contextmanager
def forward_precision(job: TrainJob, device: torch.device) -> Iterator[None]:
    """What the forward pass of a training step of ``job`` runs in; outside, all is float32."""
    with contextlib.ExitStack() as stack:
        if job.precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        if job.mechanism_precision == "tf32":
            stack.enter_context(_tensor_float_32())
        yield


@contextlib.contextmanager
def _tensor_float_32() -> Iterator[None]:
    """Float32 products in TensorFloat32 on a GPU: in a bfloat16 model those of the mechanism.

    A setting of the whole process, as the backward pass runs in another thread.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _require_has_precision(job: TrainJob, device: torch.device) -> None:
    """Refuse TensorFloat32 where the GPU would silently compute in float32.

    Raises:
        ConfigError: it is older than Ampere.
    """
    if job.mechanism_precision == "tf32" and torch.cuda.get_device_capability(device) < (8, 0):
        raise ConfigError(
            "scaling_law.execution.mechanism_precision: got tf32 on "
            f"{torch.cuda.get_device_name(device)}, wanted float32 or bfloat16: GPUs before Ampere "
            "do not have it"
        )


class TrainStep:
    """A model with its optimizer.

    ``compute`` has fixed shapes, draws no random numbers and never waits for the device, so it can
    be captured in a graph; what changes from step to step enters through tensors and the rate.
    """

    def __init__(self, job: TrainJob, model: Transformer, device: torch.device):
        training = job.training
        self.model = model
        self.precision = job.precision
        self._loss: Callable[..., torch.Tensor] = model.loss
        self.flat = FlatParameters(model)
        self.optimizer = FlatAdamW(self.flat, training)
        self._training = training
        self._seed = job.seed
        self._masks: torch.Tensor | None = None
        if training.dropout > 0:
            self._masks = new_masks(
                job.size.num_layers,
                training.batch_size,
                job.seq_len,
                job.size.hidden_dim,
                device,
            )
        _require_has_precision(job, device)
        self._forward_precision = functools.partial(forward_precision, job, device)
        self._backward_precision: Callable[[], contextlib.AbstractContextManager[object]]
        self._backward_precision = contextlib.nullcontext
        if job.mechanism_precision == "tf32":
            self._backward_precision = _tensor_float_32

    def __call__(self, tokens: torch.Tensor, step: int) -> torch.Tensor:
        """Do the step with index ``step`` (from 0) and return its loss before the update.

        Args:
            tokens: (batch, time + 1) int64.
        """
        self.prepare(step)
        return self.compute(tokens)

    def prepare(self, step: int) -> None:
        """Draw the masks and set the rate of the step with index ``step``."""
        if self._masks is not None:
            draw_masks(self._masks, self._training.dropout, self._seed, step)
        self.optimizer.set_rate(learning_rate(self._training, step))

    def compute(self, tokens: torch.Tensor) -> torch.Tensor:
        """Loss, gradients, clip and update, with the masks and the rate that are set."""
        with self._forward_precision():
            loss = self._loss(tokens[:, :-1], tokens[:, 1:], self._masks)
        with self._backward_precision():
            self.flat.set_gradients(loss)
        self.flat.clip_gradients(self._training.grad_clip)
        self.optimizer.step()
        return loss.detach()

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last norm's output (batch, time, hidden_dim), in the precision of the training,
        without dropout, gradients or a change of anything.

        Args:
            tokens: (batch, time) int64.
        """
        with torch.no_grad(), self._forward_precision():
            return self.model.hidden(tokens)

    def with_compiled_loss(self) -> TrainStep:
        """The same step over the same parameters, with loss and gradient built by Inductor."""
        twin = copy.copy(self)
        # Every job is a new entry of one cache, and past its limit nothing is compiled any more.
        torch.compiler.reset()
        compiled = torch.compile(self.model.loss, dynamic=False)

        def loss(*inputs: Any) -> torch.Tensor:
            with _backward_without_autocast():
                value: torch.Tensor = compiled(*inputs)
            return value

        twin._loss = loss
        return twin

    def state(self) -> dict[str, torch.Tensor]:
        """Parameters and optimizer moments: what the steps to come depend on."""
        return {"values": self.flat.values, **self.optimizer.moments()}

    def restore(self, tensors: dict[str, torch.Tensor], num_steps: int) -> None:
        """Write back what ``state`` returned after ``num_steps`` steps, all of it or nothing.

        It goes into the tensors that are there, so a recorded step goes on from it too.

        Raises:
            KeyError, ValueError: a tensor is missing or does not fit this model.
        """
        values = tensors["values"]
        if values.shape != self.flat.values.shape or values.dtype != self.flat.values.dtype:
            raise ValueError(
                f"its parameters are {tuple(values.shape)} {values.dtype}, wanted "
                f"{tuple(self.flat.values.shape)} {self.flat.values.dtype}"
            )
        self.optimizer.restore(tensors, num_steps)
        self.flat.values.copy_(values)


@contextlib.contextmanager
def _backward_without_autocast() -> Iterator[None]:
    """Compile the backward pass with autocast off, as it is when autograd runs it.

    By default it is traced under the autocast of the whole loss, so the gradients of a mechanism,
    where autocast is off, would be bfloat16 products. Where it is on (``mechanism_precision``),
    what was rounded on the way forward is rounded on the way back, as in autograd. The compiler's
    advice to round float32 products to TensorFloat32 is not shown: that is a setting.
    """
    with functorch_config.patch(backward_pass_autocast="off"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
        yield
