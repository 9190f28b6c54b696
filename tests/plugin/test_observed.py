"""OpenEvolve's real loop on a small problem: no iteration vanishes, whatever became of it."""

from __future__ import annotations

import asyncio
import io
import sys
from types import SimpleNamespace

import pytest
from openevolve.config import Config, EvaluatorConfig, LLMModelConfig
from openevolve.database import ProgramDatabase
from openevolve.population import PopulationStrategy
from rich.console import Console
from scripted_model import diff

from openevolve_unified.config.schema import StoppingConfig
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.plugin.accounts import Accounts
from openevolve_unified.plugin.answering.client import create_watched_client
from openevolve_unified.plugin.observed import NoProgramError, ObservedOpenEvolve
from openevolve_unified.plugin.population import RejectionFeedback, admit
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.proposals import ProposalLog, count_lines

FIRST = Standing(value=1.0, stderr=0.0)
PROGRAM = "value = 1\nname = 'x'\n"
EVALUATOR = """
import os
from openevolve_unified.plugin.answering.exchange import NumberedEvents
from openevolve_unified.runs.events import Verdict, nobody

def evaluate(path):
    with open(path) as file:
        source = file.read()
    if "die" in source:
        os._exit(9)
    if "bad" in source:
        entry = {"verdict": "rejected", "stage": "policy", "reason": "it says bad"}
        NumberedEvents(nobody)(Verdict(is_initial=False, entry=entry))
        return {"combined_score": -1000.0}
    if "slow" in source:
        entry = {"verdict": "rejected", "stage": "deadline", "reason": "it took too long"}
        NumberedEvents(nobody)(Verdict(is_initial=False, entry=entry))
        return {"combined_score": -1000.0}
    return {"combined_score": 0.0}
"""
GOOD = diff("value = 1", "value = 2")
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERS = {
    GOOD: ("trained", ""),
    "": ("unusable", "empty"),
    "prose": ("unusable", "no edits"),
    diff("value = 9", "value = 2"): ("unusable", "no match"),
    f"<think>{GOOD}</think>{diff('value = 1', 'value = 5')}": ("trained", ""),
    f"<think>{GOOD}": ("unusable", "reasoning only"),
    diff("value = 1", "value = 3") + diff("value = 8", ""): ("trained", ""),
    diff("value = 1", "bad = 2"): ("rejected", "policy"),
    diff("value = 1", "slow = 2"): ("machine", "deadline"),
    GOOD + "again": ("duplicate", ""),
}
MORE_ANSWERS = [
    ({"content": None}, ("unusable", "empty")),
    ({"content": None, "refusal": "no"}, ("unusable", "refusal")),
    ({"content": None, "tool_calls": [CALL]}, ("unusable", "tool calls")),
    (b"<html>", ("unusable", "failed call")),
    (401, ("unusable", "failed call")),
]


def shown(accounts, events):
    """What a person is told of these events."""
    text = io.StringIO()
    reporter = Reporter(Console(file=text, width=500))
    for event in events:
        reporter.start_candidate(accounts.title(event.iteration))
        reporter(event)
    return text.getvalue()


@pytest.fixture
def evolve(tmp_path, scripted_model):
    """Run OpenEvolve on these answers of the model, and account for every iteration."""
    (tmp_path / "evaluation_file.py").write_text(EVALUATOR)
    (tmp_path / "initial.py").write_text(PROGRAM)

    def evolve(answers, num_iterations=None, url=None, islands=1, **limits):
        num_iterations = num_iterations or len(answers)
        model = scripted_model(*answers)
        client = LLMModelConfig(
            name="m", api_key="k", api_base=url or model.url, retries=0, timeout=20, weight=1.0
        )
        client.init_client = create_watched_client
        config = Config(checkpoint_interval=1)
        config.llm.models = config.llm.evaluator_models = [client]
        config.evaluator = EvaluatorConfig(timeout=20, cascade_evaluation=False, max_retries=0)
        config.database.num_islands = islands
        # Every answer is an edit of the initial program, so nothing else becomes a parent.
        strategy = PopulationStrategy(
            admit=lambda snapshot, *others: admit(snapshot, *others) and not snapshot.programs
        )
        run = ObservedOpenEvolve(
            initial_program_path=str(tmp_path / "initial.py"),
            evaluation_file=str(tmp_path / "evaluation_file.py"),
            config=config,
            output_dir=str(tmp_path / "out"),
            population_strategy=strategy,
        )
        rules = StoppingConfig(**{"patience_iterations": 0, "max_invalid_in_a_row": 0, **limits})
        experiment = SimpleNamespace(
            scaling_law=SimpleNamespace(framework="matrix_mixer"),
            iterations=num_iterations,
            initial_program=tmp_path / "initial.py",
        )
        seen = SimpleNamespace(model=model, reasons=[], run=run, events=[])

        def stop(reason):
            seen.reasons.append(reason)
            if run.parallel_controller is not None:
                run.parallel_controller.request_shutdown()

        log = ProposalLog(tmp_path / "out")
        seen.accounts = Accounts(
            experiment, log, StoppingRules(rules, FIRST), seen.events.append, stop
        )
        seen.accounts.feedback = RejectionFeedback(run.database)
        run.when_done = seen.accounts.account
        try:
            asyncio.run(run.run(iterations=num_iterations))
        except NoProgramError:
            pass
        finally:
            if str(tmp_path) in sys.path:
                sys.path.remove(str(tmp_path))
        seen.proposals = ProposalLog(tmp_path / "out").proposals
        seen.text = shown(seen.accounts, seen.events)
        seen.told = "".join(
            str(run.database.get_artifacts(name).get("recently_rejected"))
            for name in run.database.programs
        )
        return seen

    return evolve


