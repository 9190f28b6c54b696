"""A search that finds nothing new: its edits are counted, and it stops where that is asked for."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from made_results import made_evaluation

from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.plugin.accounts import Accounts
from openevolve_unified.plugin.answering.answer import Answer
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.records import Traits
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.proposals import ProposalLog

LINES = ["scale = q.norm()", "gate = q.sigmoid()"]


def source(*lines):
    return "".join(f"{line}\n" for line in ("initial = 0", *lines))


@pytest.fixture
def search(tmp_path):
    """``search(limit)`` gives what accounts for one iteration after another, and its reasons."""
    program = tmp_path / "initial.py"
    program.write_text(source())
    experiment = SimpleNamespace(
        scaling_law=SimpleNamespace(framework="matrix_mixer"), iterations=9, initial_program=program
    )
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()

    def judged(text, output, iteration):
        result = dataclasses.replace(
            made_evaluation([4.0, 3.9, 3.8, 3.7], source=text),
            fingerprint=f"of {output}",
            traits=Traits(bigrams={"q>mul": 1}, outputs=((output,),)),
        )
        return result, directory.record(result, iteration)

    def start(limit):
        reasons = []
        rules = StoppingRules(
            StoppingConfig(patience_iterations=0, convergence_proposals=limit),
            Standing(value=1.0, stderr=0.0),
        )
        log = ProposalLog(directory.path)
        accounts = Accounts(experiment, log, rules, lambda event: None, reasons.append)
        judged(source(), 1.0, None)

        def propose(iteration, text, output):
            result, entry = judged(text, output, iteration)
            future = Future()
            child = {"code": text, "metrics": metrics(result)}
            report = Report(answer=Answer(), entry=entry, parent=source())
            future.set_result(SimpleNamespace(child_program_dict=child, report=report))
            accounts.account(iteration, future)
            return log.proposals[-1]

        return propose, reasons

    return start


def test_added_lines_and_those_that_come_back_are_counted(search):
    propose, _ = search(0)
    counts = [
        (found.num_lines_added, found.num_lines_again)
        for found in (
            propose(1, source(LINES[0]), 2.0),
            propose(2, source(*LINES), 3.0),
            propose(3, source(*LINES), 3.0),
        )
    ]
    assert counts == [(1, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("limit", [0, 2])
def test_the_search_stops_after_the_limit_where_there_is_one(limit, search):
    propose, reasons = search(limit)
    propose(1, source(LINES[0]), 2.0)
    propose(2, source(LINES[1]), 2.0)
    assert reasons == []
    propose(3, source(LINES[0]), 2.0)
    assert len(reasons) == (limit > 0)
    assert all("the search has converged: the last 2 legal proposals" in r for r in reasons)
