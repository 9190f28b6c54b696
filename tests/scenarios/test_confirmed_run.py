"""The end of a run: its winner at fresh seeds, also when it is killed there or long after."""

from __future__ import annotations

import json
import os
import signal

import pytest
from processes import are_gone, descendants, wait_for
from replayed_runs import replayed

CONFIRMED = {
    "scaling_law.selection": {"max_seeds": 1, "num_confirmation_seeds": 2},
    "scaling_law.training.training_steps": 60,
    "max_iterations": 1,
}


def trained(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("runs/*/*.json")}


def make_the_candidate_win(folder):
    """As if the search had seen luck, and nothing had been confirmed yet."""
    path = folder / "fitness_history.json"
    history = json.loads(path.read_text())
    (index,) = [
        place
        for place, entry in enumerate(history["programs"])
        if place and entry["verdict"] == "trained"
    ]
    history["programs"][index].update(combined_score=9.0, mean_score=9.0)
    path.write_text(json.dumps(history))
    (folder / "confirmation.json").unlink(missing_ok=True)
    store = folder.parent / "store"
    for record in store.rglob("runs/*/*.json"):
        if json.loads(record.read_text())["seed"] != 42:
            record.unlink()
    for record in store.rglob("evaluations/*/*.json"):
        record.unlink()
    return history["programs"][index]


@pytest.mark.slow
def test_a_confirmation_that_was_killed_continues_and_one_that_is_missing_is_made(
    tiny, command, run, tmp_path
):
    config, folder = tiny(CONFIRMED), tmp_path / "run"
    status, output, errors = run("openevolve", config)
    assert status == 0, errors
    winner = make_the_candidate_win(folder)
    before = trained(tmp_path)

    process = command("openevolve", config, "--resume")
    wait_for(lambda: len(trained(tmp_path)) > len(before), process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert are_gone(family)
    kept = trained(tmp_path)
    assert not (folder / "confirmation.json").exists()

    status, output, errors = run("openevolve", config, "--resume")
    assert status == 0, errors
    assert kept.items() <= trained(tmp_path).items(), "nothing was trained twice"
    found = json.loads((folder / "confirmation.json").read_text())
    assert found["program"] == winner["program"]
    assert found["seeds"] == [1042, 1043]
    assert found["verdict"] in ("not told apart", "worse", "improved")
    assert found["gap"] == found["selected_gain"] - found["gain"]["value"]
    (line,) = [line for line in output.splitlines() if line.strip().startswith("confirmed")]
    assert f"{found['verdict']}: score " in line
    assert "gap +" in line
    told = replayed(folder).confirmation
    assert told == {name: value for name, value in found.items() if name != "file"}
