"""The command ``noise`` and the runs that use its floor: killed, continued and refused."""

from __future__ import annotations

import json
import os
import signal

import pytest
from json_keys import undocumented
from processes import are_gone, descendants, wait_for

SHORT = {"scaling_law.training.training_steps": 40}


def runs_of(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("runs/*/*.json")}


@pytest.mark.slow
def test_a_killed_measurement_continues_and_trains_nothing_twice(tiny, command, run, tmp_path):
    config = tiny(SHORT)
    process = command("openevolve-unified", "noise", config, "--seeds", "2")
    wait_for(lambda: len(runs_of(tmp_path)) >= 4, process)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert are_gone(family)
    kept = runs_of(tmp_path)
    assert 4 <= len(kept) < 12, "it was killed on the way"
    assert not list(tmp_path.rglob("noise/*/*.json"))

    status, output, errors = run(
        *("openevolve-unified", "noise", config, "--seeds", "2", "--gain", "0.5", "--json"),
        "--simulate",
    )
    assert status == 0, errors
    assert "noise: rounding twin, 2 seeds: training" in errors
    found = runs_of(tmp_path)
    assert len(found) == 2 * 2 * 3
    assert kept.items() <= found.items()
    report = json.loads(output.splitlines()[-1])
    assert undocumented("noise", report) == []
    assert report["seeds"] == [42, 1042]
    assert report["gain"] == 0.5
    assert report["simulated_experiments"]["num_experiments"] == 400
    assert "400 experiments of 3 frameworks" in output
    assert f"tiny.yaml {report['sentence']}" in output
    assert len(list(tmp_path.rglob("noise/*/*.json"))) == 1
    assert json.loads((tmp_path / "run" / "noise.json").read_text())["seeds"] == [42, 1042]

    # A run that demands the floor of another configuration is refused before it begins.
    earlier = tmp_path / "run" / "fitness_history.json"
    earlier.write_text('{"programs": []}')
    stored = ("--set", "scaling_law.noise.mode=stored")
    other = ("--set", "scaling_law.training.learning_rate=0.002")
    status, output, errors = run("openevolve", config, *stored, *other)
    assert status == 2
    assert "scaling_law.training.learning_rate is 0.002 here and was 0.003 there" in errors
    assert earlier.exists(), "an earlier run is left in its place"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--seeds", "1"), "error: noise seeds: got 1, wanted 2 or more: one value has no spread"),
        (("--gain", "0"), "error: --gain: got 0, wanted a positive difference of slopes"),
        (("--set", "scaling_law.noise.num_seeds=1"), "num_seeds: got 1, wanted 2 or more"),
        (("--set", "scaling_law.noise.mode=meassure"), "did you mean 'measure'"),
    ],
)
def test_a_wrong_question_is_one_line(arguments, reason, tiny, call):
    status, _, errors = call("openevolve-unified", "noise", tiny(), *arguments)
    assert status == 2
    (line,) = errors.strip().splitlines()
    assert reason in line
