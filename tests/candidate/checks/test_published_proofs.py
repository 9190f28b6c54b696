"""Mechanisms with loops inside chunks, buckets, windows and maps across heads are proved causal."""

from __future__ import annotations

import pytest

from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.mechanisms.catalog import mechanisms

NAMES = ("kimi_delta", "rwkv7", "hgrn2", "delta_product", "attention_sink")
NAMES += ("t5_bias", "sliding_window", "talking_heads")
BY_DEFAULT = (
    ("kimi_delta", "coefficient_dynamics"),
    ("t5_bias", "test_time_regression"),
    ("talking_heads", "matrix_mixer"),
)


def marks(mechanism):
    return () if (mechanism.name, mechanism.framework) in BY_DEFAULT else pytest.mark.slow


@pytest.mark.parametrize(
    "mechanism",
    [
        pytest.param(m, id=f"{m.framework}-{m.name}", marks=marks(m))
        for m in mechanisms()
        if m.name in NAMES
    ],
)
def test_it_is_accepted_and_proved(desk, mechanism):
    check_source(mechanism.source, mechanism.framework, desk.gates)
    report = desk.check(mechanism.source, mechanism.framework)
    assert report.evidence["causality"]["method"] == "proved"
    assert report.evidence["causality"]["tolerance"] == 0.0
