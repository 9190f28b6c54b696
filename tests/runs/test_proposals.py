"""The records of a run's iterations: kept, read again, and counted so that they add up."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.runs.proposals import (
    OUTCOME_WORDS,
    Proposal,
    ProposalLog,
    count_lines,
    proposals_of,
)


def proposals():
    return [
        Proposal(iteration=1, outcome="trained", program="aa", num_edits=3, num_unmatched=1),
        Proposal(iteration=2, outcome="unusable", reason="empty"),
        Proposal(iteration=3, outcome="unusable", reason="no edits"),
        Proposal(iteration=4, outcome="unusable", reason="empty"),
        Proposal(iteration=5, outcome="machine", reason="deadline", program="bb"),
        Proposal(iteration=6, outcome="rejected", reason="causality", program="cc"),
        Proposal(iteration=7, outcome="duplicate", program="aa"),
        Proposal(iteration=8, outcome="stopped", reason="stopped_early", program="dd"),
    ]


def test_records_outlive_the_process(tmp_path):
    log = ProposalLog(tmp_path)
    for proposal in proposals():
        log.add(proposal)
    assert ProposalLog(tmp_path).proposals == proposals()


def test_a_program_is_known_once_it_was_judged(tmp_path):
    log = ProposalLog(tmp_path)
    for proposal in proposals():
        log.add(proposal)
    assert log.knows("aa")
    assert log.knows("cc")
    assert not log.knows("bb"), "the machine failed, which is no verdict"


def test_an_iteration_that_a_resumed_run_asks_again_is_counted_once(tmp_path):
    log = ProposalLog(tmp_path)
    log.add(Proposal(iteration=1, outcome="trained", program="aa"))
    log.add(Proposal(iteration=2, outcome="trained", program="bb"))
    log.add(Proposal(iteration=3, outcome="machine", reason="worker"))
    log = ProposalLog(tmp_path)
    log.continue_after(1)
    assert log.knows("aa")
    assert not log.knows("bb"), "the same iteration proposes it again, for the first time"
    assert len(log.proposals) == 3, "until it is asked again, a record stays"
    log.add(Proposal(iteration=2, outcome="trained", program="bb"))
    assert log.knows("bb")
    log.add(Proposal(iteration=3, outcome="rejected", reason="policy", program="cc"))
    assert [p.iteration for p in ProposalLog(tmp_path).proposals] == [1, 2, 3]
    lines = dict(count_lines(ProposalLog(tmp_path).proposals))
    assert lines["candidates"] == "3 asked for: 2 trained, 1 rejected"


def test_the_outcomes_add_up_to_what_was_asked_for():
    lines = dict(count_lines(proposals()))
    total, _, parts = lines["candidates"].partition(" asked for: ")
    assert int(total) == sum(int(part.split()[0]) for part in parts.split(", ")) == 8
    assert all(words in parts for words in OUTCOME_WORDS.values())
    assert lines["unusable"] == "2 empty, 1 no edits"
    assert lines["rejected"] == "1 causality"
    assert lines["edits"] == "1 of 3 matched nothing in 1 of the programs"


def test_a_run_that_asked_for_nothing_says_so():
    assert count_lines([]) == [("candidates", "0 asked for: 0 trained")]


@pytest.mark.parametrize("content", ["", "{", '[{"iteration": 1}]', '[{"colour": 1}]'])
def test_a_damaged_file_is_noticed_and_no_traceback(content, tmp_path):
    assert not ProposalLog(tmp_path).is_damaged, "there is none yet"
    (tmp_path / "proposals.json").write_text(content)
    log = ProposalLog(tmp_path)
    assert log.is_damaged
    assert log.proposals == []


def entry(program, verdict, iterations, num_proposals, **more):
    return {
        "program": program,
        "verdict": verdict,
        "iterations": iterations,
        "num_proposals": num_proposals,
        **more,
    }


HISTORY = [
    entry("aa", "trained", [5], 2),  # the initial program, and once more as an answer
    entry("bb", "trained", [1, 3], 2),
    entry("cc", "rejected", [2], 1, stage="causality"),
    entry("dd", "not judged", [6], 1, stage="deadline"),
]
OUTCOMES = {1: "trained", 2: "rejected", 3: "duplicate", 5: "duplicate", 6: "machine"}


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "null", '[{"colour": 1}]', None])
def test_what_is_damaged_or_missing_is_rebuilt_from_the_history_and_said(content, tmp_path):
    path = tmp_path / "proposals.json"
    if content is not None:
        path.write_text(content)
    log = ProposalLog(tmp_path)
    line = log.repair(HISTORY)
    wanted = "is missing: " if content is None else "is damaged and is now damaged_proposals.json: "
    assert line.startswith(f"proposals.json {wanted}the counts keep 0 of its records and 5 from")
    if content is not None:
        assert (tmp_path / "damaged_proposals.json").read_text() == content
    again = ProposalLog(tmp_path)
    assert {p.iteration: p.outcome for p in again.proposals} == OUTCOMES
    assert dict(count_lines(again.proposals))["rejected"] == "1 causality"
    assert log.knows("bb")
    assert not log.knows("dd"), "the machine failed, which is no verdict"
    assert again.repair(HISTORY) is None


def test_the_records_of_a_damaged_file_that_can_be_read_are_kept(tmp_path):
    records = [{"iteration": 4, "outcome": "unusable", "reason": "empty"}, {"iteration": "x"}]
    (tmp_path / "proposals.json").write_text(json.dumps(records))
    line = ProposalLog(tmp_path).repair(HISTORY)
    assert "keep 1 of its records and 5 from the history" in line
    counts = dict(count_lines(ProposalLog(tmp_path).proposals))
    assert counts["candidates"].startswith("6 asked for: 1 trained, ")


def test_a_new_run_without_records_needs_no_repair(tmp_path):
    assert ProposalLog(tmp_path).repair([]) is None
    assert ProposalLog(tmp_path).repair([entry("aa", "trained", [], 1)]) is None
    assert list(tmp_path.iterdir()) == []


def test_fields_of_another_release_are_ignored(tmp_path):
    records = [{"iteration": 1, "outcome": "trained", "program": "aa", "colour": 1}]
    (tmp_path / "proposals.json").write_text(json.dumps(records))
    log = ProposalLog(tmp_path)
    assert log.proposals == [Proposal(iteration=1, outcome="trained", program="aa")]
    assert log.repair(HISTORY) is None


def test_an_outcome_of_another_release_is_counted(tmp_path):
    records = [{"iteration": 1, "outcome": "trained"}, {"iteration": 2, "outcome": "purple"}]
    (tmp_path / "proposals.json").write_text(json.dumps(records))
    log = ProposalLog(tmp_path)
    assert log.repair([]) is None
    (line,) = count_lines(log.proposals)
    words = "2 asked for: 1 trained, 1 with an outcome that this release does not know"
    assert line == ("candidates", words)


def test_one_that_the_race_stopped_is_rebuilt_from_the_history():
    entry = {"verdict": "stopped", "program": "aa", "iterations": [1, 2], "num_proposals": 2}
    rebuilt = proposals_of([{**entry, "stage": "stopped_early"}])
    assert [proposal.outcome for proposal in rebuilt] == ["stopped", "duplicate"]
