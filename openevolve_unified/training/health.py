"""Health: measured on the device at some steps of a training, and read where it waits anyway.

It only reads: gradients, parameters and moments after a step, and a pass of the same batch without
gradients for what the mechanism returns. The training gives the same bits as without it. How the
step runs (plain, recorded, compiled) does not matter, as nothing is measured inside of it.

Out of scope: what the numbers mean (``judgement.health``), and attention scores before they become
coefficients, which no notation names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import torch

from openevolve_unified.health import Health, HealthPoint, LossTrend
from openevolve_unified.model.attention import Block
from openevolve_unified.model.transformer import is_mechanism_parameter
from openevolve_unified.notations import NOTATIONS
from openevolve_unified.records import QUICK_STEP, TrainJob
from openevolve_unified.training.optimizer import EPS
from openevolve_unified.training.schedule import learning_rate
from openevolve_unified.training.step import TrainStep

EVERY = 25
"""Steps between points; after ``QUICK_STEP`` a hundredth of the horizon where that is more."""
PASSES_EVERY = {"cpu": 50, "cuda": 250}
"""The mechanism's output is measured at points that are multiples of this, and at the quick step. A
pass takes a third of a step; on a GPU it is launched kernel by kernel, as long as many recorded
steps."""
NUM_ENTROPIES = 2
"""Sequences of the batch whose coefficients' entropy is taken."""
SPIKE_SCORE = 6.0
"""Standard deviations above the trend of the losses, as in OLMo-core's stability monitor."""
SPIKE_MEMORY = 32
"""Steps over which their deviation is forgotten; none is a spike before as many were seen."""
_LEVEL_GAIN, _SLOPE_GAIN = 1 / 8, 1 / 128
"""Of the trend; a falling loss, whose mean lags behind, would hide a spike."""
MAX_SPIKES = 32
"""Kept by step; they are counted on."""
_WINSORISED = 3.0
"""A spike enters the trend as so many standard deviations: a new level is learnt slowly."""
_LARGEST = float(torch.finfo(torch.float32).max)


