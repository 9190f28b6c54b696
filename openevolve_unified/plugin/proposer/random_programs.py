"""Random programs of the grammar: drawn, not bred; the control arm for selection."""

from __future__ import annotations

import random
from collections.abc import Iterator

from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.plugin.proposer.genome import MAX_DRAWS, mutate, softmax_genome
from openevolve_unified.plugin.proposer.render import render_block

MAX_EDITS = 4
"""As far from softmax attention as one step of the evolving proposer can lead."""


def random_programs(initial_source: str, framework: str, seed: int) -> Iterator[str]:
    """Distinct legal programs without end, each softmax attention with one to four changes.

    Raises:
        RuntimeError: the grammar is exhausted.
    """
    rng = random.Random(seed)
    split = split_block(initial_source)
    start = softmax_genome(framework)
    known = {start}
    failures = 0
    while failures < MAX_DRAWS:
        genome = mutate(start, rng, rng.randint(1, MAX_EDITS))
        failures += 1
        if genome not in known:
            known.add(genome)
            failures = 0
            yield f"{split.before}{render_block(genome)}\n\n\n{split.after}"
    raise RuntimeError("every program within reach of the grammar was already drawn")
