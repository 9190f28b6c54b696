"""The diversity of a run's search, from the records of its programs and proposals alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.diversity import Diversity, Proposed, diversity
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Traits
from openevolve_unified.runs.proposals import Proposal


def search_diversity(
    initial: Mapping[str, Any] | None,
    entries: Sequence[Mapping[str, Any]],
    proposals: Sequence[Proposal],
) -> Diversity:
    """What the legal programs of a run say of its search.

    Args:
        initial: the initial program's entry of the history; None while it is not judged.
        entries: as in ``fitness_history.json``.
        proposals: as in ``proposals.json``, in their order.
    """
    return diversity(list(_legal(initial, entries, proposals)))


def _legal(
    initial: Mapping[str, Any] | None,
    entries: Sequence[Mapping[str, Any]],
    proposals: Sequence[Proposal],
) -> Iterator[Proposed]:
    if initial is not None:
        yield _proposed(initial)
    known = {entry["program"]: entry for entry in entries}
    for proposal in sorted(proposals, key=lambda one: one.iteration):
        entry = known.get(proposal.program)
        # A verdict on what was trained, or on what training showed of a program that was legal.
        if entry is not None and (entry["verdict"] == "trained" or "traits" in entry):
            yield dataclasses.replace(
                _proposed(entry),
                iteration=proposal.iteration,
                num_lines_added=proposal.num_lines_added,
                num_lines_again=proposal.num_lines_again,
            )


def _proposed(entry: Mapping[str, Any]) -> Proposed:
    is_trained = entry["verdict"] == "trained"
    return Proposed(
        program=entry["program"],
        fingerprint=entry.get("fingerprint", ""),
        traits=_traits(entry.get("traits")),
        standing=Standing.of_entry(entry) if is_trained else None,
    )


def _traits(plain: Any) -> Traits | None:
    """None in an entry of an earlier release, or one that is damaged."""
    try:
        return from_mapping(Traits, plain, "traits")
    except (ConfigError, TypeError, ValueError):
        return None
