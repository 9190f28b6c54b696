from __future__ import annotations

import ast
import random
import re

import pytest
import rendered_programs as programs

from openevolve_unified.plugin.proposer.genome import (
    MAX_INGREDIENTS,
    Genome,
    conflict,
    crossover,
    genome_of,
    genomes_in,
    mutate,
    propose,
    softmax_genome,
)
from openevolve_unified.plugin.proposer.ingredients import ALL, INGREDIENTS, SLOTS, choices
from openevolve_unified.plugin.proposer.render import framework_of, render_block


def wandering_genomes(num_genomes: int, seed: int = 0) -> list[Genome]:
    """A random walk by mutation and crossover through all three frameworks."""
    rng = random.Random(seed)
    places = {framework: softmax_genome(framework) for framework in ALL}
    genomes = []
    for step in range(num_genomes):
        framework = ALL[step % len(ALL)]
        child = mutate(places[framework], rng, rng.choice((1, 1, 2, 3)))
        genomes.append(crossover(child, places[framework], rng) or child)
        places[framework] = child
    return genomes


def test_thousands_of_genomes_render_to_readable_programs_that_keep_their_genome():
    genomes = wandering_genomes(2000)
    assert len(set(genomes)) > 1000
    for genome in genomes:
        block = render_block(genome)
        (attention,) = ast.parse(block).body
        assert isinstance(attention, ast.ClassDef)
        assert ast.get_docstring(attention)
        assert framework_of(block) == genome.framework
        assert genomes_in(block, genome.framework) == [genome]
        assert max(map(len, block.splitlines())) <= 100
        assert not re.search(r"^\s+(for|while|if) ", block, re.MULTILINE)


def test_every_ingredient_cites_a_paper_and_every_slot_starts_at_softmax_attention():
    for item in INGREDIENTS:
        year, _, number = item.source.partition(".")
        assert len(year) == 4
        assert len(number) == 5
    for framework in ALL:
        assert conflict(softmax_genome(framework)) is None
        for slot in SLOTS:
            assert choices(slot, framework)[0] == softmax_genome(framework).choice(slot)


def test_mutation_changes_exactly_the_slots_that_it_says():
    rng = random.Random(3)
    start = genome_of(ALL[0], ["forget_gate"])
    for num_edits in (1, 2, 3):
        child = mutate(start, rng, num_edits)
        assert sum(a != b for a, b in zip(start.names, child.names, strict=True)) == num_edits


def test_crossover_takes_every_slot_from_a_parent():
    first = genome_of("matrix_mixer", ["qk_norm", "forget_gate"])
    second = genome_of("matrix_mixer", ["key_shift", "toeplitz_taps"])
    child = crossover(first, second, random.Random(0))
    assert child is not None
    assert child not in (first, second)
    for slot in SLOTS:
        assert child.choice(slot) in (first.choice(slot), second.choice(slot))


def test_crossover_of_neighbours_has_nothing_new_to_offer():
    start = softmax_genome("matrix_mixer")
    assert crossover(start, genome_of("matrix_mixer", ["rope"]), random.Random(0)) is None


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["qk_norm", "learned_temperature"], "qk_norm excludes learned_temperature"),
        (["short_memory"], "says nothing"),
        (["differential"], "coefficient_dynamics cannot express differential"),
        (
            ["sink", "key_norm", "key_shift", "rope", "forget_gate", "input_gate"],
            f"more than {MAX_INGREDIENTS} ingredients",
        ),
    ],
)
def test_ingredients_that_do_not_go_together_are_refused_with_a_reason(names, reason):
    assert reason in str(conflict(genome_of("coefficient_dynamics", names)))


def test_ingredients_that_go_together_are_accepted():
    names = ["qk_norm", "key_shift", "forget_gate", "short_memory", "input_gate"]
    assert conflict(genome_of("coefficient_dynamics", names)) is None


def test_a_proposal_is_never_one_of_those_tried():
    start = softmax_genome("coefficient_dynamics")
    rng = random.Random(0)
    tried = [start]
    for _ in range(100):
        tried.append(propose(start, tried, tried, rng).genome)
    assert len(set(tried)) == len(tried)


def test_a_broken_ingredients_line_is_not_a_genome():
    assert genomes_in("Ingredients: softmax, warp_drive.", "matrix_mixer") == []
    assert genomes_in("Ingredients: differential.", "coefficient_dynamics") == []
    assert genomes_in("Ingredients: softmax,\n  rope.", "matrix_mixer") == [
        programs.genome_with("matrix_mixer", "rope")
    ]
