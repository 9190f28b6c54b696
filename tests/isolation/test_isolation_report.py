"""The level follows from the layers, and the report survives JSON."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.isolation.report import (
    ESSENTIAL_LAYERS,
    IsolationReport,
    Limits,
    MissingLayer,
    unconfined,
)

ALL = tuple(sorted(ESSENTIAL_LAYERS))


def without(name: str) -> IsolationReport:
    layers = tuple(layer for layer in ALL if layer != name)
    return IsolationReport(layers=layers, missing=(MissingLayer(name, "not offered"),))


def test_all_layers_are_the_full_level():
    assert IsolationReport(layers=ALL).level == "full"


@pytest.mark.parametrize("name", ALL)
def test_any_essential_layer_that_is_missing_lowers_the_level(name):
    assert without(name).level == "partial"
    assert f"no {name}: not offered" in without(name).summary


def test_a_layer_that_only_hardens_does_not_lower_the_level():
    report = IsolationReport(layers=ALL, missing=(MissingLayer("not_dumpable", "not offered"),))
    assert report.level == "full"


def test_limits_alone_are_no_jail():
    assert IsolationReport(layers=("rlimits",)).level == "none"
    assert unconfined("not Linux").level == "none"


def test_a_report_survives_json():
    for report in (IsolationReport(layers=ALL), without("landlock"), unconfined("not Linux")):
        assert IsolationReport.from_plain(json.loads(json.dumps(report.to_plain()))) == report


def test_limits_must_make_sense():
    assert Limits(shared_bytes=0, file_bytes=0).open_files == 64
    with pytest.raises(ValueError, match="wall_s: got 0, wanted more than 0"):
        Limits(wall_s=0)
    with pytest.raises(ValueError, match="file_bytes: got -1, wanted 0 or more"):
        Limits(file_bytes=-1)
