"""Curves read from stores and runs, and the ledger as it is told."""

from __future__ import annotations

import dataclasses
import json

import pytest
from json_keys import undocumented
from made_results import made_evaluation

from openevolve_unified.calibration.horizon_ledger import ledgers
from openevolve_unified.cli.app import main
from openevolve_unified.errors import ConfigError
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import CurvePoint, Program
from openevolve_unified.report.horizon_table import horizon_lines
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.store import open_store

STEPS = (10, 100, 500, 900, 1000)
FALL = (1.0, 0.5, 0.1, 0.01, 0.0)
SHIPPED = {m.name: m for m in mechanisms() if m.framework == "matrix_mixer"}


def trained(source, final, seeds=(42,), fall=FALL, steps=STEPS):
    """An evaluation whose curves fall to ``final`` at the largest size."""
    losses = [dict.fromkeys(seeds, final + extra) for extra in (0.6, 0.4, 0.2, 0.0)]
    evaluation = made_evaluation(losses, baseline=losses)
    sizes = tuple(
        dataclasses.replace(
            size,
            runs=tuple(
                dataclasses.replace(
                    run,
                    job_key=f"{source} {run.job_key}",
                    curve=tuple(
                        CurvePoint(
                            step=step,
                            train_loss_nats=run.final_loss_nats,
                            validation_loss_nats=run.final_loss_nats + above,
                        )
                        for step, above in zip(steps, fall, strict=True)
                    ),
                )
                for run in size.runs
            ),
        )
        for size in evaluation.sizes
    )
    program = Program(source=source, framework="matrix_mixer")
    return dataclasses.replace(evaluation, program=program, sizes=sizes)


def put(folder, *evaluations):
    store = open_store(folder)
    for number, one in enumerate(evaluations):
        name = type(one).__name__
        store.put("evaluations", f"{number:02d}{one.program.source_hash}", {name: to_plain(one)})
    return folder


@pytest.fixture
def seven():
    return [trained(f"program {i}", 1.0 + 0.01 * i) for i in range(6)] + [
        trained(SHIPPED["alibi"].source, 1.005, fall=(2.0, 0.9, 0.5, 0.05, 0.0))
    ]


def test_a_store_gives_a_ledger_with_the_shipped_mechanisms_by_name(tmp_path, seven):
    (one,) = ledgers(put(tmp_path / "store", *seven))
    assert (one.sizes[-1], one.seeds, one.points) == ("96x2", (42,), STEPS)
    assert one.ledger.names[1] == "alibi"
    assert one.ledger.names[0] == seven[0].program.source_hash[:12]
    assert [(m.name, m.early_rank, m.final_rank) for m in one.ledger.marathoners] == [
        ("alibi", 7, 2)
    ]
    text = "\n".join(horizon_lines(one))
    assert "7 candidates, seed 42" in text
    assert "marathoners (rose): alibi 7 -> 2" in text
    assert "20~" in text
    assert "~ interpolated between two points" in text
    assert "missing" not in text
    assert "Fieller 1957" in text
    assert "NOT CONVERGED" in text


def test_what_was_trained_otherwise_has_a_ledger_of_its_own(tmp_path, seven):
    short = [trained(f"short {i}", 2.0 + i, fall=FALL[:3], steps=STEPS[:3]) for i in range(3)]
    lone = trained("lone", 1.0, fall=FALL[:2], steps=STEPS[:2])
    found = ledgers(put(tmp_path / "store", *seven, *short, lone))
    assert [len(one.ledger.names) for one in found] == [7, 3]
    text = "\n".join(horizon_lines(found[1]))
    assert "with 3 candidates the intervals are wide" in text
    assert "+1.00 [unknown]" in text


def test_candidates_are_compared_at_the_seeds_that_they_share(tmp_path, seven):
    several = trained("program 0", 1.0, seeds=(42, 43))
    other = trained("other seed", 0.5, seeds=(44,))
    (one,) = ledgers(put(tmp_path / "store", *seven, several, other))
    assert (one.seeds, one.num_left_out, len(one.ledger.names)) == ((42,), 1, 7)


def test_a_run_takes_its_own_programs_from_the_store_beside_it(tmp_path, seven):
    put(tmp_path / "store", *seven)
    run = RunDirectory(tmp_path / "run")
    for one in seven[:4]:
        run.record(one)
    (one,) = ledgers(run.path)
    assert len(one.ledger.names) == 4


def test_a_store_that_lies_elsewhere_is_named_by_the_run_or_by_the_user(tmp_path, seven):
    place = put(tmp_path / "elsewhere", *seven)
    run = RunDirectory(tmp_path / "run")
    for one in seven:
        run.record(one)
    with pytest.raises(ConfigError, match=r"got no store there, .*name it with --store"):
        ledgers(run.path)
    assert len(ledgers(run.path, place)[0].ledger.names) == 7
    settings = {"scaling_law": {"execution": {"store_dir": str(place)}}}
    (run.path / "config.yaml").write_text(json.dumps(settings))
    assert len(ledgers(run.path)[0].ledger.names) == 7


def test_a_folder_that_is_neither_and_too_few_candidates_are_one_line(tmp_path, seven):
    with pytest.raises(ConfigError, match="wanted that of a run or of a store"):
        ledgers(tmp_path)
    with pytest.raises(ConfigError, match=r"got 2 candidates .* wanted 3 or more"):
        ledgers(put(tmp_path / "store", *seven[:2]))


def test_the_command_prints_the_ledger_and_one_json_object(tmp_path, seven, capsys):
    folder = put(tmp_path / "store", *seven)
    assert main(["horizon", str(folder), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    report = json.loads(lines[-1])
    assert undocumented("horizon", report) == []
    (one,) = report["ledgers"]
    assert one["ledger"]["marathoners"][0]["name"] == "alibi"
    assert one["ledger"]["rows"][-1]["by_loss"]["regret"] == 0
    assert "alibi" in one["flagged"]
    assert any("sprinters" in line for line in lines[:-1])
