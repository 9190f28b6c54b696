"""Accounts of finished iterations: a record, an event, a hint to the proposer, perhaps the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from typing import Any

from openevolve_unified.config.experiment import Experiment
from openevolve_unified.config.names import UNTRAINED_SCORE
from openevolve_unified.errors import ConfigError, shortage
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.feedback import NOT_JUDGED_REASON, NOT_JUDGED_STAGE
from openevolve_unified.judgement.lessons import added_lines, count_re_introduced
from openevolve_unified.plugin.answering.answer import Answer
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.population import RejectionFeedback
from openevolve_unified.plugin.stopping import StoppingRules
from openevolve_unified.records import MACHINE_STAGES, Program
from openevolve_unified.runs.directory import RunDirectory
from openevolve_unified.runs.diversity import search_diversity
from openevolve_unified.runs.events import IterationEnded, Listener
from openevolve_unified.runs.proposals import INTERNAL_ERROR, Outcome, Proposal, ProposalLog

HASH_DIGITS = 12
MAX_TROUBLES_IN_A_ROW = 3
"""So many candidates that the machine could not judge end a run: it would not judge the next."""


class Accounts:
    """Accounts for every iteration of a session, in the order in which they end.

    Args:
        rules: hear of every outcome but the machine's; what they say goes to ``stop``.
        listener: hears what became of every iteration.
        stop: ends the run with a reason.
    """

    def __init__(
        self,
        experiment: Experiment,
        log: ProposalLog,
        rules: StoppingRules,
        listener: Listener,
        stop: Callable[[str], None],
    ):
        self.feedback: RejectionFeedback | None = None
        self.is_model_dead = False
        self.is_worker_lost = False
        self.is_machine_failing = False
        self.num_asked = 0
        self.num_programs = 0
        self.last_trouble = ""
        self._troubles_in_a_row = 0
        self._framework = experiment.scaling_law.framework
        self._num_iterations = experiment.iterations
        self._initial = self._hash_of(experiment.initial_program.read_text(encoding="utf-8"))
        self._directory = RunDirectory(log.path.parent)
        self._log = log
        self._rules = rules
        self._listener = listener
        self._stop = stop

    @property
    def has_nothing(self) -> bool:
        """True when iterations were asked for and not one gave a program."""
        return self.num_asked > 0 and self.num_programs == 0

    def title(self, iteration: int) -> str:
        """What a person reads in front of what concerns an iteration."""
        return f"candidate {iteration}/{self._num_iterations}"

    def renew_best(self, best: Standing) -> None:
        """What the next improvement is set against, after programs got more seeds."""
        self._rules.renew_best(best)

    def account(self, iteration: int, future: Future[Any]) -> None:
        """Take in one iteration of OpenEvolve, which is done.

        Raises:
            ConfigError: its record cannot be written, or the set-up broke in the worker.
        """
        error = future.exception()
        if error is not None and (isinstance(error, BrokenExecutor) or shortage(error)):
            self._lost_worker(iteration, error)
            return
        if self.is_worker_lost:
            return  # nothing that follows was asked for
        self.num_asked += 1
        if error is not None:
            detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._without_program(iteration, Answer(trouble=INTERNAL_ERROR, detail=detail))
            return
        result = future.result()
        report: Report = result.report
        if result.child_program_dict is None:
            self._without_program(iteration, report.answer, self._hash_of(report.parent))
        else:
            self.num_programs += 1
            self._with_program(iteration, result, report)

    def _lost_worker(self, iteration: int, error: BaseException) -> None:
        if self.is_worker_lost:
            return  # the same loss fails every iteration that waited in the pool
        self.is_worker_lost = True
        self.num_asked += 1
        self.last_trouble = f"OpenEvolve's worker process is gone ({type(error).__name__})"
        lost = Proposal(iteration=iteration, outcome="machine", reason="worker")
        self._keep(lost, self.last_trouble)
        cause = shortage(error) or (
            "OpenEvolve's worker process was ended from outside, as a machine without memory does; "
            "finished sizes are kept"
        )
        self._stop(f"{self.title(iteration)}: {cause}")

    def _without_program(self, iteration: int, answer: Answer, parent: str = "") -> None:
        trouble, self.last_trouble = str(answer.trouble), answer.detail
        proposal = Proposal(iteration=iteration, outcome="unusable", reason=trouble, parent=parent)
        self._keep(proposal, answer.detail)
        if answer.is_failed_call:
            reason = self._rules.observe_backend_failure(answer.detail)
            self.is_model_dead = self.is_model_dead or reason is not None
        else:
            if not answer.is_internal:
                self._tell(f"answer: {answer.detail}")
            reason = self._rules.observe_rejection("answer")
        self._stop_for(reason)

    def _with_program(self, iteration: int, result: Any, report: Report) -> None:
        child = result.child_program_dict
        program = self._hash_of(child["code"])
        score = float(child["metrics"].get("combined_score", UNTRAINED_SCORE))
        stage, why = ("", "") if score > UNTRAINED_SCORE else _refusal(report.entry, result)
        answer = report.answer
        unmatched = answer.detail if answer.unmatched else ""
        if unmatched:
            self._tell(f"answer: {answer.detail}")
        added = added_lines(report.parent, child["code"])
        earlier = self._directory.sources_before(iteration)
        trained = Proposal(
            iteration=iteration,
            outcome="trained",
            program=program,
            num_edits=answer.num_edits,
            num_unmatched=len(answer.unmatched),
            parent=self._hash_of(report.parent),
            num_lines_added=len(added),
            num_lines_again=count_re_introduced(added, earlier),
        )
        if stage in MACHINE_STAGES:
            self.last_trouble = f"{stage}: {why}"
            lost = replace(trained, outcome="machine", reason=stage)
            self._keep(lost, why, unmatched, has_verdict=report.entry is not None)
            self._count_trouble(stage, why)
            return
        self._troubles_in_a_row = 0
        is_known = program == self._initial or self._log.knows(program)
        if score > UNTRAINED_SCORE:
            is_stopped = child["metrics"].get("trained", 1.0) == 0.0
            legal: Outcome = "stopped" if is_stopped else "trained"
            kept = replace(trained, outcome="duplicate" if is_known else legal)
            self._keep(kept, answer.detail, unmatched)
            self._stop_for(self._rules.observe_trained(Standing.of_metrics(child["metrics"])))
            self._look_for_convergence()
            return
        outcome: Outcome = "duplicate" if is_known else "rejected"
        self._keep(replace(trained, outcome=outcome, reason=stage), why, unmatched)
        self._tell(f"{stage}: {why}")
        self._stop_for(self._rules.observe_rejection(stage))
        self._look_for_convergence()

    def _look_for_convergence(self) -> None:
        if not self._rules.asks_for_convergence:
            return
        entries = self._directory.history()
        initial = next((one for one in entries if one["program"] == self._initial), None)
        found = search_diversity(initial, entries, self._log.proposals)
        self._stop_for(self._rules.observe_diversity(found))

    def _count_trouble(self, stage: str, why: str) -> None:
        if stage == "set-up":
            raise ConfigError(why)
        self._troubles_in_a_row += 1
        if self._troubles_in_a_row >= MAX_TROUBLES_IN_A_ROW:
            self.is_machine_failing = True
            self._stop(
                f"{self._troubles_in_a_row} candidates in a row could not be judged; the last: "
                f"{why}"
            )

    def _keep(
        self, proposal: Proposal, detail: str, unmatched: str = "", has_verdict: bool = True
    ) -> None:
        self._log.add(proposal)
        self._listener(IterationEnded.of(proposal, detail, unmatched, has_verdict))

    def _tell(self, text: str) -> None:
        if self.feedback is not None:
            self.feedback.add(text)

    def _stop_for(self, reason: str | None) -> None:
        if reason is not None:
            self._stop(reason)

    def _hash_of(self, source: str) -> str:
        return Program(source=source, framework=self._framework).source_hash[:HASH_DIGITS]


def _refusal(entry: dict[str, Any] | None, result: Any) -> tuple[str, str]:
    """The stage that refused a program and its reason, as far as the worker could tell."""
    if entry is not None:
        return entry.get("stage", ""), entry.get("reason", "")
    artifacts = result.artifacts or {}
    if NOT_JUDGED_STAGE in artifacts:
        return artifacts[NOT_JUDGED_STAGE], artifacts[NOT_JUDGED_REASON]
    reason = artifacts.get("rejected_because")
    return "evaluation", str(reason or "OpenEvolve's own timeout or retry limit was reached")
