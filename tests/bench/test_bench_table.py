"""How the report's numbers are written: none that was measured reads as zero."""

from __future__ import annotations

import pytest

from openevolve_unified.bench.results import (
    CopyLimit,
    Limits,
    MatrixLimit,
    Report,
    StartUp,
    StepResult,
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
        hidden_s=1.0,
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


def test_what_is_nothing_reads_as_nothing():
    assert "| 0 GFLOP/s |" in as_markdown(report_of(0))
