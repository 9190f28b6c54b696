"""Random programs of the grammar: distinct, reproducible, and within the notation."""

from __future__ import annotations

import itertools

import pytest
from tiny_ladder import ROOT

from openevolve_unified.candidate.source.block import require_same_outside
from openevolve_unified.notations import FRAMEWORKS
from openevolve_unified.plugin.proposer.genome import genomes_in, softmax_genome
from openevolve_unified.plugin.proposer.random_programs import MAX_EDITS, random_programs


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_programs_are_distinct_legal_and_the_same_for_the_same_seed(framework):
    initial = (ROOT / "initial_programs" / f"{framework}.py").read_text()

    def drawn(seed):
        return list(itertools.islice(random_programs(initial, framework, seed), 40))

    found = drawn(1)
    assert found == drawn(1)
    assert found != drawn(2)
    genomes = [genomes_in(source, framework) for source in found]
    assert all(len(own) == 1 for own in genomes), "each says what it is made of"
    kinds = {own[0] for own in genomes}
    assert len(kinds) == 40
    assert softmax_genome(framework) not in kinds
    assert all(1 <= len(genome.departures) <= MAX_EDITS for genome in kinds)
    for source in found:
        require_same_outside(source, initial)
