"""The feature map that goes along with an iteration: OpenEvolve's own cells, found beforehand."""

from __future__ import annotations

import random

import pytest
from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase

from openevolve_unified.plugin.cells import cells_of, hash_of


def member(number, metrics):
    return Program(id=str(number), code=f"number = {number}\n" * (number + 1), metrics=metrics)


@pytest.mark.parametrize(
    "names", [["lookback", "log10_operators"], ["complexity", "lookback"], ["lookback"]]
)
def test_a_newcomer_is_found_in_the_cell_that_openevolve_puts_it_in(names):
    database = ProgramDatabase(
        DatabaseConfig(num_islands=1, feature_dimensions=names, feature_bins=4, log_prompts=False)
    )
    draw, num_met = random.Random(0), 0
    for number in range(60):
        values = {
            "combined_score": 0.0,
            "lookback": draw.random(),
            "log10_operators": draw.random(),
        }
        program = member(number, values)
        found = cells_of(database, None).elite_of(values, program.code)
        before = dict(database.island_feature_maps[0])
        codes = {key: database.programs[elite].code for key, elite in before.items()}
        database.add(program)
        coordinates = database._calculate_feature_coords(program)
        code = codes.get(database._feature_coords_to_key(coordinates))
        assert found == (None if code is None else hash_of(code))
        num_met += found is not None
    assert num_met > 10


def test_what_only_the_main_process_knows_gives_no_rival():
    database = ProgramDatabase(
        DatabaseConfig(num_islands=1, feature_dimensions=["diversity"], log_prompts=False)
    )
    database.add(member(0, {"combined_score": 0.0}))
    assert cells_of(database, None).elite_of({"lookback": 1.0}, "x") is None
