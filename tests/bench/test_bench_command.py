"""``openevolve-unified bench`` on a tiny ladder: what it reports hangs together."""

from __future__ import annotations

import json
from statistics import median

import pytest
from json_keys import undocumented

from openevolve_unified.bench import command, ladder_steps
from openevolve_unified.bench.effort import Effort
from openevolve_unified.bench.processor import OtherPrograms
from openevolve_unified.bench.results import PowerLaw
from openevolve_unified.bench.rounds import fit_power_law, ratio
from openevolve_unified.cli import app


@pytest.fixture(scope="module")
def outcome(config):
    """Exit status, printed text and JSON report of one run."""
    with pytest.MonkeyPatch.context() as patch:
        # Two threads beside the other tests would wait for one another.
        patch.setattr(command, "num_cores", lambda: 1)
        patch.setattr(command, "has_bfloat16", lambda: False)
        patch.setattr(command, "QUICK", TINY)
        patch.setattr(ladder_steps, "PRODUCT_S", 0.001)
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *values, **options: lines.append(str(values[0])))
        output = config.with_name("report.json")
        arguments = ["bench", "--config", str(config), "--quick", "--json", "--markdown"]
        status = app.main([*arguments, "--output", str(output)])
    return status, lines, json.loads(output.read_text())


TINY = Effort(
    num_rounds=3,
    size_s=0.05,
    workers_s=0.05,
    evaluation_s=0.05,
    num_evaluations=1,
    growth_s=0.05,
    num_growth_rounds=2,
)


def test_the_json_line_is_the_report_that_is_written(outcome):
    status, lines, report = outcome
    assert status == 0
    assert json.loads(lines[-1]) == report
    assert undocumented("bench", report) == []
    assert report["is_quick"]
    assert "pilot, 40 of 100,000 steps" in report["horizon"]


def test_every_size_has_every_loop_and_ratios_of_its_measured_medians(outcome):
    _, _, report = outcome
    for size in ("16x1", "24x1", "32x1"):
        rows = {row["contestant"]: row for row in report["steps"] if row["size"] == size}
        assert {"ours, float32", "eager"} <= set(rows)
        eager = rows["eager"]
        assert eager["ratio"] is None
        for row in rows.values():
            assert len(row["round_s"]) == 3
            assert row["step_s"] == median(row["round_s"])
            assert row["tokens_per_s"] == pytest.approx(8 * 16 / row["step_s"])
            assert row["peak_bytes"] > 50e6
            assert row["product_flops"] == eager["product_flops"] > 0
            if row is not eager:
                expected = ratio(eager["round_s"], row["round_s"])
                assert row["ratio"]["value"] == expected.value


def test_shares_are_of_the_limits_of_the_same_precision_and_threads(outcome):
    _, _, report = outcome
    limits = {
        (limit["precision"], limit["num_threads"]): limit["gflops"]
        for limit in report["limits"]["matrix"]
    }
    for row in report["steps"]:
        gflops = row["product_flops"] / row["step_s"] / 1e9
        limit = limits[row["precision"], row["num_threads"]]
        assert row["matrix_share"] == pytest.approx(gflops / limit)
        assert row["memory_share"] > 0


def test_the_whole_evaluation_is_compared_round_by_round(outcome):
    _, _, report = outcome
    evaluation = report["evaluations"][0]
    assert evaluation["precision"] == "float32"
    assert evaluation["training_steps"] == 40
    assert 2 <= evaluation["steps_run"] <= 40
    own, eager = evaluation["round_s"], evaluation["eager_round_s"]
    assert len(own) == len(eager) == 1
    assert evaluation["ratio"]["value"] == ratio(eager, own).value
    assert 0 < evaluation["overhead_share"] < 1


def test_workers_growth_and_start_up_are_there(outcome):
    _, _, report = outcome
    assert [row["num_workers"] for row in report["workers"]] == [1, 2]
    assert report["workers"][0]["gain"]["value"] == 1.0
    growth = {(row["quantity"], row["variable"]): row for row in report["growth"]}
    assert {variable for _, variable in growth} == {
        "non-embedding parameters",
        "steps",
        "steps done",
        "tokens per sequence",
    }
    lengths = growth["step time", "tokens per sequence"]["points"]
    assert sorted({x for x, _ in lengths}) == [8, 16, 32]
    for row in report["growth"]:
        points = [tuple(point) for point in row["points"]]
        assert PowerLaw(**row["fit"]) == fit_power_law(points)
    assert all(seconds > 0 for seconds in report["start_up"].values())


def test_what_was_left_out_is_said(outcome):
    _, _, report = outcome
    assert "ours in bfloat16: this processor has no instructions for it" in report["skipped"]


def test_the_markdown_tables_hold_the_measured_numbers(outcome):
    _, lines, report = outcome
    text = "\n".join(lines)
    for row in report["steps"]:
        cells = f"| {row['size']} | {row['contestant']} | {row['num_threads']} | plain | "
        # On a busy machine a mark follows the number, see ``test_bench_table``.
        assert f"{cells}{1e3 * row['step_s']:,.2f} " in text
    assert "not measured: ours in bfloat16" in text


def test_an_output_that_cannot_be_written_is_one_line_before_anything_is_measured(
    config, capsys, tmp_path
):
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "report.json"
    assert app.main(["bench", "--config", str(config), "--output", str(target)]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: cannot write {target.parent}")


def test_other_programs_count_and_our_own_work_does_not(monkeypatch):
    from openevolve_unified.bench import processor

    busy, own, clock = iter([100.0, 160.0]), iter([10.0, 30.0]), iter([0.0, 40.0])
    monkeypatch.setattr(processor, "_busy_s", lambda: next(busy))
    monkeypatch.setattr(processor, "_own_s", lambda: next(own))
    monkeypatch.setattr(processor.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(processor.os, "cpu_count", lambda: 2)
    assert OtherPrograms().share() == pytest.approx((60 - 20) / 80)
