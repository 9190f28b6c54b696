"""What became of every iteration of a run: one record each, so that the counts add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openevolve_unified.plain.files import write_json

Outcome = Literal["trained", "rejected", "duplicate", "unusable", "machine"]
OUTCOME_WORDS: dict[Outcome, str] = {
    "trained": "trained",
    "rejected": "rejected",
    "duplicate": "proposed before",
    "unusable": "without a usable program",
    "machine": "lost to trouble of the machine",
}
_FILE = "proposals.json"


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

    @property
    def has_program(self) -> bool:
        return bool(self.program)


class ProposalLog:
    """The records of a run, in its folder: one an iteration, also when ``--resume`` asks again."""

    def __init__(self, run_path: Path):
        self.path = run_path / _FILE
        self.is_damaged = False
        self.proposals: list[Proposal] = []
        self._stale: set[int] = set()
        try:
            records = json.loads(self.path.read_text(encoding="utf-8"))
            self.proposals = [Proposal(**record) for record in records]
        except FileNotFoundError:
            pass
        except (ValueError, TypeError):
            self.is_damaged = True

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


def count_lines(proposals: Sequence[Proposal]) -> list[tuple[str, str]]:
    """The counts of a run as (heading, text) lines; the outcomes add up to what was asked for."""
    outcomes = Counter(proposal.outcome for proposal in proposals)
    parts = [
        f"{outcomes[outcome]} {words}"
        for outcome, words in OUTCOME_WORDS.items()
        if outcomes[outcome] or outcome == "trained"
    ]
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
