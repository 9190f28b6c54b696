"""Genomes: one ingredient per slot, what goes together, mutation, crossover. Pure functions.

Randomness comes only from the generator that the caller passes.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Collection
from dataclasses import dataclass

from openevolve_unified.plugin.proposer.ingredients import BY_NAME, SLOTS, choices, default_of

MAX_INGREDIENTS = 5
"""Departures from softmax attention in one program; keeps it readable and within its budget."""
MAX_DRAWS = 500
_DECAYING = frozenset(
    {"alibi", "forget_gate", "channel_decay", "tied_decay", "moving_average"}
    | {"kimi_delta", "rwkv7"}
)
_LINE_WIDTH = 80
_INGREDIENTS_LINE = re.compile(r"Ingredients:\s*([a-z0-9_,\s]+)\.")


@dataclass(frozen=True)
class Genome:
    """The ingredients of one attention mechanism in one framework, in the order of ``SLOTS``."""

    framework: str
    names: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def choice(self, slot: str) -> str:
        return self.names[SLOTS.index(slot)]

    def with_choice(self, slot: str, name: str) -> Genome:
        index = SLOTS.index(slot)
        return Genome(self.framework, (*self.names[:index], name, *self.names[index + 1 :]))

    @property
    def departures(self) -> tuple[str, ...]:
        """The ingredients that plain softmax attention does not have."""
        return tuple(n for slot, n in zip(SLOTS, self.names, strict=True) if n != default_of(slot))


@dataclass(frozen=True)
class Proposal:
    """A new genome and how it came about, in words."""

    genome: Genome
    operation: str


def softmax_genome(framework: str) -> Genome:
    """Plain softmax attention: where every search starts."""
    return Genome(framework, tuple(default_of(slot) for slot in SLOTS))


def genome_of(framework: str, departures: Collection[str]) -> Genome:
    """Softmax attention with some ingredients replaced; unknown names are ignored."""
    genome = softmax_genome(framework)
    for name in departures:
        if name in BY_NAME:
            genome = genome.with_choice(BY_NAME[name].slot, name)
    return genome


def ingredients_line(genome: Genome) -> str:
    """The line of a rendered program that its genome can be read back from."""
    text = f"Ingredients: {', '.join((genome.choice('kernel'), *_after_kernel(genome)))}."
    return "\n".join(textwrap.wrap(text, _LINE_WIDTH))


def genomes_in(text: str, framework: str) -> list[Genome]:
    """Every legal genome that is written anywhere in ``text``, in order, without repetition."""
    found = []
    for match in _INGREDIENTS_LINE.finditer(text):
        names = [name.strip() for name in match.group(1).split(",")]
        genome = genome_of(framework, names)
        if all(name in BY_NAME for name in names) and conflict(genome) is None:
            found.append(genome)
    return list(dict.fromkeys(found))


def conflict(genome: Genome) -> str | None:
    """Why these ingredients do not go together, or None."""
    for slot, name in zip(SLOTS, genome.names, strict=True):
        if name not in choices(slot, genome.framework):
            return f"{genome.framework} cannot express {name}"
    if len(genome.departures) > MAX_INGREDIENTS:
        return f"more than {MAX_INGREDIENTS} ingredients"
    if "short_memory" in genome and not _DECAYING.intersection(genome.names):
        return "short_memory without a decay says nothing"
    for name, excluded in _EXCLUDED.items():
        if name in genome:
            for other in sorted(excluded.intersection(genome.names)):
                return f"{name} excludes {other}"
    return None


def mutate(genome: Genome, rng: random.Random, num_edits: int) -> Genome:
    """Change ``num_edits`` slots to another ingredient of the same slot; always legal.

    Raises:
        RuntimeError: no legal change was found, which cannot happen with the shipped vocabulary.
    """
    open_slots = [slot for slot in SLOTS if len(choices(slot, genome.framework)) > 1]
    for _ in range(MAX_DRAWS):
        child = genome
        for slot in rng.sample(open_slots, num_edits):
            others = [n for n in choices(slot, genome.framework) if n != genome.choice(slot)]
            child = child.with_choice(slot, rng.choice(others))
        if conflict(child) is None:
            return child
    raise RuntimeError(f"no legal mutation of {genome}")


def crossover(first: Genome, second: Genome, rng: random.Random) -> Genome | None:
    """Take every slot from one parent or the other; None when no legal mix was drawn."""
    if sum(a != b for a, b in zip(first.names, second.names, strict=True)) < 2:
        return None  # between neighbours there is nothing but themselves
    for _ in range(MAX_DRAWS):
        names = tuple(rng.choice(pair) for pair in zip(first.names, second.names, strict=True))
        child = Genome(first.framework, names)
        if child not in (first, second) and conflict(child) is None:
            return child
    return None


def propose(
    current: Genome, partners: Collection[Genome], tried: Collection[Genome], rng: random.Random
) -> Proposal:
    """A legal genome that is not in ``tried``, one or two steps from ``current``.

    Args:
        partners: genomes to cross with; good ones first, as they come.
        tried: genomes that are known, ``current`` among them or not.
    """
    others = [partner for partner in partners if partner != current]
    known = {current, *tried}
    for draw in range(MAX_DRAWS):
        if others and rng.random() < 0.35:
            partner = rng.choice(others)
            child = crossover(current, partner, rng)
            operation = f"crossover with ({_describe(partner)})"
        else:
            num_edits = 1 if rng.random() < 0.7 else 2
            # The neighbourhood may be exhausted: step further out.
            num_edits = min(num_edits + draw // 100, 4)
            child = mutate(current, rng, num_edits)
            operation = "mutation"
        if child is not None and child not in known:
            return Proposal(child, f"{operation} of ({_describe(current)})")
    raise RuntimeError("every program within reach of the grammar was already tried")


def _after_kernel(genome: Genome) -> tuple[str, ...]:
    return tuple(name for name in genome.departures if BY_NAME[name].slot != "kernel")


def _describe(genome: Genome) -> str:
    return ", ".join((genome.choice("kernel"), *_after_kernel(genome)))


_SCALAR_DECAYS = frozenset({"alibi", "forget_gate"})
_NOT_WITH_A_DELTA_RULE = frozenset(
    {"qk_norm", "key_norm", "learned_temperature", "log_length", "softcap", "rope", "kerple"}
    | {"channel_decay", "tied_decay", "input_gate", "gaussian", "near_taps", "t5_buckets"}
    | {"sliding_window", "one_step_delta", "differential", "local_slope", "talking_heads"}
)
_EXCLUDED: dict[str, frozenset[str]] = {
    # A row-normalised product of features does not see a factor of the whole row.
    "elu": frozenset(
        {"learned_temperature", "log_length", "softcap", "one_step_delta", "differential"}
        | {"gaussian", "local_slope"}
    ),
    "taylor": frozenset({"gaussian", "local_slope", "differential", "softcap"}),
    "sigmoid": frozenset({"differential"}),
    "relu": frozenset({"differential", "softcap"}),
    "sink": frozenset({"differential", "local_slope"}),
    "stick_breaking": frozenset(
        {"differential", "local_slope", "gaussian", "near_taps", "kerple", "alibi", "forget_gate"}
        | {"t5_buckets", "sliding_window"}
        # Its weights already order the past: the nearest good match wins.
    ),
    # They bring keys, steps and forgetting of their own.
    "delta_rule": _NOT_WITH_A_DELTA_RULE,
    "delta_product": _NOT_WITH_A_DELTA_RULE,
    "kimi_delta": _NOT_WITH_A_DELTA_RULE | _SCALAR_DECAYS,
    "rwkv7": _NOT_WITH_A_DELTA_RULE | _SCALAR_DECAYS,
    # The learned gain is the temperature.
    "qk_norm": frozenset({"learned_temperature", "gaussian"}),
    # Equal key norms cancel from a Gaussian kernel.
    "key_norm": frozenset({"gaussian"}),
    # With a rotation or a split the transitions do not commute: no closed form. The others make the
    # per-channel product exceed the 10% of extra operations at the smallest sizes.
    "channel_decay": frozenset(
        {"rope", "differential", "stick_breaking", "moving_average", "near_taps", "toeplitz_taps"}
        | {"t5_buckets"}
    ),
    # Its keys are in (0, 1) and come with a write gate of their own; for the rest as above.
    "tied_decay": frozenset(
        {"elu", "qk_norm", "key_norm", "input_gate", "one_step_delta", "rope", "differential"}
        | {"stick_breaking", "moving_average", "near_taps", "t5_buckets", "toeplitz_taps"}
    ),
    # A truncated product of delta steps refers to keys that are not rotated or decayed by channel.
    "one_step_delta": frozenset({"rope", "channel_decay", "differential"}),
    "differential": frozenset({"rope", "talking_heads"}),
    # Scores mixed with both signs are no products of positive features; the others cost too much.
    "talking_heads": frozenset({"elu", "channel_decay", "tied_decay", "stick_breaking"}),
    # Together they exceed the 10% of extra operations at the smallest sizes.
    "local_slope": frozenset({"near_taps"}),
}
