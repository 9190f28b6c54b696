"""The form of the training step that a job runs: plain, captured, or compiled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from openevolve_unified.config.schema import StepKind
from openevolve_unified.execution.lifetime import is_process_spoilt
from openevolve_unified.training.captured import CapturedStep
from openevolve_unified.training.chunks import choose_chunk_rows
from openevolve_unified.training.step import TrainStep

RunStep = Callable[[torch.Tensor, int], torch.Tensor]
COMPILE_S = 60.0
"""What building a step costs, about; its gain over all steps must be more."""
_PAYS_FROM = {"cuda": 2.0, "cpu": 20.0}
"""Times ``COMPILE_S`` of steps that must be left: a GPU may double its speed, and half the time is
gained; a CPU gained a twentieth (bfloat16, full sizes)."""
TIMED_STEPS = 200
TIMED_S = 5.0
NUM_ROUNDS = 3
"""In which the forms take turns, as another worker may be in the way for a while."""
_log = logging.getLogger(__name__)


def choose_step(
    kind: StepKind, step: TrainStep, tokens: torch.Tensor, num_done: int, num_left: int
) -> tuple[str, RunStep]:
    """The name of the chosen form and the form itself; ``step`` is left as it was.

    ``auto`` is ``plain`` in float32 on a CPU, where the same job must give the same bits and the
    products are most of a step. Otherwise it is ``captured`` on a GPU, where the step can be
    recorded, else ``plain``; or ``compiled`` when so many steps are left that building it pays and
    a short measurement finds it faster. A form that fails to build is left out, with a warning.
    On a GPU ``auto`` also chooses the rows of a chunk of the vocabulary loss, before it times the
    forms; a form that is asked for has the fixed size.

    Args:
        tokens: a batch, (batch, time + 1) int64.
        num_done, num_left: steps.
    """
    trial = _Trial(step, tokens, num_done)
    if kind == "auto":
        if not tokens.is_cuda and step.precision == "float32":
            return "plain", step
        step.model.chunk_rows = choose_chunk_rows(step.model, tokens, step.precision)
        chosen = trial.choose_by_time(num_left)
    else:
        built = trial.build(kind)
        chosen = (kind, built) if built is not None else ("plain", step)
    if tokens.is_cuda:
        torch.cuda.empty_cache()  # what building took and what lost; others use this GPU too
    return chosen


@dataclass(frozen=True)
class _Trial:
    """Builds and times forms of one step; whatever it does, the step is left as it was."""

    step: TrainStep
    tokens: torch.Tensor
    num_done: int

    def choose_by_time(self, num_left: int) -> tuple[str, RunStep]:
        simple_kind = "plain"
        simple: RunStep = self.step
        if self.tokens.is_cuda:
            recorded = self.build("captured")
            if recorded is not None:
                simple_kind, simple = "captured", recorded
            elif is_process_spoilt():
                return "plain", self.step
            # Else compile: a gradient that waits for the device may not do so once compiled.
        least_s = _PAYS_FROM[self.tokens.device.type] * COMPILE_S
        if num_left == 0 or self.step_s(simple, 1) * num_left < least_s:
            return simple_kind, simple
        compiled = self.build("compiled")
        if compiled is None:
            return simple_kind, simple
        rounds = [
            [self.step_s(run, TIMED_STEPS) for run in (simple, compiled)] for _ in range(NUM_ROUNDS)
        ]
        simple_s, compiled_s = map(min, zip(*rounds, strict=True))
        return ("compiled", compiled) if compiled_s < simple_s else (simple_kind, simple)

    def build(self, kind: str) -> RunStep | None:
        """The form ``kind``; None, with a warning, where it cannot be built."""
        if kind == "plain":
            return self.step
        try:
            run = self.step if kind == "captured" else self.step.with_compiled_loss()
            if kind == "captured" and not self.tokens.is_cuda:
                raise RuntimeError("a recording needs a GPU, and would be empty")
            if self.tokens.is_cuda:
                return CapturedStep(run, self.tokens, self.num_done)
            self.run_and_rewind(run, 1)
        except Exception as error:  # compilers and drivers raise anything; the plain step works
            _log.warning("no %s training step here: %s", kind, str(error).strip().split("\n")[0])
            return None
        return run

    def step_s(self, run: RunStep, max_steps: int) -> float:
        """Seconds per step, of at most ``max_steps`` and about ``TIMED_S`` seconds of them."""
        self.run_and_rewind(run, 1)  # the first one may still build something
        once_s = self._seconds(run, 1)
        count = min(max_steps, int(TIMED_S / once_s))
        return once_s if count <= 1 else self._seconds(run, count) / count

    def run_and_rewind(self, run: RunStep, count: int) -> None:
        before = {name: tensor.clone() for name, tensor in self.step.state().items()}
        try:
            for index in range(count):
                loss = run(self.tokens, self.num_done + index)
            loss.item()  # waits for the device
        finally:
            self.step.restore(before, self.num_done)

    def _seconds(self, run: RunStep, count: int) -> float:
        started = time.perf_counter()
        self.run_and_rewind(run, count)
        return time.perf_counter() - started
