"""Diversity and convergence of a search: how far apart its legal programs lie, and what the latest
ones still brought.

A program is of a new function class when its outputs are further than ``distance.SAME_FUNCTION``
from those of every earlier program. A search has converged after a number of legal proposals in a
row of which none was of a new class and none was better than the best before it, by the rule of
``compare``, which is where noise enters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openevolve_unified.judgement.compare import Standing, best_of, compare
from openevolve_unified.judgement.distance import (
    SAME_FUNCTION,
    operator_distance,
    output_distance,
)
from openevolve_unified.judgement.ingredients import ingredients_of
from openevolve_unified.records import Traits

NUM_RECENT = 10
"""Programs: is the search still as wide as it was?"""


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A program that passed every check before training; one that is proposed again comes again."""

    program: str
    """The first digits of its hash."""
    iteration: int | None = None
    """None for the initial program, which comes first."""
    fingerprint: str = ""
    traits: Traits | None = None
    """None where an earlier release judged it: nothing is concluded from it then."""
    standing: Standing | None = None
    """None for one without a score."""
    num_lines_added: int = 0
    """That its parent did not have."""
    num_lines_again: int = 0
    """Of those: that an earlier program had."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one legal proposal brought."""

    iteration: int | None
    program: str
    is_new_class: bool | None
    """None: its traits are not known."""
    is_better: bool
    """Than the best before it, beyond noise."""
    nearest_by_operators: float | None
    """Distance to the nearest earlier program, 0 to 1; None for the first one."""
    nearest_by_outputs: float | None
    num_lines_added: int
    num_lines_again: int


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far programs lie apart: means over their pairs, 0 to 1; None for fewer than two."""

    by_operators: float | None
    by_outputs: float | None


@dataclass(frozen=True, kw_only=True)
class IngredientUse:
    """What a search did with one kind of operators; see ``ingredients``."""

    name: str
    is_in_initial: bool
    num_programs: int
    """Distinct legal programs that have it, the initial one apart."""
    num_better: int
    """Those that are better than the initial program."""
    is_kept: bool
    """The best program has it."""


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """What a search has looked at."""

    num_programs: int
    """Distinct legal texts, the initial one among them."""
    num_fingerprints: int
    """Of those: programs that would train differently."""
    num_classes: int
    """Of those: programs that compute something else."""
    spread: Spread
    """Of all distinct programs."""
    recent: Spread
    """Of the last ``NUM_RECENT``."""
    ingredients: tuple[IngredientUse, ...]
    num_lines_added: int
    """By all legal proposals together."""
    num_lines_again: int
    steps: tuple[Step, ...]
    num_stale: int
    """Legal proposals since the last one that brought a new class or an improvement."""


def diversity(proposed: Sequence[Proposed]) -> Diversity:
    """The diversity of what was proposed, in order; the initial program is the first."""
    first_by_program = {one.program: one for one in reversed(proposed)}
    firsts = [first_by_program[name] for name in dict.fromkeys(one.program for one in proposed)]
    known = [one.traits for one in firsts if one.traits is not None]
    steps = _steps(proposed)
    stale = itertools.takewhile(
        lambda step: step.is_new_class is False and not step.is_better, reversed(steps)
    )
    return Diversity(
        num_programs=len(firsts),
        num_fingerprints=len({one.fingerprint for one in firsts if one.fingerprint}),
        num_classes=sum(step.is_new_class is True for step in steps),
        spread=_spread(known),
        recent=_spread(known[-NUM_RECENT:]),
        ingredients=_uses(firsts),
        num_lines_added=sum(step.num_lines_added for step in steps),
        num_lines_again=sum(step.num_lines_again for step in steps),
        steps=steps,
        num_stale=len(list(stale)),
    )


def converged(found: Diversity, num_proposals: int) -> str | None:
    """Why the search has converged by the rule of ``num_proposals``; None while it has not."""
    if found.num_stale < num_proposals:
        return None
    return (
        f"the last {found.num_stale} legal proposals brought no new function class (outputs that "
        f"differ by more than {SAME_FUNCTION:g} from all before) and no improvement beyond noise"
    )


def _steps(proposed: Sequence[Proposed]) -> tuple[Step, ...]:
    steps: list[Step] = []
    before: dict[str, Traits] = {}
    best: Standing | None = None
    for one in proposed:
        others = [traits for name, traits in before.items() if name != one.program]
        by_operators = _nearest(one.traits, others, operator_distance)
        by_outputs = _nearest(one.traits, others, output_distance)
        is_new = None if one.traits is None else one.program not in before
        if is_new and by_outputs is not None:
            is_new = by_outputs > SAME_FUNCTION
        is_better = one.standing is not None and (
            best is None or compare(one.standing, best).is_better
        )
        if is_better:
            best = one.standing
        if one.traits is not None:
            before[one.program] = one.traits
        steps.append(
            Step(
                iteration=one.iteration,
                program=one.program,
                is_new_class=is_new,
                is_better=is_better and len(steps) > 0,
                nearest_by_operators=by_operators,
                nearest_by_outputs=by_outputs,
                num_lines_added=one.num_lines_added,
                num_lines_again=one.num_lines_again,
            )
        )
    return tuple(steps)


def _nearest(
    own: Traits | None, others: Sequence[Traits], distance: Callable[[Traits, Traits], float]
) -> float | None:
    if own is None or not others:
        return None
    return min(distance(own, other) for other in others)


def _spread(programs: Sequence[Traits]) -> Spread:
    pairs = list(itertools.combinations(programs, 2))
    if not pairs:
        return Spread(by_operators=None, by_outputs=None)
    return Spread(
        by_operators=sum(operator_distance(*pair) for pair in pairs) / len(pairs),
        by_outputs=sum(output_distance(*pair) for pair in pairs) / len(pairs),
    )


def _uses(programs: Sequence[Proposed]) -> tuple[IngredientUse, ...]:
    """Of every ingredient that some program has."""
    if not programs:
        return ()
    has = {
        one.program: ingredients_of(one.traits.bigrams) if one.traits is not None else ()
        for one in programs
    }
    initial, *candidates = programs
    scored = [one for one in programs if one.standing is not None]
    best = best_of(scored, _standing)
    names = dict.fromkeys(name for one in programs for name in has[one.program])
    return tuple(
        IngredientUse(
            name=name,
            is_in_initial=name in has[initial.program],
            num_programs=sum(name in has[one.program] for one in candidates),
            num_better=sum(name in has[one.program] and _beats(one, initial) for one in candidates),
            is_kept=best is not None and name in has[best.program],
        )
        for name in names
    )


def _standing(one: Proposed) -> Standing:
    assert one.standing is not None
    return one.standing


def _beats(one: Proposed, initial: Proposed) -> bool:
    if one.standing is None or initial.standing is None:
        return False
    return compare(one.standing, initial.standing).is_better
