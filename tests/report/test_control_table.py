"""The control as it is told: distributions, corrected verdicts, and how few runs are."""

from __future__ import annotations

import json

from made_control import made_control

from openevolve_unified.calibration.controls import GRAMMAR, LUCK
from openevolve_unified.report.control_table import control_json, control_lines, control_markdown


def test_the_table_is_of_distributions_and_the_verdicts_are_corrected():
    lines = control_lines(made_control())
    text = "\n".join(lines)
    assert "3 independent runs per arm, 6 evaluations each" in text
    assert "confirmed on 2 fresh seeds" in text
    (row,) = [line for line in lines if line.strip().startswith("grammar  ")]
    assert "15/18" in row
    assert "+0.0900, +0.0800 to +0.1000" in row
    assert "+0.0700 +- 0.0100, +0.0600 to +0.0800" in row
    assert "-0.0350 +- 0.0050 nats" in row
    (verdict,) = [line for line in lines if "grammar beat luck" in line]
    assert "after Holm" in verdict
    assert "Hedges' g" in verdict
    assert "ahead in 100% of pairs of runs" in verdict


def test_few_runs_are_called_few():
    (line,) = [line for line in control_lines(made_control()) if "runs per arm are few" in line]
    assert "standard deviations of a run in 80% of cases" in line
    assert "may still differ" in line


def test_what_cannot_be_tested_says_so():
    text = "\n".join(control_lines(made_control({LUCK: (0.0,) * 3, GRAMMAR: (0.1,) * 3})))
    assert "grammar cannot be compared with luck: +0.1000" in text
    assert "no error to test by" in text


def test_the_files_say_the_same_and_json_is_plain():
    report = made_control()
    text = control_markdown(report)
    assert "| grammar | 15/18 |" in text
    assert "- luck: the initial program itself" in text
    found = json.loads(json.dumps(control_json(report), allow_nan=False))
    assert found["comparisons"][0]["verdict"] == "beat"
    assert len(found["runs"]) == 9
