"""The diversity of a run: from its files and from its events alone, and the same."""

from __future__ import annotations

import dataclasses
import json

import pytest
from made_run import MadeRun

from openevolve_unified.judgement.diversity import Diversity
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Failure, Program, Traits
from openevolve_unified.report.diversity_table import diversity_lines
from openevolve_unified.runs.diversity import search_diversity
from openevolve_unified.runs.event_log import read_events
from openevolve_unified.runs.proposals import ProposalLog
from openevolve_unified.runs.replay import replay


class TraitedRun(MadeRun):
    """A run of which every program gated its softmax, and each computes something else."""

    def evaluation(self, source, gain, seeds=(42,)):
        found = super().evaluation(source, gain, seeds)
        bigrams = {"q>softmax": 1, **({} if source == self.initial else {"x>sigmoid": 1})}
        traits = Traits(bigrams=bigrams, outputs=((1.0 + 10 * abs(gain),),))
        return dataclasses.replace(found, traits=traits, fingerprint=f"of {gain}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = TraitedRun(tmp_path_factory.mktemp("runs") / "run", gains=(0.02, 0.05, 0.05))
    traits = Traits(bigrams={"q>softmax": 1}, outputs=((5.0,),))
    diverged = Failure(
        program=Program(source="diverged", framework=made.framework),
        stage="diverged",
        reason="the loss was not finite",
        fingerprint="of a diverged one",
        traits=traits,
    )
    made.judge(diverged, 5)
    made._account(5, "rejected", "diverged", "diverged")
    made.directory.write_diversity(made.directory.history()[0])
    return made


def test_legal_programs_count_also_those_that_training_refused(run):
    found = replay(read_events(run.directory.events_path).events).diversity
    assert [step.iteration for step in found.steps] == [None, 1, 2, 3, 5]
    assert (found.num_programs, found.num_fingerprints, found.num_classes) == (5, 4, 4)
    gate = next(use for use in found.ingredients if use.name == "gate")
    assert (gate.num_programs, gate.num_better, gate.is_kept) == (3, 3, True)


def test_files_and_events_tell_the_same(run):
    told = replay(read_events(run.directory.events_path).events).diversity
    written = json.loads((run.folder / "diversity.json").read_text())
    assert from_mapping(Diversity, written, "diversity") == told
    assert [step["program"] for step in written["steps"]][1:4] == [
        proposal.program for proposal in ProposalLog(run.folder).proposals[:3]
    ]


def test_people_read_it_in_a_few_lines(run):
    found = replay(read_events(run.directory.events_path).events).diversity
    lines = diversity_lines(found)
    assert lines[0] == "5 legal programs, 4 fingerprints, 4 function classes"
    assert lines[1].startswith("mean distance of two: 0.")
    assert "parts tried: gate (3, 3 better, kept by the best)" in lines
    assert max(map(len, lines)) <= 85


def test_entries_of_an_earlier_release_say_nothing_and_stop_nothing(tmp_path):
    made = MadeRun(tmp_path / "run", gains=(-0.01, -0.02))
    entries = made.directory.history()
    found = search_diversity(entries[0], entries, ProposalLog(made.folder).proposals)
    assert [step.is_new_class for step in found.steps] == [None, None, None]
    assert (found.num_classes, found.num_stale) == (0, 0)
