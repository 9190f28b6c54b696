"""What the summary says about the time that the plan promised."""

from __future__ import annotations

import pytest

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.evaluation.plan import Plan, PlannedSize
from openevolve_unified.report.plan_table import time_against_plan
from openevolve_unified.runs.plan_file import FILE_NAME, write_plan


@pytest.fixture
def planned(tmp_path):
    size = PlannedSize(
        size=SizeConfig(hidden_dim=8, num_layers=1, num_heads=1),
        num_params_non_embedding=1,
        num_params_total=2,
        flops_per_step=1.0,
        memory_bytes=1,
        step_s=0.1,
        num_steps=400,
        evaluation_s=0.0,
    )
    plan = Plan(
        sizes=(size,),
        tokens_per_model=1,
        train_sequences=1,
        device="cpu",
        precision="float32",
        num_workers=1,
        workers_per_device=1,
        candidate_s=40.0,
        memory_bytes=1,
        available_bytes=None,
        price_per_hour=None,
    )
    write_plan(tmp_path, plan)
    return tmp_path


def trained(program, duration_s, cached=False):
    return {
        "program": program,
        "verdict": "trained",
        "duration_s": duration_s,
        "cached": cached,
    }


REJECTED = {"program": "r", "verdict": "rejected", "duration_s": 1.0}


def test_the_time_is_that_of_the_programs_which_were_trained_here(planned):
    initial = trained("i", 50.0)
    asked_again = trained("i", 50.0, cached=True)
    known = trained("k", 999.0, cached=True)
    entries = [asked_again, trained("a", 60.0), REJECTED, known, trained("b", 70.0)]
    assert time_against_plan(planned, entries, initial) == (
        "3 min for 3 programs, checks included; planned 2 min (1.5 times that)"
    )


def test_one_program_is_one(planned):
    initial = trained("i", 30.0)
    assert time_against_plan(planned, [initial], initial) == (
        "30 s for 1 program, checks included; planned 40 s (0.8 times that)"
    )


def test_nothing_is_said_where_nothing_was_trained_or_planned(planned):
    initial = trained("i", 30.0, cached=True)
    assert time_against_plan(planned, [initial, REJECTED], initial) is None
    (planned / FILE_NAME).write_text("{")
    assert time_against_plan(planned, [], trained("i", 30.0)) is None
    (planned / FILE_NAME).unlink()
    assert time_against_plan(planned, [], trained("i", 30.0)) is None
