"""The command ``validate``: killed, continued to the same bytes, told and refused."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest
from json_keys import undocumented
from processes import are_gone, descendants, wait_for

from openevolve_unified.cli import app
from openevolve_unified.mechanisms.catalog import mechanisms

pytest.importorskip("optuna")
pytest.importorskip("statsmodels")
SETTINGS = {
    "scaling_law.execution.report": True,
    "scaling_law.validation": {
        "num_seeds": 3,
        "tuning": {
            "num_trials": 2,
            "num_finalists": 1,
            "space": {"warmup_steps": [2, 5], "batch_sizes": [8]},
        },
    },
}
COMMAND = ("openevolve-unified", "validate", "tiny.yaml", "--evolved", "evolved.py")


def written(place):
    place.tiny(SETTINGS)
    mean = next(
        m.source
        for m in mechanisms()
        if (m.name, m.framework) == ("causal_mean", "coefficient_dynamics")
    )
    (place.folder / "evolved.py").write_text(mean)
    return place


def runs_of(place):
    return {p.name: p.stat().st_mtime_ns for p in place.folder.rglob("runs/*/*.json")}


@pytest.fixture(scope="module")
def undisturbed(new_place):
    place = written(new_place())
    place.outcome = place.run(*COMMAND, "--despite-power", "--json")
    return place


def record_of(place):
    return (place.folder / "run" / "validation" / "validation.json").read_bytes()


def test_a_validation_says_its_plan_first_and_its_verdict_last(undisturbed):
    status, output, errors = undisturbed.outcome
    assert status == 0, errors
    assert output.index("registered 20") < output.index("validation [pilot, 20 of 100,000 steps]")
    assert "primary   paired t, sign flip" in output
    found = json.loads(output.splitlines()[-1])
    assert found == json.loads(record_of(undisturbed))
    assert undocumented("validate", found) == []
    folder = undisturbed.folder / "run" / "validation"
    assert (folder / "validation.md").exists()
    assert f"  report    {folder / 'report.html'}" in output.splitlines()


def killed_once(place, num_runs):
    process = place.start(*COMMAND, "--despite-power")
    wait_for(lambda: len(runs_of(place)) >= num_runs, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert are_gone(family)


@pytest.mark.slow
def test_a_killed_validation_ends_with_the_same_bytes_and_trains_nothing_twice(
    undisturbed, new_place
):
    place = written(new_place())
    killed_once(place, 6)
    kept = runs_of(place)
    assert len(kept) < len(runs_of(undisturbed)), "it was killed on the way"
    status, _, errors = place.run(*COMMAND, "--despite-power")
    assert status == 0, errors
    assert kept.items() <= runs_of(place).items()
    assert record_of(place) == record_of(undisturbed)


@pytest.mark.slow
def test_a_validation_killed_five_times_at_random_ends_with_the_same_bytes(undisturbed, new_place):
    place, dice = written(new_place()), random.Random()
    for _ in range(5):
        process = place.start(*COMMAND, "--despite-power")
        time.sleep(dice.uniform(2.0, 12.0))
        family = descendants(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert are_gone(family)
    status, _, errors = place.run(*COMMAND, "--despite-power")
    assert status == 0, errors
    assert record_of(place) == record_of(undisturbed)


def test_wrong_input_is_one_line(undisturbed, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", undisturbed.environment["XDG_CACHE_HOME"])
    config = undisturbed.folder / "tiny.yaml"
    words = ["--evolved", str(undisturbed.folder / "evolved.py")]
    changed = ["--set", "scaling_law.validation.alpha=2"]
    assert app.main(["validate", str(config), *words, *changed]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "alpha: got 2" in line
