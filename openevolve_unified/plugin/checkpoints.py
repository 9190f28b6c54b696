"""OpenEvolve's checkpoints: written whole or not at all, and read only when they are whole.

OpenEvolve writes the files of a checkpoint one by one into its place and, when it loads one, skips
the programs that it cannot read. So a run that was killed while it saved would continue without
them, or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve.database import Program

_PREFIX, _DAMAGED, _EARLIER = "checkpoint_", "damaged_", ".earlier_"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run continues from."""

    path: Path
    iteration: int


def latest_checkpoint(
    run_path: Path, tell: Callable[[str], None] = lambda text: None
) -> Checkpoint | None:
    """The newest checkpoint that is whole; newer ones that are damaged are renamed.

    Args:
        tell: hears in one line of each damaged checkpoint.
    """
    numbered = sorted(
        (int(path.name.removeprefix(_PREFIX)), path)
        for path in (run_path / "checkpoints").glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdigit()
    )
    found, damaged = None, []
    for iteration, path in reversed(numbered):
        damage = damage_of(path)
        if damage is None:
            found = Checkpoint(path=path, iteration=iteration)
            break
        damaged.append((path, damage))
    instead = (
        f"{found.path.name} is used" if found else "none is whole, so the first candidate is next"
    )
    for path, damage in damaged:
        tell(f"{path.name} is damaged ({damage}); {instead}")
        _set_aside(path)
    return found


def damage_of(path: Path) -> str | None:
    """What is wrong with the checkpoint in this folder, or None."""
    programs = path / "programs"
    name = "metadata.json"
    try:
        metadata = _read(path / name)
        iteration, number = int(metadata["last_iteration"]), path.name.removeprefix(_PREFIX)
        if number.isdigit() and iteration != int(number):
            return f"{name} is of iteration {iteration}"
        named = _programs_named(metadata)
        found = {file.stem for file in programs.glob("*.json")}
        for program_id in sorted(found | named):
            name = f"programs/{program_id}.json"
            Program.from_dict(_read(programs / f"{program_id}.json"))
    except FileNotFoundError:
        return f"{name} is missing"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return f"{name} cannot be read: {type(error).__name__}"
    return None


def save_whole(save: Callable[[int], None], run_path: Path, iteration: int) -> None:
    """Have OpenEvolve save a checkpoint; if it cannot, what was in its place before stays.

    Args:
        save: OpenEvolve's own, which writes to ``checkpoints/checkpoint_<iteration>``.

    Raises:
        OSError: it cannot be written.
    """
    path = run_path / "checkpoints" / f"{_PREFIX}{iteration}"
    earlier = path.with_name(_EARLIER + path.name)
    shutil.rmtree(earlier, ignore_errors=True)
    if path.exists():
        path.rename(earlier)
    try:
        save(iteration)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        if earlier.exists():
            earlier.rename(path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise TypeError(f"got a {type(value).__name__}, wanted a mapping")
    return value


def _programs_named(metadata: dict[str, Any]) -> set[str]:
    """The programs of the islands, which must be there; OpenEvolve cares for the other lists.

    Raises:
        ValueError, TypeError, KeyError: this is no population.
    """
    named = {program_id for island in metadata["islands"] for program_id in island}
    if not named:
        raise ValueError("no program")
    return named


def _set_aside(path: Path) -> None:
    """Out of the way of what the continued run will save under this name."""
    target = path.with_name(_DAMAGED + path.name)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(path, target)
