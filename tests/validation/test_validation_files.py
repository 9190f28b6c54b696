"""The tolerant reader of a validation's folder: what is there is found, what is not is told."""

from __future__ import annotations

import json

from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.validation.validation_files import find, read_validation

RESULT = {
    "format": 3,
    "judgement": {
        "verdict": "improved",
        "sentence": "the evolved program is better",
        "tests": [{"name": "paired t", "p": 0.001, "p_holm": 0.005}],
        "criteria_met": [{"name": "relative gain", "is_met": True, "evidence": "2%"}],
        "seeds": [2042, 2043],
    },
    "deviations": ["one seed was trained on another machine"],
}


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    return read_validation(folder)


def test_the_judgement_is_found_wherever_it_stands(tmp_path):
    nested = written(tmp_path / "nested", validation=RESULT, registration={"plan": {"seeds": [1]}})
    flat = written(tmp_path / "flat", validation=RESULT["judgement"], registration={"seeds": [1]})
    for found in (nested, flat):
        assert found.verdict == "improved"
        assert found.row("tests", "paired t")["p_holm"] == 0.005
        assert found.row("tests", "another") is None
        assert found.rows("criteria_met")[0]["is_met"] is True
        assert found.troubles == ()
        assert find(found.registration, "seeds")[1] == [1]
    assert nested.deviations == RESULT["deviations"]
    assert flat.deviations == []


def test_criteria_by_name_are_rows_too(tmp_path):
    criteria = {"better slope": {"is_met": False, "evidence": "-1%"}, "strong": True}
    found = written(tmp_path, validation={"verdict": "worse", "criteria_met": criteria})
    assert found.rows("criteria_met") == [
        {"name": "better slope", "is_met": False, "evidence": "-1%"},
        {"name": "strong", "value": True},
    ]


def test_what_is_missing_or_damaged_is_told_and_nothing_is_invented(tmp_path):
    found = written(tmp_path / "empty")
    assert found.troubles == (
        "registration.json is missing in empty",
        "validation.json is missing in empty",
    )
    assert (found.verdict, found.deviations, found.rows("tests")) == (None, [], [])
    found = written(tmp_path / "cut", validation='{"verdict": "impr', registration="[]")
    assert found.troubles == ("registration.json is damaged", "validation.json is damaged")
    assert (found.verdict, found.registration) == (None, None)
    found = written(tmp_path / "odd", validation={"verdict": 3, "tests": "none", "deviations": 0})
    assert (found.verdict, found.rows("tests"), found.deviations) == (None, [], [])


def test_the_nearest_name_is_found_first_and_empty_values_are_missing():
    mapping = {"deep": {"power": 1, "names": []}, "power": 2, "criteria": {}}
    assert find(mapping, "power") == ("power", 2)
    assert find(mapping, "names", "criteria") is None
    assert find({"deep": {"power": 1}}, "absent", "power") == ("deep.power", 1)
    assert find(None, "power") is None


def test_the_evolved_program_is_that_of_the_last_plan(tmp_path):
    arms = {"standard": {"program": "a" * 64}, "evolved": {"program": "b" * 64}}
    found = written(tmp_path / "one", registration={"plan": {"arms": arms}}, validation=RESULT)
    assert found.evolved == "b" * 64, "and not the standard one, which is named there too"
    assert written(tmp_path / "none", validation=RESULT).evolved is None


def test_a_seal_and_a_plan_are_checked_where_there_are_any(tmp_path):
    plan, later = {"seeds": [1, 2, 3]}, {"seeds": [1, 2, 3, 4]}
    entry = {"plan": plan, "power": {}}
    sealed = {**entry, "hash": content_hash(entry)}
    found = written(tmp_path, registration=sealed, validation={"plan_hash": content_hash(plan)})
    assert (found.is_sealed, found.is_under_plan) == (True, True)
    changed = {"plan_hash": content_hash(later)}
    assert written(tmp_path, validation=changed).is_under_plan is False
    declared = {"deviations": [{"text": "one more", "changed": ["seeds: 3 -> 4"], "plan": later}]}
    found = written(tmp_path, deviations=declared)
    assert found.is_under_plan is True
    assert found.deviations == ["one more (seeds: 3 -> 4)"]
    at_once = {**entry, "deviations": [{"text": "trained before", "changed": []}]}
    found = written(tmp_path, registration={**at_once, "hash": content_hash(at_once)})
    assert found.deviations == ["trained before", "one more (seeds: 3 -> 4)"]
    assert (found.is_sealed, found.is_under_plan) == (True, True)
    assert written(tmp_path, registration={**sealed, "power": {"power": 1}}).is_sealed is False
    assert written(tmp_path, registration=entry).is_sealed is None
    assert written(tmp_path / "none").is_under_plan is None


def test_every_job_that_a_result_names_is_found(tmp_path):
    result = {"arms": {"evolved": {"runs": [[{"job_key": "a"}, {"job_key": "b"}]]}}}
    trials = {"tuning": {"trials": {"standard": [{"job_key": "c"}, {"job_key": None}]}}}
    assert written(tmp_path, validation={**result, **trials}).job_keys() == {"a", "b", "c"}
