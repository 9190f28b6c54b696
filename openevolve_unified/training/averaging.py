"""Averaged weights: the mean of a run's parameters at its last evaluation points.

A way to read a loss more quietly than from the last weights alone (arXiv 1803.05407, with a
constant weight). The training itself does not notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from openevolve_unified.config.schema import NUM_AVERAGED, TrainingConfig

_SUM = "averaged_sum"


class WeightAverage:
    """The running sum of ``values`` over the points on the way that count.

    Args:
        values: (length,) float32, all parameters in one buffer, which the steps write to.

    Attributes:
        is_defined: False for a run with too few evaluation points.
    """

    def __init__(self, training: TrainingConfig, values: torch.Tensor):
        self._values = values
        self._frequency = training.eval_frequency
        self.is_defined = training.has_averaged_weights
        self._num_skipped = training.num_points_on_the_way + 1 - NUM_AVERAGED
        self._sum: torch.Tensor | None = None

    def add(self, step: int) -> None:
        """Count the values after ``step`` steps, a point on the way, without waiting for them."""
        if not self._counts(step):
            return
        if self._sum is None:
            self._sum = torch.zeros_like(self._values)
        self._sum.add_(self._values)

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint: empty before the first point that counts."""
        return {} if self._sum is None else {_SUM: self._sum}

    def restore(self, tensors: dict[str, torch.Tensor], step: int) -> None:
        """Write back what ``state`` returned after ``step`` steps.

        Raises:
            KeyError, ValueError: the sum is missing or does not fit.
        """
        if not self._counts(step):
            return
        tensor = tensors[_SUM]
        if tensor.shape != self._values.shape or tensor.dtype != self._values.dtype:
            raise ValueError(f"{_SUM} is {tuple(tensor.shape)} {tensor.dtype}")
        self._sum = tensor.to(self._values.device, copy=True)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """After the last step: the model has the mean while this lasts, then its last weights."""
        assert self.is_defined
        last = self._values.clone()
        total = last if self._sum is None else self._sum + last
        try:
            self._values.copy_(total / NUM_AVERAGED)
            yield
        finally:
            self._values.copy_(last)

    def _counts(self, step: int) -> bool:
        """Whether a point that counts has come by ``step``."""
        return self.is_defined and step // self._frequency > self._num_skipped
