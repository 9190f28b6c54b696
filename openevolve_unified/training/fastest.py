"""Which form of the training step a job runs: plain, captured, or compiled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal

import torch

from openevolve_unified.training.captured import CapturedStep
from openevolve_unified.training.step import TrainStep

StepKind = Literal["auto", "plain", "captured", "compiled"]
RunStep = Callable[[torch.Tensor, int], torch.Tensor]
COMPILE_S = 60.0
"""What building a step costs, about; its gain over all steps must be more."""
TIMED_STEPS = 20
_log = logging.getLogger(__name__)


def choose_step(
    kind: StepKind, step: TrainStep, tokens: torch.Tensor, num_done: int, num_left: int
) -> tuple[str, RunStep]:
    """The name of the chosen form and the form itself; ``step`` is left as it was.

    ``auto`` is ``plain`` on a CPU: there the products are most of a step, and compiling gained 5
    to 15% for 20 to 35 s per model size. On a GPU it is ``captured``, or ``compiled`` when so
    many steps are left that building it pays and a short measurement finds it faster. A form that
    fails to build is replaced by the next simpler one, with a warning.

    Args:
        tokens: a batch, (batch, time + 1) int64.
        num_done, num_left: steps.
    """
    if kind == "auto":
        return (
            _choose_by_time(step, tokens, num_done, num_left) if tokens.is_cuda else ("plain", step)
        )
    built = _build(kind, step, tokens, num_done)
    return (kind, built) if built is not None else ("plain", step)


def _choose_by_time(
    step: TrainStep, tokens: torch.Tensor, num_done: int, num_left: int
) -> tuple[str, RunStep]:
    captured = _build("captured", step, tokens, num_done)
    if captured is None:
        return "plain", step
    captured_s = _time(captured, step, tokens, num_done)
    if captured_s * num_left < 2 * COMPILE_S:  # at twice the speed, half of it would be gained
        return "captured", captured
    compiled = _build("compiled", step, tokens, num_done)
    if compiled is None or _time(compiled, step, tokens, num_done) >= captured_s:
        return "captured", captured
    return "compiled", compiled


def _build(kind: str, step: TrainStep, tokens: torch.Tensor, num_done: int) -> RunStep | None:
    if kind == "plain":
        return step
    try:
        run = step if kind == "captured" else step.with_compiled_loss()
        if kind == "captured" or tokens.is_cuda:
            return CapturedStep(run, tokens, num_done)
        _run_and_rewind(run, step, tokens, num_done, 1)
    except Exception as error:  # compilers and drivers raise anything; the plain step always works
        _log.warning("no %s training step here: %s", kind, str(error).strip().split("\n")[0])
        return None
    return run


def _time(run: RunStep, step: TrainStep, tokens: torch.Tensor, num_done: int) -> float:
    """Seconds per step."""
    _run_and_rewind(run, step, tokens, num_done, 1)
    started = time.perf_counter()
    _run_and_rewind(run, step, tokens, num_done, TIMED_STEPS)
    return (time.perf_counter() - started) / TIMED_STEPS


def _run_and_rewind(
    run: RunStep, step: TrainStep, tokens: torch.Tensor, num_done: int, count: int
) -> None:
    before = {name: tensor.clone() for name, tensor in step.state().items()}
    try:
        for index in range(count):
            loss = run(tokens, num_done + index)
        loss.item()  # waits for the device
    finally:
        step.rewind(before, num_done)