def test_each_kind_of_answer_has_its_one_outcome(evolve):
    script = [*ANSWERS.items(), *MORE_ANSWERS]
    seen = evolve([answer for answer, _ in script], max_backend_failures=0)
    assert [p.iteration for p in seen.proposals] == list(range(1, len(script) + 1))
    outcomes = [(proposal.outcome, proposal.reason) for proposal in seen.proposals]
    assert outcomes == [outcome for _, outcome in script]
    (partial,) = [p for p in seen.proposals if p.num_unmatched]
    assert (partial.num_edits, partial.num_unmatched) == (2, 1)
    lines = seen.text.splitlines()
    assert len(lines) == len([p for p in seen.proposals if p.outcome == "unusable"]) + 1
    assert f"candidate 7/{len(script)}: 1 of 2 edits applied" in seen.text
    assert "'value = 8'" in seen.text
    assert (
        f"candidate {len(script)}/{len(script)}: the call of the language model failed: Auth"
        in seen.text
    )
    assert "tool calls instead of text" in seen.told
    assert "AuthenticationError" not in seen.told, "nothing that the proposer could mend"
    counts = dict(count_lines(seen.proposals))
    assert counts["candidates"] == (
        "15 asked for: 3 trained, 1 rejected, 1 proposed before, 9 without a usable program, "
        "1 lost to trouble of the machine"
    )
    assert counts["edits"] == "1 of 2 matched nothing in 1 of the programs"


def test_the_next_prompt_holds_what_was_wrong(evolve):
    seen = evolve(["prose", diff("value = 1", "bad = 2"), GOOD, GOOD, GOOD])
    last = seen.model.requests[-1]["messages"][-1]["content"]
    assert "no SEARCH/REPLACE block" in last
    assert "policy: it says bad" in last


def test_edits_that_matched_nothing_are_in_the_next_prompt(evolve):
    seen = evolve([diff("value = 1", "value = 3") + diff("value = 8", ""), GOOD, GOOD])
    assert "1 of 2 edits applied" in seen.model.requests[-1]["messages"][-1]["content"]


@pytest.mark.parametrize("answers", [[401], [GOOD, 401]], ids=["at once", "after a program"])
def test_a_dead_model_ends_the_run_after_the_limit(answers, evolve):
    seen = evolve(answers, num_iterations=20, max_backend_failures=3)
    reason = seen.reasons[0]
    assert "the language model failed 3 times in a row" in reason
    assert "AuthenticationError" in reason
    assert seen.accounts.is_model_dead
    assert len(seen.model.requests) <= len(answers) - 1 + 5, "two wait in the pool"
    assert seen.accounts.has_nothing is (answers == [401])


def test_a_model_that_cannot_be_reached_ends_the_run(evolve):
    seen = evolve(["never asked"], 20, url="http://127.0.0.1:1/v1", max_backend_failures=2)
    assert "APIConnectionError" in seen.reasons[0]
    assert len(seen.proposals) <= 4


def test_unusable_answers_in_a_row_end_the_run(evolve):
    seen = evolve(["prose"], num_iterations=20, max_invalid_in_a_row=4)
    assert "4 invalid candidates in a row" in seen.reasons[0]
    assert seen.accounts.has_nothing
    assert not seen.accounts.is_model_dead


def test_a_run_without_a_program_ends_quietly_and_says_why(evolve):
    seen = evolve(["prose"], num_iterations=3)
    assert seen.reasons == []
    assert seen.accounts.has_nothing
    assert "'prose'" in seen.accounts.last_trouble


def test_the_death_of_a_worker_is_one_outcome_and_a_reason(evolve):
    seen = evolve([GOOD, diff("value = 1", "die = 2")], num_iterations=6)
    assert [p.outcome for p in seen.proposals] == ["trained", "machine"]
    assert "worker process was ended from outside" in seen.reasons[0]
    assert seen.accounts.is_worker_lost


def test_an_iteration_that_openevolve_gives_up_is_accounted_for(evolve, monkeypatch):
    sample = ProgramDatabase.sample_from_island

    def broken_once(database, *arguments, **options):
        monkeypatch.setattr(ProgramDatabase, "sample_from_island", sample)
        raise RuntimeError("no parent")

    monkeypatch.setattr(ProgramDatabase, "sample_from_island", broken_once)
    seen = evolve([GOOD], num_iterations=3)
    assert [p.reason for p in seen.proposals] == ["an error inside OpenEvolve", "", ""]
    assert "candidate 1/3: no program: NotAsked" in seen.text


def test_iterations_keep_their_numbers_on_islands(evolve):
    good = [diff("value = 1", f"value = {n}") for n in range(2, 5)]
    seen = evolve([good[0], "prose", good[1], "prose", good[2]], islands=3)
    assert sorted(p.iteration for p in seen.proposals) == [1, 2, 3, 4, 5]
    unusable = [p.iteration for p in seen.proposals if p.outcome == "unusable"]
    assert all(f"candidate {n}/5: no usable program" in seen.text for n in unusable)
