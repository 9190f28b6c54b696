"""The experiment record: everything from records, what is missing said, nothing invented."""

from __future__ import annotations

import json

import pytest
from dossiers import answers, fact, record_of
from json_keys import undocumented
from made_run import MadeRun, runs_in
from test_validation_files import RESULT

from openevolve_unified import exits
from openevolve_unified.cli.app import main
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.files import write_json
from openevolve_unified.report.dossier_markdown import dossier_markdown
from openevolve_unified.report.folder_report import report_of
from openevolve_unified.validation.checklists import CHECKLISTS
from openevolve_unified.validation.dossier_records import gather
from openevolve_unified.validation.run_folder import read_run

SECTIONS = [
    "goal",
    "question and what was really tested",
    "what changed",
    "settings",
    "evolution",
    "validation",
    "controls",
    "cost",
    "health",
    "limitations",
    "threats to validity: internal",
    "threats to validity: external",
    "threats to validity: construct",
    "deviations",
    "next steps",
]


@pytest.fixture
def made(tmp_path):
    return runs_in(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return MadeRun(tmp_path_factory.mktemp("record") / "run").folder


@pytest.fixture(scope="module")
def alone(folder):
    """The record of a run that nothing followed."""
    return record_of(folder)


def write_validation(folder, program, *, seeds=tuple(range(2042, 2054)), **plan):
    """A validation as the command leaves it: sealed, and its result under its plan."""
    plan = {
        "question": "is the evolved program better?",
        "hypotheses": {"null": "no gain", "alternative": "some"},
        "arms": {"evolved": {"program": program}},
        "tests": {"primary": ["paired t", "sign flip"], "correction": "Holm"},
        "criteria": {"alpha": 0.05},
        "stopping rule": "all pairs are trained before any is judged",
        "reading": "last",
        "tuning": {"mode": "equal", "num_trials": 8},
        "seeds": {"pairs": list(seeds), "tuning": 4042},
        "data": "d" * 64,
        "code": "c" * 64,
        **plan,
    }
    power = {"power": 0.9, "sentence": "12 pairs find 1%", "hopeless_because": None}
    entry = {"registered_at": "2026-01-01T00:00:00+00:00", "plan": plan, "power": power}
    estimate = {
        "name": "relative gain",
        "value": 0.021300000000000003,
        "ci95": [0.01, 0.03],
        "unit": "of the loss",
    }
    result = {
        **RESULT,
        "plan_hash": content_hash(plan),
        "judgement": {**RESULT["judgement"], "seeds": list(seeds), "estimates": [estimate]},
        "arms": {"evolved": {"runs": [[{"job_key": "aa" * 32}]]}},
    }
    folder.mkdir(exist_ok=True)
    write_json(folder / "registration.json", {**entry, "hash": content_hash(entry)})
    write_json(folder / "validation.json", result)
    return folder


@pytest.fixture
def validated(folder, tmp_path):
    """The folder of a validation of the run's winner, at twelve pairs of seeds."""
    return write_validation(tmp_path / "validation", read_run(folder).best["program"])


def test_every_section_is_there_and_every_fact_names_its_record(alone):
    assert [section.title for section in alone.sections] == SECTIONS
    for section in alone.sections:
        assert section.facts, section.title
        assert all(item.source for item in section.facts), section.title
    assert list(alone.checklists) == list(CHECKLISTS)
    assert all(line.record and line.evidence for line in sum(alone.checklists.values(), ()))


def test_what_the_run_did_is_told_with_its_numbers(alone):
    assert fact(alone, "evolution", "proposals by outcome") == {"rejected": 1, "trained": 3}
    assert fact(alone, "evolution", "refused by stage") == {"causality": 1}
    assert fact(alone, "evolution", "legal share of what was judged") == 0.75
    assert fact(alone, "validation", "confirmation") == "improved"
    assert fact(alone, "cost", "training in the search, hours") == pytest.approx(16 * 1.5 / 3600)
    tested = fact(alone, "question and what was really tested", "really tested")
    assert tested.startswith("4 proposals, of which 3 were trained at 4 sizes up to 96x2 for 750")
    assert tested.endswith("the best was confirmed at 4 fresh seeds")
    assert "+import math  # program 3" in alone.section("what changed").code


def test_what_no_record_says_is_told_as_missing(alone):
    assert fact(alone, "question and what was really tested", "question") == "not recorded"
    assert fact(alone, "validation", "validation") == "there was none"
    assert fact(alone, "controls", "against luck, tuning and random search") == "not recorded"
    before = answers(alone, "before")
    assert before["Was a question with its hypotheses written down first?"].answer == "no"
    assert before["Was the noise of the instrument measured first?"].answer == "no"
    assert before["Was the cost planned before it was spent?"].answer == "yes"
    (deviation,) = alone.section("deviations").facts
    assert deviation.value.startswith("there is no registration")
    steps = [item.value for item in alone.section("next steps").facts]
    assert any(
        step.startswith("validate the winner: `openevolve-unified validate") for step in steps
    )


def test_each_answer_follows_from_its_record(alone):
    during = answers(alone, "during")
    assert {line.answer for line in during.values()} <= {"yes", "not applicable"}
    split = during["Was the test split kept out of the search?"]
    assert split.evidence == "4 of 4 fitness values follow from the validation losses alone"
    claiming = answers(alone, "before claiming")
    fresh = claiming["Was the winner confirmed at seeds that had no part in choosing it?"]
    assert (fresh.answer, fresh.evidence) == ("yes", "improved")
    horizon = claiming["Was it trained to the full horizon?"]
    assert (horizon.answer, horizon.evidence) == ("no", "pilot, 750 of 100,000 steps")
    assert claiming["Does the validation say 'improved'?"].answer == "no"


def test_a_validation_answers_what_was_open(folder, validated):
    found = record_of(folder, validated)
    assert fact(found, "validation", "verdict") == "improved"
    assert fact(found, "validation", "relative gain") == "0.0213 of the loss, 95% 0.01 to 0.03"
    question = fact(found, "question and what was really tested", "question")
    assert question == "is the evolved program better?"
    before = answers(found, "before")
    registered = [line for line in before.values() if line.record.startswith("registration.json")]
    assert [line.answer for line in registered] == ["yes"] * 10
    claiming = answers(found, "before claiming")
    for question, answer in {
        "Is the program that was validated this run's best?": "yes",
        "Was it validated at 10 pairs of seeds or more?": "yes",
        "Are its results reported under the plan that was registered?": "yes",
        "Is the primary test significant after correction?": "yes",
        "Is the exact sign-flip test significant after correction?": "no",
        "Is the criterion met: relative gain?": "yes",
        "Does evolution beat luck, tuning or random search, after correction?": "no",
    }.items():
        assert claiming[question].answer == answer, question
    assert [item.value for item in found.section("deviations").facts] == RESULT["deviations"]


HOURS = "training of the validation, tuning included, hours"
ENERGY = "energy of training in the validation, tuning included"


def test_the_hours_of_a_validation_are_those_of_its_jobs_in_the_store(made, tmp_path):
    folder = made("run")
    program = read_run(folder).best["program"]
    write_validation(folder / "validation", program)
    assert fact(record_of(folder), "cost", HOURS) == "not recorded"
    assert fact(record_of(folder), "cost", ENERGY) == "not recorded"
    read_run(folder).store.put("runs", "aa" * 32, {"train_time_s": 7200.0})
    assert fact(record_of(folder), "cost", HOURS) == 2.0
    assert fact(record_of(folder), "cost", ENERGY) == "not told by this device"
    told = {"train_time_s": 7200.0, "energy_joules": 9000.0}
    read_run(folder).store.put("runs", "aa" * 32, told)
    assert fact(record_of(folder), "cost", ENERGY) == "2.5 Wh"


def test_the_energy_is_told_where_the_device_told_it(alone, made):
    place, question = "energy of training in search and confirmation", "Is the energy reported?"
    assert fact(alone, "cost", place) == "0.6 Wh"
    assert answers(alone, "when reporting")[question].answer == "yes"
    silent = record_of(made("silent", joules=None))
    assert fact(silent, "cost", place) == "not told by this device"
    line = answers(silent, "when reporting")[question]
    assert (line.answer, line.evidence) == ("no", "not told by this device")


@pytest.mark.parametrize(
    ("plan", "question", "evidence"),
    [
        (
            {"tuning": {"mode": "shared"}},
            "Were both arms to be tuned with the same space and budget?",
            "shared",
        ),
        ({"tests": {}}, "Was the correction for several tests fixed first?", "not recorded"),
        (
            {"data": ""},
            "Are data, code and programs of the plan known by their hashes?",
            "{'code': 'cccccccccccc', 'program': '",
        ),
    ],
)
def test_what_a_plan_leaves_open_is_answered_no(folder, tmp_path, plan, question, evidence):
    program = read_run(folder).best["program"]
    found = record_of(folder, write_validation(tmp_path / "open", program, **plan))
    line = answers(found, "before")[question]
    assert line.answer == "no"
    assert line.evidence.startswith(evidence)


def test_a_validation_of_another_program_or_at_seeds_of_the_search_is_noticed(folder, tmp_path):
    another = write_validation(tmp_path / "another", "0" * 12, seeds=(1042, 2043, 2044))
    found = record_of(folder, another)
    claiming = answers(found, "before claiming")
    line = claiming["Is the program that was validated this run's best?"]
    assert line.answer == "no"
    assert "is of program 000000000000, not of the best, " in line.evidence
    assert claiming["Was it validated at 10 pairs of seeds or more?"].evidence == "3 seeds"
    line = answers(found, "before")[
        "Are the seeds of search, confirmation and validation disjoint?"
    ]
    assert (line.answer, line.evidence[-14:]) == ("no", "shared: [1042]")


def test_a_validation_of_another_program_says_nothing_of_this_run(tmp_path):
    """The initial program is this run's best, and every registration names it as the standard."""
    made = MadeRun(tmp_path / "run", gains=(-0.01,), num_confirmed=0)
    best = read_run(made.folder).best["program"]
    arms = {"standard": {"program": best}, "evolved": {"program": "e" * 64}}
    write_validation(made.folder / "validation", "", arms=arms)
    found = record_of(made.folder)
    told = fact(found, "question and what was really tested", "verdict of the validation")
    place = made.folder / "validation"
    assert told == f"validation in {place} is of program {'e' * 12}, not of the best, {best}"
    claiming = answers(found, "before claiming")
    assert claiming["Is the program that was validated this run's best?"].answer != "yes"
    report = report_of(made.folder)
    assert report.verdict.word == "no winner"
    assert "validation" in report.missing, "its figure is not drawn as this run's"


def test_a_registration_that_was_edited_answers_nothing(folder, validated):
    path = validated / "registration.json"
    written = json.loads(path.read_text())
    written["plan"]["criteria"]["alpha"] = 0.5
    path.write_text(json.dumps(written))
    found = record_of(folder, validated)
    for line in found.checklists["before"]:
        if line.record.startswith("registration.json"):
            assert line.answer == "no"
            assert line.evidence.endswith("its hash does not fit")
    plan = answers(found, "before claiming")[
        "Are its results reported under the plan that was registered?"
    ]
    assert (plan.answer, plan.evidence) == ("no", "it names another plan")


def test_controls_count_by_what_they_say_not_by_being_there(made):
    folder = made("controlled")
    (folder / "control").mkdir()
    pair = {"arm": "grammar", "against": "luck", "verdict": "not told apart from"}
    question = "Does evolution beat luck, tuning or random search, after correction?"
    for verdict, answer in (("not told apart from", "no"), ("beat", "yes")):
        comparisons = {"comparisons": [{**pair, "verdict": verdict}], "verdicts": ["a sentence"]}
        (folder / "control" / "control.json").write_text(json.dumps(comparisons))
        line = answers(record_of(folder), "before claiming")[question]
        assert line.answer == answer, line
    assert fact(record_of(folder), "controls", "arms that evolution beats") == ["luck"]


def test_scores_that_do_not_follow_from_the_validation_losses_are_noticed(made):
    folder = made("tampered")
    run = read_run(folder)
    path = (folder / "programs" / run.best["file"]).with_suffix(".json")
    details = json.loads(path.read_text())
    for size in details["losses"]:
        for own in size["runs"]:
            own["final_loss_nats"] *= 1.01
    path.write_text(json.dumps(details))
    line = answers(record_of(folder), "during")["Was the test split kept out of the search?"]
    assert (line.answer, line.evidence[:6]) == ("no", "3 of 4")


def test_a_run_without_a_winner_claims_nothing(made):
    found = record_of(made("none", gains=(-0.01,)))
    assert fact(found, "what changed", "change") == "nothing: the initial program is the best"
    assert {line.answer for line in found.checklists["before claiming"]} == {"not applicable"}
    limits = [item.value for item in found.section("limitations").facts]
    assert "there is no winner, so there is no effect to speak of" in limits


def test_an_unfinished_run_and_a_lost_store_are_told(made, tmp_path):
    folder = made("cut", cause=None)
    (tmp_path / "store").rename(tmp_path / "gone")
    found = record_of(folder)
    assert fact(found, "evolution", "end").startswith("unfinished after 4 of 4 iterations")
    assert "name it with --store DIR" in fact(found, "validation", "losses at fresh seeds")
    assert answers(found, "during")["Did the run come to its end?"].answer == "no"


def test_a_folder_of_a_validation_that_is_not_there_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"--validation: .* is no folder"):
        gather(read_run(folder), tmp_path / "nowhere")


def test_the_command_writes_markdown_and_json(folder, validated, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["record", str(folder), "--validation", str(validated), "--output", str(out), "--json"]
    assert main(asked) == exits.DONE
    printed = capsys.readouterr().out
    plain = json.loads(printed.splitlines()[-1])
    assert undocumented("record", plain) == []
    assert plain == json.loads((out / "experiment_record.json").read_text())
    text = (out / "experiment_record.md").read_text()
    assert text == dossier_markdown(record_of(folder, validated))
    for title in SECTIONS:
        assert f"## {title[0].upper()}{title[1:]}\n" in text
    for name in CHECKLISTS:
        assert f"## Checklist: {name}\n" in text
        assert f"  {name:<15} " in printed
    assert "```diff\n--- initial" in text
