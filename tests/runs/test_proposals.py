"""The records of a run's iterations: kept, read again, and counted so that they add up."""

from __future__ import annotations

import pytest

from openevolve_unified.runs.proposals import OUTCOME_WORDS, Proposal, ProposalLog, count_lines


def proposals():
    return [
        Proposal(iteration=1, outcome="trained", program="aa", num_edits=3, num_unmatched=1),
        Proposal(iteration=2, outcome="unusable", reason="empty"),
        Proposal(iteration=3, outcome="unusable", reason="no edits"),
        Proposal(iteration=4, outcome="unusable", reason="empty"),
        Proposal(iteration=5, outcome="machine", reason="deadline", program="bb"),
        Proposal(iteration=6, outcome="rejected", reason="causality", program="cc"),
        Proposal(iteration=7, outcome="duplicate", program="aa"),
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
    assert int(total) == sum(int(part.split()[0]) for part in parts.split(", ")) == 7
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
