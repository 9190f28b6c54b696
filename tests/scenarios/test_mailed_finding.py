"""From a run's folder to a finding, by mail, to a replay elsewhere: the installed commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from json_keys import undocumented
from scripted_model import diff

ROOT = Path(__file__).parents[2]
INITIAL = (ROOT / "initial_programs" / "coefficient_dynamics.py").read_text()
IMPULSE = "        return k / math.sqrt(self.head_dim)"
POOR = IMPULSE.replace("return k", "return 0.0 * k")
"""Without keys there is nothing to attend by: whoever brings them back wins the search by far."""


@pytest.mark.slow
def test_a_winner_is_mailed_and_judged_again_elsewhere(
    tiny, run, new_place, scripted_model, tmp_path
):
    (tmp_path / "poor.py").write_text(INITIAL.replace(IMPULSE, POOR))
    model = scripted_model(diff(POOR, IMPULSE))
    config = tiny(
        {
            "llm": model.settings(),
            "max_iterations": 1,
            "scaling_law.initial_program": "poor.py",
            "scaling_law.training.training_steps": 60,
            "scaling_law.selection": {"max_seeds": 1, "num_confirmation_seeds": 3},
        }
    )
    status, output, errors = run("openevolve", config, environment={"SCRIPTED_KEY": "sk-secret"})
    assert status == 0, errors
    verdict = json.loads((tmp_path / "run" / "confirmation.json").read_text())["verdict"]

    status, output, errors = run(
        *("openevolve-unified", "finding", "run", "--output", "sent", "--retrain", "--json")
    )
    assert status == 0, errors
    assert f"claim      {verdict} at 3 seeds that had no part in choosing the program" in output
    assert "weights    of 2 models" in output
    report = json.loads(output.splitlines()[-1])
    assert undocumented("finding", report) == []
    assert report["verdict"] == verdict
    everything = b"".join(p.read_bytes() for p in (tmp_path / "sent").rglob("*") if p.is_file())
    assert b"sk-secret" not in everything
    assert str(tmp_path).encode() not in everything

    elsewhere = new_place()
    shutil.copytree(tmp_path / "sent", elsewhere.folder / "received")
    here = ("--set", "scaling_law.execution.device=cpu")
    here += ("--set", "scaling_law.execution.num_workers=1")
    arguments = ("openevolve-unified", "replay", "received", *here)
    status, output, errors = elsewhere.run(*arguments, "--retrain", "--json")
    assert status == 0, errors + output
    assert "  all that was checked agrees" in output
    assert f"{verdict}: score " in output
    assert ": bit-equal, seed noise" in output
    found = json.loads(output.splitlines()[-1])
    assert undocumented("replay", found) == []
    assert {check["outcome"] for check in found["checks"]} == {"agrees"}
    assert len(found["rescored"]) == 4
    kept = json.loads((elsewhere.folder / "received-replay" / "replay.json").read_text())
    assert kept == found

    program = elsewhere.folder / "received" / "programs" / "evolved.py"
    program.write_text(program.read_text() + "\n")
    status, output, errors = elsewhere.run(*arguments)
    assert status == 2
    (line,) = errors.strip().splitlines()
    assert "programs/evolved.py was changed since the manifest was written" in line


@pytest.mark.slow
def test_a_validation_is_mailed_and_judged_again(tiny, run, tmp_path):
    config = tiny(
        {
            "scaling_law.validation": {"num_seeds": 3, "tuning": {"mode": "none"}},
            "scaling_law.execution.keep_weights": "all",
        }
    )
    evolved = tmp_path / "evolved.py"
    evolved.write_text(INITIAL.replace(IMPULSE, IMPULSE.replace("return k", "return 1.5 * k")))
    status, output, errors = run(
        *("openevolve-unified", "validate", config, "--evolved", evolved, "--despite-power")
    )
    assert status == 0, errors
    validation = tmp_path / "run" / "validation"
    verdict = json.loads((validation / "validation.json").read_text())["judgement"]["verdict"]

    finding = ("openevolve-unified", "finding", validation, "--output", "sent", "--config", config)
    status, _, errors = run(*finding, "--set", "scaling_law.training.training_steps=21")
    assert status == 2
    assert "is not the experiment that was validated" in errors
    status, output, errors = run(*finding)
    assert status == 0, errors
    assert "weights    of 2 models" in output
    status, output, errors = run(
        *("openevolve-unified", "replay", "sent", "--json"),
        *("--set", "scaling_law.execution.device=cpu"),
        *("--set", "scaling_law.execution.num_workers=1"),
    )
    assert status == 0, errors + output
    found = json.loads(output.splitlines()[-1])
    assert found["verdict"] == verdict
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert outcomes["registration"] == outcomes["statistics"] == "agrees"
    assert len(found["rescored"]) == 4
