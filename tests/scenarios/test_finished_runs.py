"""What the installed commands make of finished runs: compared, averaged, written down."""

from __future__ import annotations

import json

import pytest
from test_confirmed_run import CONFIRMED, make_the_candidate_win

FINISHED = {
    **CONFIRMED,
    "scaling_law.selection": {"max_seeds": 1, "num_confirmation_seeds": 3},
    "scaling_law.execution.keep_weights": "all",
    "scaling_law.validation": {"num_seeds": 3, "tuning": {"mode": "none"}},
}


def replies(record, name):
    return {line["question"]: line["answer"] for line in record["checklists"][name]}


@pytest.mark.slow
def test_two_real_runs_are_compared_averaged_and_written_down(tiny, run, tmp_path):
    config = tiny(FINISHED)
    for folder in ("run", "second"):
        status, _, errors = run("openevolve", config, "--output", folder)
        assert status == 0, errors
    winner = make_the_candidate_win(tmp_path / "run")
    status, _, errors = run("openevolve", config, "--output", "run", "--resume")
    assert status == 0, errors

    status, output, errors = run("openevolve-unified", "compare", "run", "second", "--json")
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    first, second = (told["variant"] for told in found["runs"])
    assert first["basis"] == "confirmed"
    assert first["seeds"] == [1042, 1043, 1044]
    confirmation = json.loads((tmp_path / "run" / "confirmation.json").read_text())
    assert first["fitness"]["value"] == pytest.approx(
        sum(confirmation["winner_scores"]) / len(confirmation["winner_scores"])
    )
    assert second["basis"] in ("initial program", "confirmed")
    assert found["declared"] == []
    assert found["runs"][0]["cost"]["confirmation_h"] > 0

    status, output, errors = run("openevolve-unified", "ensemble", "second", "--top", "2", "--json")
    assert status == 0, errors
    assert json.loads(output.splitlines()[-1])["validation"]["over_mean"]["value"] <= 0

    pytest.importorskip("optuna")
    pytest.importorskip("statsmodels")
    evolved = f"run/programs/{winner['file']}"
    status, _, errors = run(
        *("openevolve-unified", "validate", config, "--evolved", evolved, "--despite-power")
    )
    assert status == 0, errors
    status, output, errors = run("openevolve-unified", "record", "run", "--json")
    assert status == 0, errors
    record = json.loads(output.splitlines()[-1])
    before = replies(record, "before")
    assert {question for question, answer in before.items() if answer == "no"} == {
        "Does the number of seeds follow from the measured noise (power)?",
        "Were both arms to be tuned with the same space and budget?",
        "Was the noise of the instrument measured first?",
    }
    claiming = replies(record, "before claiming")
    assert claiming["Is the program that was validated this run's best?"] == "yes"
    assert claiming["Are its results reported under the plan that was registered?"] == "yes"
    (cost,) = [section for section in record["sections"] if section["title"] == "cost"]
    (hours,) = [item for item in cost["facts"] if item["name"].startswith("training of the vali")]
    assert hours["value"] > 0
    during = replies(record, "during")
    assert during["Was every compared model trained for the same steps?"] == "yes"
    assert during["Is the program that was trained the one that was proposed?"] == "yes"
    assert "## Checklist: before claiming" in (tmp_path / "run/experiment_record.md").read_text()
