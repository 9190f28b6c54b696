"""The cells of OpenEvolve's feature map, as far as an evaluation needs them: whose place is it?

OpenEvolve finds a program's cell when it joins, in the main process; the evaluation that has to
know its rival before that runs in a worker. So the map goes along with the iteration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openevolve_unified.records import Program

if TYPE_CHECKING:
    from openevolve.database import ProgramDatabase

HASH_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One axis of the map: its name, its number of bins, and the range seen so far."""

    name: str
    num_bins: int
    low: float | None
    """None before any program."""
    high: float | None

    def bin_of(self, value: float) -> int:
        """Where OpenEvolve's min-max scaling puts a program, which widens the range itself."""
        low = value if self.low is None else min(self.low, value)
        high = value if self.high is None else max(self.high, value)
        scaled = 0.5 if high == low else (value - low) / (high - low)
        return max(0, min(self.num_bins - 1, int(scaled * self.num_bins)))


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The map of one island: hashes of its elites by cell."""

    dimensions: tuple[Dimension, ...]
    elites: Mapping[str, str]

    def elite_of(self, metrics: Mapping[str, float], code: str) -> str | None:
        """The hash of the program whose cell a newcomer would join; None where it is free, or not
        known: ``diversity`` and ``score`` depend on what only the main process has."""
        values = {"complexity": float(len(code)), **metrics}
        if any(axis.name not in values for axis in self.dimensions):
            return None
        key = "-".join(str(axis.bin_of(values[axis.name])) for axis in self.dimensions)
        return self.elites.get(key)


def cells_of(database: ProgramDatabase, island: int | None) -> Cells:
    """The map of an island as it is now; None: of the one in turn."""
    place = database.current_island if island is None else island
    grid = database.island_feature_maps[place % len(database.island_feature_maps)]
    dimensions = []
    for name in database.config.feature_dimensions:
        stats = database.feature_stats.get(name, {})
        dimensions.append(
            Dimension(
                name=name,
                num_bins=database.feature_bins_per_dim.get(name, database.feature_bins),
                low=stats.get("min"),
                high=stats.get("max"),
            )
        )
    if database.feature_scaling_method != "minmax":
        return Cells(dimensions=tuple(dimensions), elites={})
    elites = {
        key: hash_of(database.programs[program_id].code)
        for key, program_id in grid.items()
        if program_id in database.programs
    }
    return Cells(dimensions=tuple(dimensions), elites=elites)


def hash_of(code: str) -> str:
    """As in the history and in the names of its files."""
    return Program(source=code, framework="").source_hash[:HASH_DIGITS]