class HealthMeter:
    """Measures one training; ``health`` is what was read so far.

    Args:
        health: from a checkpoint, which was saved right after a ``read``.
    """

    def __init__(self, job: TrainJob, step: TrainStep, health: Health | None = None):
        self.health = health or Health()
        self._trend = self.health.trend
        self._job = job
        self._step = step
        self._every = max(EVERY, job.training.training_steps // 100)
        flat = step.flat
        names = {id(parameter): name for name, parameter in step.model.named_parameters()}
        views = [
            (names[id(parameter)], view)
            for parameter, view in zip(flat.parameters, flat.gradient_views, strict=True)
        ]
        self._own = [view for name, view in views if is_mechanism_parameter(name)]
        self._inputs = [view for name, view in views if name.endswith("qkv_proj.weight")]
        self._num_all = sum(view.numel() for _, view in views)
        self._pending: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        self._losses: dict[int, tuple[float, float]] = {}
        self._device_type = flat.values.device.type

    def is_due(self, step: int) -> bool:
        """Whether there is a point after ``step`` steps."""
        if step <= QUICK_STEP and step % EVERY == 0:
            return True
        return step % self._every == 0 or step == self._job.training.training_steps

    def take_loss(self, step: int, loss: float) -> None:
        """Take the finite loss of ``step`` (from 1), in the order of the steps."""
        if is_spike(self._trend, loss):
            self.health = dataclasses.replace(
                self.health,
                spikes=(*self.health.spikes, step)[-MAX_SPIKES:],
                num_spikes=self.health.num_spikes + 1,
            )
        self._trend = trend = after_loss(self._trend, loss)
        if self.is_due(step):
            mean = trend.total / trend.count
            variance = max(0.0, trend.squares / trend.count - mean**2)
            self._losses[step] = mean, math.sqrt(variance)
            self._trend = dataclasses.replace(trend, total=0.0, squares=0.0, count=0)

    @torch.no_grad()
    def measure(self, step: int, tokens: torch.Tensor) -> None:
        """Measure after ``step`` steps without waiting for the device.

        Args:
            tokens: (batch, time + 1) int64, the batch of the last step.
        """
        has_pass = step == QUICK_STEP or step % PASSES_EVERY[self._device_type] == 0
        outputs = self._measure_outputs(tokens[:, :-1]) if has_pass else None
        self._pending[step] = self._measure_step(step), outputs

    def read(self) -> Health:
        """Wait for what was measured and add it to ``health``, as far as losses were taken."""
        known = [step for step in self._pending if step in self._losses]
        points = [self._point(step, *self._pending.pop(step)) for step in known]
        self.health = dataclasses.replace(
            self.health, points=(*self.health.points, *points), trend=self._trend
        )
        return self.health

    def _measure_step(self, step: int) -> torch.Tensor:
        """Of the buffers: the fields of ``HealthPoint`` from ``gradient_norm`` on, (6,)."""
        flat, optimizer, training = self._step.flat, self._step.optimizer, self._job.training
        mean_scale = 1 - training.beta1**step
        square_scale = 1 - training.beta2**step
        root = optimizer.exp_avg_sq.div(square_scale).sqrt_()
        vanished = (root[: flat.num_decayed] < EPS).float().mean()
        update = optimizer.exp_avg.div(root.add_(EPS)).mul_(
            learning_rate(training, step - 1) / mean_scale
        )
        all_clipped = torch.linalg.vector_norm(flat.gradients)
        own = _norm(self._own, all_clipped)
        return torch.stack(
            [
                flat.gradient_norm,
                all_clipped,
                own,
                _norm(self._inputs, all_clipped),
                torch.linalg.vector_norm(update) / torch.linalg.vector_norm(flat.values),
                vanished,
            ]
        )

    def _measure_outputs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Of a pass: variance, largest coefficient, entropy, log Z, (4,)."""
        found: list[torch.Tensor] = []
        with _watched(self._step, found):
            hidden = self._step.hidden(tokens)
        variance, largest, entropy = torch.stack(found).float().unbind(1)
        weight = self._step.model.token_embedding.weight
        log_z = (hidden[:, -1].float() @ weight.t()).logsumexp(-1).mean()
        return torch.stack([variance.min(), largest.max(), entropy.min(), log_z])

    def _point(self, step: int, of_step: torch.Tensor, outputs: torch.Tensor | None) -> HealthPoint:
        mean, sd = self._losses.pop(step)
        norm, clipped, own, inputs, update, vanished = map(_finite, of_step.tolist())
        point = HealthPoint(
            step=step,
            train_loss_nats=mean,
            loss_sd_nats=sd,
            gradient_norm=norm,
            own_gradient_share=self._share(self._own, own, clipped) if self._own else None,
            input_gradient_share=self._share(self._inputs, inputs, clipped),
            update_to_weight=update,
            vanished_gradients=vanished,
        )
        if outputs is None:
            return point
        variance, largest, entropy, log_z = outputs.tolist()
        return dataclasses.replace(
            point,
            output_variance=None if self._job.training.batch_size == 1 else _finite(variance),
            largest_coefficient=_finite(largest),
            coefficient_entropy=None if math.isnan(entropy) else _finite(entropy),
            log_z=_finite(log_z),
        )

    def _share(self, views: list[torch.Tensor], norm: float, whole: float) -> float:
        """Root mean square of some gradients over that of all."""
        count = sum(view.numel() for view in views)
        return norm / max(whole, 1e-30) * math.sqrt(self._num_all / count)


def is_spike(trend: LossTrend, loss: float) -> bool:
    """Whether a loss stands far above what those before it lead to."""
    expected, deviation = trend.level + trend.slope, math.sqrt(trend.variance)
    return trend.num_steps >= SPIKE_MEMORY and loss > expected + SPIKE_SCORE * deviation


def after_loss(trend: LossTrend, loss: float) -> LossTrend:
    """The trend with one more loss."""
    surprise = loss - trend.level - trend.slope if trend.num_steps else 0.0
    if is_spike(trend, loss):
        surprise = _WINSORISED * math.sqrt(trend.variance)
    weight = 1 / min(trend.num_steps + 1, SPIKE_MEMORY)
    level = trend.level + trend.slope if trend.num_steps else loss
    return LossTrend(
        level=level + _LEVEL_GAIN * surprise,
        slope=trend.slope + _SLOPE_GAIN * surprise,
        variance=(1 - weight) * trend.variance + weight * surprise**2,
        num_steps=trend.num_steps + 1,
        total=trend.total + loss,
        squares=trend.squares + loss**2,
        count=trend.count + 1,
    )


@contextlib.contextmanager
def _watched(step: TrainStep, found: list[torch.Tensor]) -> Iterator[None]:
    """While it lasts, every layer adds variance, largest coefficient and entropy, (3,)."""
    hooks = []
    returned: dict[int, torch.Tensor] = {}
    for block in step.model.blocks:
        assert isinstance(block, Block)
        attention = block.attention
        gives = NOTATIONS[attention.framework].gives

        def keep(
            module: object, inputs: object, output: torch.Tensor, layer: int = block.layer
        ) -> None:
            returned[layer] = output

        def look(
            module: object,
            inputs: tuple[torch.Tensor],
            layer: int = block.layer,
            gives: str = gives,
        ) -> None:
            result = returned.pop(layer)
            if gives == "lower coefficients":
                result = result.tril()
            found.append(
                torch.stack([_variance(inputs[0]), result.abs().max(), _entropy(result, gives)])
            )

        hooks.append(attention.mechanism.register_forward_hook(keep))
        hooks.append(attention.out_proj.register_forward_pre_hook(look))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _variance(mixed: torch.Tensor) -> torch.Tensor:
    """Across the batch, over the mean square, of (batch, time, hidden_dim)."""
    mixed = mixed.float()
    return mixed.var(0, unbiased=False).mean() / mixed.square().mean().clamp_min(1e-30)


def _entropy(result: torch.Tensor, gives: str) -> torch.Tensor:
    """Of the rows of coefficients (batch, heads, time, time) over that of equal ones; else NaN."""
    if gives == "values" or result.shape[-1] < 2:
        return result.new_full((), math.nan)
    sizes = result[:NUM_ENTROPIES].abs()
    shares = sizes / sizes.sum(-1, keepdim=True).clamp_min(1e-30)
    entropy = torch.special.entr(shares).sum(-1)[..., 1:]  # one coefficient has none
    equal = torch.arange(2, result.shape[-1] + 1, device=result.device).log()
    return (entropy / equal).mean()


def _norm(views: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    if not views:
        return torch.zeros_like(like)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(views)))


def _finite(value: float) -> float:
    """What JSON can hold: what is not finite becomes the largest float32."""
    return _LARGEST if math.isnan(value) else max(-_LARGEST, min(_LARGEST, value))
