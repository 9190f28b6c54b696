"""A run that knows its noise: contenders get more seeds, also when it is killed on the way."""

from __future__ import annotations

import json
import os
import signal

import pytest
from processes import are_gone, descendants, wait_for
from replayed_runs import replayed

NOISY = {
    "max_iterations": 4,
    "scaling_law.training.training_steps": 60,
    "scaling_law.noise": {"mode": "measure", "num_seeds": 2},
    "scaling_law.selection": {
        "max_seeds": 2,
        "num_confirmation_seeds": 1,
        "false_rate": 0.5,
        "parents_per_seed": 1,
    },
}


def entries(folder):
    return json.loads((folder / "fitness_history.json").read_text())["programs"]


def told(folder):
    """Of every program what the search went by, in the order of trial."""
    return [
        (entry["program"], entry["iterations"], entry.get("scores"), entry["combined_score"])
        for entry in entries(folder)
    ]


@pytest.mark.slow
def test_a_killed_run_decides_as_one_that_was_not(new_place, tmp_path):
    place = new_place()
    config = place.tiny(NOISY)
    status, output, errors = place.run("openevolve", config, "--output", "whole")
    assert status == 0, errors
    whole = place.folder / "whole"
    replayed(whole)
    trained = [entry for entry in entries(whole) if entry["verdict"] == "trained"]
    assert all(entry["stderr"] > 0 for entry in trained)
    assert all("degree" in entry["told_score"] for entry in trained)
    assert "noise: can tell apart" in output
    assert "one seed: unknown" not in output
    (initial, *candidates) = trained
    assert len(initial["scores"]) == 2, "where its noise was measured"
    assert any(entry["reliability"] is not None for entry in candidates)

    other = new_place()
    config = other.tiny(NOISY)
    process = other.start("openevolve", config, "--output", "killed")
    folder = other.folder / "killed"
    path = folder / "checkpoints" / "checkpoint_2" / "metadata.json"
    wait_for(path.exists, process)
    wait_for(lambda: process.poll() is not None or len(entries(folder)) >= 4, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert are_gone(family)
    status, output, errors = other.run("openevolve", config, "--output", "killed", "--resume")
    assert status == 0, errors
    assert told(folder) == told(whole)
    replayed(folder)
