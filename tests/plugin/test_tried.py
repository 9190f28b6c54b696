"""What a run's folder tells the selection, and what it must not tell a resumed one."""

from __future__ import annotations

from made_results import made_evaluation, with_score

from openevolve_unified.plugin.cells import hash_of
from openevolve_unified.plugin.tried import known_candidates, times_parent
from openevolve_unified.records import Program
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.proposals import Proposal, ProposalLog

LOSSES = ({42: 2.4, 43: 2.5}, {42: 2.3, 43: 2.4}, {42: 2.2, 43: 2.3}, {42: 2.1, 43: 2.2})
INITIAL = Program(source="initial\n", framework="matrix_mixer")


def scored(source, by_seed):
    losses = [{seed: sizes[seed] for seed in by_seed} for sizes in LOSSES]
    made = with_score(made_evaluation(losses, source=source), 0.1, 0.01)
    score = made.score.__class__(**{**made.score.__dict__, "by_seed": tuple(by_seed.values())})
    return made.__class__(**{**made.__dict__, "score": score})


def test_an_iteration_knows_only_the_seeds_that_were_there_when_it_began(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.record(scored(INITIAL.source, {42: 0.1}))
    directory.record(scored("first\n", {42: 0.2}), 1)
    directory.record_again(scored("first\n", {42: 0.2, 43: 0.3}), 3)
    directory.record(scored("second\n", {42: 0.4}), 3)

    def seen(iteration):
        known = known_candidates(directory, INITIAL, iteration)
        return {item.source: dict(item.scores) for item in known.values()}

    assert seen(1) == {}
    assert seen(2) == seen(3) == {"first\n": {42: 0.2}}
    assert seen(4) == seen(None) == {"first\n": {42: 0.2, 43: 0.3}, "second\n": {42: 0.4}}
    # The iteration is done again after a resume: the seed is no older than it was, nor younger.
    directory.record_again(scored("first\n", {42: 0.2, 43: 0.3}), 5)
    assert seen(3) == {"first\n": {42: 0.2}}
    assert seen(4)["first\n"] == {42: 0.2, 43: 0.3}
    (entry,) = [one for one in directory.history() if one["iterations"] == [1]]
    assert entry["num_proposals"] == 1, "nobody proposed it again"


def test_a_program_without_an_entry_cannot_be_renewed(tmp_path):
    assert RunDirectory(tmp_path).record_again(scored("first\n", {42: 0.2}), 1) is None


def test_parents_are_counted_over_earlier_iterations(tmp_path):
    log = ProposalLog(tmp_path)
    for iteration, parent in ((1, "a"), (2, "a"), (3, "b"), (4, "a")):
        log.add(Proposal(iteration=iteration, outcome="unusable", parent=hash_of(parent)))
    assert times_parent(tmp_path, "a", 4) == 2
    assert times_parent(tmp_path, "a", 5) == 3
    assert times_parent(tmp_path, "c", 5) == 0
