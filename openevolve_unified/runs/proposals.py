"""Proposals: one record for every iteration of a run, so that the counts add up."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openevolve_unified.plain.files import disk_errors, write_json

Outcome = Literal["trained", "stopped", "rejected", "duplicate", "unusable", "machine"]
OUTCOME_WORDS: dict[Outcome, str] = {
    "trained": "trained",
    "stopped": "stopped early",
    "rejected": "rejected",
    "duplicate": "proposed before",
    "unusable": "without a usable program",
    "machine": "lost to trouble of the machine",
}
FAILED_CALL = "failed call"
INTERNAL_ERROR = "an error inside OpenEvolve"
"""Reasons of a proposal that is unusable through no fault of the answer."""
_OUTCOMES: dict[str, tuple[Outcome, Outcome]] = {
    "trained": ("trained", "duplicate"),
    "stopped": ("stopped", "duplicate"),
    "rejected": ("rejected", "duplicate"),
    "not judged": ("machine", "machine"),
}
"""By the verdict in the history: of the first iteration with a program, and of the next ones."""
_FILE = "proposals.json"
_TEXTS = ("outcome", "reason", "program", "parent")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One iteration and its one outcome."""

    iteration: int
    outcome: Outcome
    reason: str = ""
    """The stage that refused it, or what was wrong with the answer, in a word or two."""
    program: str = ""
    """The first digits of the program's hash, where there was one."""
    num_edits: int = 0
    num_unmatched: int = 0
    """Edits whose SEARCH text the parent did not hold, in an answer that gave a program."""
    parent: str = ""
    """The first digits of the hash of the program that was to be edited."""
    num_lines_added: int = 0
    """Lines of code that the parent did not have."""
    num_lines_again: int = 0
    """Those of them that an earlier program of the run had."""


class ProposalLog:
    """The records of a run, in its folder: one an iteration, also when ``--resume`` asks again."""

    def __init__(self, run_path: Path):
        self.path = run_path / _FILE
        self.is_damaged = False
        self.proposals: list[Proposal] = []
        self._stale: set[int] = set()
        try:
            records = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:
            records = None
        self.is_damaged = not isinstance(records, list)
        for record in records if isinstance(records, list) else ():
            proposal = _read_proposal(record)
            if proposal is None:
                self.is_damaged = True
            else:
                self.proposals.append(proposal)

    def repair(self, entries: Sequence[dict[str, Any]]) -> str | None:
        """Write a file that is damaged or missing anew; the damaged one is kept beside it.

        Args:
            entries: of the run's history, which knows the iterations of every program.

        Returns:
            What was wrong and what is there now, in one line; None for a file in order.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        known = {proposal.iteration for proposal in self.proposals}
        rebuilt = [p for p in proposals_of(entries) if p.iteration not in known]
        is_missing = not self.path.exists()
        if not (self.is_damaged or (is_missing and rebuilt)):
            return None
        trouble = f"{_FILE} is missing"
        if not is_missing:
            kept = self.path.with_name(f"damaged_{_FILE}")
            with disk_errors(self.path):
                self.path.replace(kept)
            trouble = f"{_FILE} is damaged and is now {kept.name}"
        self.proposals = sorted([*self.proposals, *rebuilt], key=lambda p: p.iteration)
        self.is_damaged = False
        write_json(self.path, self.proposals)
        return (
            f"{trouble}: the counts keep {len(known)} of its records and {len(rebuilt)} from the "
            "history, which does not know the answers without a program"
        )

    def continue_after(self, num_done: int) -> None:
        """What came of later iterations is not in the checkpoint: they will be asked again."""
        self._stale = {p.iteration for p in self.proposals if p.iteration > num_done}

    def add(self, proposal: Proposal) -> None:
        """Keep a record, in the place of an earlier one of the same iteration.

        Raises:
            ConfigError: the disk is full or the folder cannot be written.
        """
        self._stale.discard(proposal.iteration)
        self.proposals = [p for p in self.proposals if p.iteration != proposal.iteration]
        self.proposals.append(proposal)
        write_json(self.path, self.proposals)

    def knows(self, program: str) -> bool:
        """Whether a program of this hash was judged before; a machine's trouble is no verdict, and
        what is going to be asked again was not yet."""
        return any(
            p.program == program and p.outcome != "machine" and p.iteration not in self._stale
            for p in self.proposals
        )


def proposals_of(entries: Sequence[dict[str, Any]]) -> list[Proposal]:
    """What a run's history says of its iterations; answers without a program are not in it."""
    proposals = []
    for entry in entries:
        iterations = entry.get("iterations", [])
        was_tried_before = entry["num_proposals"] > len(iterations)  # the initial program was
        first, again = _OUTCOMES[entry["verdict"]]
        for place, iteration in enumerate(iterations):
            outcome = again if place or was_tried_before else first
            reason = entry.get("stage", "")
            proposals.append(
                Proposal(
                    iteration=iteration, outcome=outcome, reason=reason, program=entry["program"]
                )
            )
    return sorted(proposals, key=lambda proposal: proposal.iteration)


def count_lines(proposals: Sequence[Proposal]) -> list[tuple[str, str]]:
    """The counts of a run as (heading, text) lines; the outcomes add up to what was asked for."""
    outcomes = Counter(proposal.outcome for proposal in proposals)
    parts = [
        f"{outcomes[outcome]} {words}"
        for outcome, words in OUTCOME_WORDS.items()
        if outcomes[outcome] or outcome == "trained"
    ]
    others = len(proposals) - sum(outcomes[outcome] for outcome in OUTCOME_WORDS)
    if others:
        parts.append(f"{others} with an outcome that this release does not know")
    lines = [("candidates", f"{len(proposals)} asked for: {', '.join(parts)}")]
    for heading, outcome in (("unusable", "unusable"), ("rejected", "rejected")):
        reasons = Counter(p.reason for p in proposals if p.outcome == outcome)
        if reasons:
            lines.append((heading, ", ".join(f"{n} {why}" for why, n in reasons.most_common())))
    partial = [proposal for proposal in proposals if proposal.num_unmatched]
    if partial:
        lost = sum(proposal.num_unmatched for proposal in partial)
        asked = sum(proposal.num_edits for proposal in partial)
        lines.append(
            ("edits", f"{lost} of {asked} matched nothing in {len(partial)} of the programs")
        )
    return lines


def _read_proposal(record: Any) -> Proposal | None:
    """A record without the fields of another release; None when it is none."""
    if not isinstance(record, dict):
        return None
    fields = {field.name for field in dataclasses.fields(Proposal)}
    values = {name: value for name, value in record.items() if name in fields}
    kinds = {name: str if name in _TEXTS else int for name in values}
    if not all(isinstance(value, kinds[name]) for name, value in values.items()):
        return None
    try:
        return Proposal(**values)
    except TypeError:
        return None
