"""A validation's folder, read tolerantly: registration, judgement, and what belongs to them.

The experiment record tells what is there and says what is not, so a file that is missing or damaged
is a trouble that is told, never an error, and a name is looked for at any depth.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.validation.record import RECORD
from openevolve_unified.validation.registration import DEVIATIONS, REGISTRATION

REPLAY, REPLAY_SUFFIX = "replay.json", "-replay"
"""What ``replay FINDING`` leaves, and where: in ``FINDING-replay``."""
OTHERS = ("ablation.json", REPLAY, "comparison.json", "ensemble.json")
"""What further commands leave, in the same folder or in the run's."""


@dataclass(frozen=True, kw_only=True)
class ValidationFiles:
    """What a validation left."""

    folder: Path
    registration: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    declared: Mapping[str, Any] | None
    """Deviations, each with the plan that it led to."""
    others: Mapping[str, Mapping[str, Any]]
    """By file name."""
    troubles: tuple[str, ...]
    """One line for each file that is missing or damaged."""

    @property
    def judgement(self) -> Mapping[str, Any]:
        """The mapping that has the verdict; empty where there is none."""
        found = find_mapping_with(self.result, "verdict")
        return {} if found is None else found

    @property
    def verdict(self) -> str | None:
        """``improved``, ``equal within the margin``, ``worse`` or ``inconclusive``."""
        value = self.judgement.get("verdict")
        return value if isinstance(value, str) else None

    @property
    def sentence(self) -> str:
        """Of its verdict, with error and horizon; criteria that are not met are told beside it."""
        text = str(self.judgement.get("sentence") or self.verdict)
        text = text.partition("; not met:")[0]
        horizon = find(self.result, "horizon")
        return f"{text[0].upper()}{text[1:]}{f' [{horizon[1]}]' if horizon else ''}."

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """The mappings in a list of the judgement: ``tests``, ``estimates``, ``criteria_met``."""
        value = self.judgement.get(name)
        if isinstance(value, Mapping):
            value = [
                {"name": key, **(item if isinstance(item, Mapping) else {"value": item})}
                for key, item in value.items()
            ]
        return [row for row in value or () if isinstance(row, Mapping)] if value else []

    def row(self, name: str, row: str) -> Mapping[str, Any] | None:
        """The one of ``rows`` that is called ``row``."""
        return next((found for found in self.rows(name) if found.get("name") == row), None)

    @property
    def evolved(self) -> str | None:
        """The hash of the program that the registration, or the last declared plan, is about."""
        plans = [find(part, "plan") for part in (self.registration, *self._declarations())]
        arms = [find_mapping_with(plan[1], "evolved") for plan in plans if plan is not None]
        evolved = (arms[-1] or {}).get("evolved") if arms else None
        value = evolved.get("program") if isinstance(evolved, Mapping) else None
        return value if isinstance(value, str) else None

    @property
    def is_sealed(self) -> bool | None:
        """Whether the registration's own hash fits it; None where it has none."""
        written = self.registration
        if written is None or "hash" not in written:
            return None
        rest = {name: value for name, value in written.items() if name != "hash"}
        return content_hash(rest) == written["hash"]

    @property
    def is_under_plan(self) -> bool | None:
        """Whether the result names a plan that was registered or declared; None without a name."""
        named = find(self.result, "plan_hash")
        plans = [find(part, "plan") for part in (self.registration, *self._declarations())]
        if named is None or not any(plans):
            return None
        return named[1] in [content_hash(plan[1]) for plan in plans if plan is not None]

    @property
    def deviations(self) -> list[str]:
        """What was done otherwise than registered, a line each; empty where none is declared."""
        found = find(self.result, "deviations")
        value = found[1] if found else self._declarations()
        if isinstance(value, Mapping):
            value = list(value.items())
        items = [value] if not isinstance(value, Sequence) or isinstance(value, str) else value
        return [_deviation(item) for item in items if item]

    def job_keys(self) -> set[str]:
        """Of every model that the result names, tuning included."""
        found: set[str] = set()
        waiting: deque[Any] = deque([self.result])
        while waiting:
            value = waiting.popleft()
            if isinstance(value, Mapping):
                waiting.extend(value.values())
                found.update([value["job_key"]] if isinstance(value.get("job_key"), str) else [])
            elif isinstance(value, Sequence) and not isinstance(value, str):
                waiting.extend(value)
        return found

    def _declarations(self) -> list[Mapping[str, Any]]:
        files = (self.registration or {}, self.declared or {})
        lists = [value for file in files if isinstance(value := file.get("deviations"), list)]
        return [item for value in lists for item in value if isinstance(item, Mapping)]


def _deviation(item: Any) -> str:
    if isinstance(item, Mapping) and isinstance(item.get("text"), str):
        changed = item.get("changed") or ()
        return f"{item['text']} ({'; '.join(map(str, changed))})" if changed else item["text"]
    return item if isinstance(item, str) else json.dumps(item)


def read_validation(folder: Path) -> ValidationFiles:
    """Read a folder, whatever is in it."""
    troubles: list[str] = []
    names = (REGISTRATION, RECORD, DEVIATIONS, *OTHERS)
    read = {name: _read(folder / name, troubles) for name in names}
    for name in (REGISTRATION, RECORD):
        if not (folder / name).exists():
            troubles.append(f"{name} is missing in {folder.name}")
    return ValidationFiles(
        folder=folder,
        registration=read[REGISTRATION],
        result=read[RECORD],
        declared=read[DEVIATIONS],
        others={name: value for name in OTHERS if (value := read[name]) is not None},
        troubles=tuple(troubles),
    )


def find(mapping: Mapping[str, Any] | None, *names: str) -> tuple[str, Any] | None:
    """The dotted place and the value of the first of ``names`` that a mapping holds.

    The nearest to its top is found first, and names in their order; empty values count as missing.
    """
    for name in names:
        for place, value in _walk(mapping):
            if place.rpartition(".")[2] == name and value not in (None, "", [], {}):
                return place, value
    return None


def find_mapping_with(mapping: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    """The mapping nearest to the top that holds ``name``."""
    if mapping is not None and name in mapping:
        return mapping
    for _, value in _walk(mapping):
        if isinstance(value, Mapping) and name in value:
            return value
    return None


def _walk(mapping: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    waiting = deque([("", mapping or {})])
    while waiting:
        prefix, level = waiting.popleft()
        for key, value in level.items():
            place = f"{prefix}{key}"
            found.append((place, value))
            if isinstance(value, Mapping):
                waiting.append((f"{place}.", value))
    return found


def _read(path: Path, troubles: list[str]) -> Mapping[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        troubles.append(f"{path.name} is damaged")
        return None
    return value
