"""The plan as it is printed: what is known of the noise, and what came of the promised time."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from made_noise import made_noise
from rich.console import Console

from openevolve_unified.calibration.noise_summary import summarise
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.evaluation.plan import Plan, PlannedSize
from openevolve_unified.report.console import Reporter
from openevolve_unified.report.plan_table import print_plan, time_against_plan
from openevolve_unified.runs.plan_file import FILE_NAME, write_plan

CONFIGS = Path(__file__).parents[2] / "configs"


def made_plan():
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
    return Plan(
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


@pytest.fixture
def planned(tmp_path):
    write_plan(tmp_path, made_plan())
    return tmp_path


def noise_line(noise, **settings):
    """What the printed plan of the quickstart says about its noise."""
    overrides = [f"scaling_law.noise.{name}={value}" for name, value in settings.items()]
    experiment = load_experiment(CONFIGS / "quickstart.yaml", overrides)
    text = io.StringIO()
    print_plan(made_plan(), experiment, noise, Reporter(Console(file=text, width=200)))
    (line,) = [line for line in text.getvalue().splitlines() if line.startswith("  noise ")]
    return line


def test_the_plan_shows_the_stored_noise_or_how_to_come_by_it():
    noise = made_noise()
    assert noise_line(noise, mode="stored") == f"  noise     {summarise(noise).sentence}"
    assert noise_line(noise, mode="none") == f"  noise     {summarise(noise).sentence}"
    assert noise_line(noise, mode="measure", num_seeds=6) == noise_line(noise, mode="stored")
    # 4 seeds of 40 s, one of which the run would train anyway.
    told = noise_line(None, mode="measure", num_seeds=4, twin="false")
    assert "measured first, by the initial program at 4 seeds: about 2 min more" in told
    told = noise_line(noise, mode="measure", num_seeds=7, twin="true")
    assert "the initial program and its rounding twin at 7 seeds: about 9 min more" in told
    for mode, text in (
        ("stored", "this run is refused"),
        ("none", "error of a single seed is unkn"),
    ):
        told = noise_line(None, mode=mode)
        assert text in told
        assert told.endswith("quickstart.yaml")
        assert "openevolve-unified noise" in told


def training_line(plan):
    text = io.StringIO()
    experiment = load_experiment(CONFIGS / "quickstart.yaml")
    print_plan(plan, experiment, made_noise(), Reporter(Console(file=text, width=200)))
    (line,) = [line for line in text.getvalue().splitlines() if line.startswith("  training ")]
    return line


def test_the_plan_says_in_what_a_mechanism_trains_where_it_is_checked_in_more():
    assert training_line(made_plan()).endswith("float32 on cpu, 1 at a time")
    below = dataclasses.replace(made_plan(), precision="bfloat16", mechanism_precision="bfloat16")
    assert training_line(below).endswith(
        "bfloat16 on cpu, 1 at a time; products of mechanisms in bfloat16, checked in float32"
    )


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
