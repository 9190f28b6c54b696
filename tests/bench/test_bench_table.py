"""How the report's numbers are written: none that was measured reads as zero."""

from __future__ import annotations

import dataclasses

import pytest

from openevolve_unified.bench.results import (
    CopyLimit,
    EvaluationResult,
    Growth,
    Limits,
    MatrixLimit,
    PowerLaw,
    Ratio,
    Report,
    StartUp,
    StepResult,
    WorkersResult,
)
from openevolve_unified.bench.table import as_markdown, as_text


def report_of(scale):
    """A report whose measured numbers are all ``scale`` times an ordinary one."""
    step = StepResult(
        size="32x2",
        num_params_non_embedding=1,
        contestant="ours",
        precision="float32",
        num_threads=1,
        round_s=(0.5678 * scale,),
        step_s=0.5678 * scale,
        tokens_per_s=1234.4 * scale,
        peak_bytes=round(4321e6 * scale),
        product_flops=1.0,
        matrix_share=0.678 * scale,
        memory_share=0.345 * scale,
        step_kind="plain",
        build_s=1.0,
        validation_s=1.0,
        ratio=None,
    )
    limits = Limits(
        machine="a machine",
        matrix=(
            MatrixLimit(
                precision="float32", num_threads=1, gflops=56.78 * scale, shape=(8, 16, 24)
            ),
        ),
        copy=(CopyLimit(num_threads=1, gbytes_per_s=9.876 * scale),),
    )
    return Report(
        experiment="tiny.yaml",
        horizon="pilot",
        device="cpu",
        is_quick=True,
        busy_with_others=0.0,
        torch_version="2",
        limits=limits,
        steps=(step,),
        workers=(),
        evaluations=(),
        start_up=StartUp(
            worker_s=3.21 * scale,
            first_check_s=4.32 * scale,
            warm_check_s=1.23 * scale,
            eager_s=2.34 * scale,
        ),
        growth=(),
        skipped=(),
        duration_s=60.0,
    )


def test_ordinary_numbers_keep_their_decimals():
    text = as_markdown(report_of(1))
    assert "| 57 GFLOP/s |" in text
    assert "| 9.9 GB/s |" in text
    assert "| 567.80 | 1,234 | 4,321 | 68% | 34% |" in text
    assert "a worker 3.2 s" in text


@pytest.mark.parametrize("write", [as_text, as_markdown])
def test_small_numbers_keep_three_significant_digits(write):
    text = write(report_of(1e-5))
    for cell in ("0.000568 GFLOP/s", "9.88e-05 GB/s", "0.00568", "0.0123", "0.0432"):
        assert cell in text
    for cell in ("0.000678%", "0.000345%", "a worker 3.21e-05 s"):
        assert cell in text


def disturbed(*, by):
    """A report in which one round of everything took ``by`` times as long as the others."""
    report = report_of(1)
    rounds = (1.0, 1.0, by)
    step = dataclasses.replace(report.steps[0], round_s=rounds)
    ratio = Ratio(value=1.0, low=1.0, high=1.0)
    workers = WorkersResult(size="32x2", num_workers=2, round_steps_per_s=rounds, gain=ratio)
    evaluation = EvaluationResult(
        precision="float32",
        steps_run=1,
        training_steps=1,
        round_s=(2.0,),
        eager_round_s=rounds,
        ratio=ratio,
        overhead_share=0.0,
    )
    points = ((1.0, 1.0), (1.0, by), (2.0, 2.0), (2.0, 2.0 * by))
    fit = PowerLaw(exponent=1.0, stderr=0.1, num_points=4)
    growth = Growth(quantity="time", variable="steps", points=points, fit=fit, linear=1.0)
    return dataclasses.replace(
        report, steps=(step,), workers=(workers,), evaluations=(evaluation,), growth=(growth,)
    )


@pytest.mark.parametrize("write", [as_text, as_markdown])
def test_rounds_that_disagree_more_than_twofold_are_marked_in_the_table(write):
    text = write(disturbed(by=2.5))
    marked = [line for line in text.splitlines() if "(!! rounds differ 2.5x)" in line]
    assert len(marked) == 4, "a step, an evaluation, workers, and how they grow"
    assert marked[1].count("!!") == 1, "our own evaluations agreed"


@pytest.mark.parametrize("write", [as_text, as_markdown])
def test_rounds_that_agree_are_not_marked(write):
    assert "!!" not in write(disturbed(by=1.9))


def test_what_is_nothing_reads_as_nothing():
    assert "| 0 GFLOP/s |" in as_markdown(report_of(0))
