"""The rounding twin: a traced candidate that computes the same function and rounds differently.

Its mechanism's output is multiplied and divided by one number. Trained with the same seed it shows
what chaos alone does to a loss: the smallest difference that any two programs can be told apart by.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save

from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.plain.files import write_bytes

FACTOR = 0.7
"""Not a power of two, which would be exact, nor 3, by which float numbers divide back exactly."""


def write_rounding_twin(trace: Path, twin: Path) -> None:
    """Write the twin of the traced candidate in ``trace`` to ``twin``, initial values and all.

    What is written is checked like any other trace when it is loaded.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    with safe_open(trace, framework="numpy") as file:
        description = json.loads(file.metadata()[layout.METADATA_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for size in description["sizes"]:
        for traced in size["programs"]:
            _scale_and_back(traced["program"])
            traced["lines"] = []  # the new operators stand in no line of the source
    metadata = {layout.METADATA_KEY: json.dumps(description, separators=(",", ":"))}
    write_bytes(twin, save(tensors, metadata))


def _scale_and_back(program: dict[str, Any]) -> None:
    for operator in ("aten.mul.Tensor", "aten.div.Tensor"):
        program["nodes"].append([operator, [program["output"], FACTOR], {}])
        program["output"] = {"n": len(program["nodes"]) - 1}
