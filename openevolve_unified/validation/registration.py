"""The registration: the whole plan of a validation, fixed before its first job.

``registration.json`` is written once and hashed, with what was declared at that moment; results are
only ever reported under it. Whoever changes the plan afterwards declares it: ``deviations.json``
has each declaration with the plan that it led to, every one bound to the one before by its hash.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.plain.files import write_json

REGISTRATION, DEVIATIONS = "registration.json", "deviations.json"
AT_ONCE = "declared when the plan was registered"


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A declared change of the plan."""

    text: str
    """The reason, as it was given."""
    changed: tuple[str, ...]
    """Each as ``name: THERE -> HERE``."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The plan that results are reported under."""

    plan: dict[str, Any]
    power: dict[str, Any]
    """What the plan can find, by the noise that was measured when it was registered."""
    registered_at: str
    hash: str
    """Of the registration file; worth keeping elsewhere too."""
    deviations: tuple[Deviation, ...] = ()

    @property
    def plan_hash(self) -> str:
        return content_hash(self.plan)


def read_registration(folder: Path) -> Registration | None:
    """What is registered in a folder with all that was declared since; None where nothing is.

    Raises:
        ConfigError: a file was edited, is damaged or is not there although others need it.
    """
    path = folder / REGISTRATION
    if not path.exists():
        if (folder / DEVIATIONS).exists():
            raise ConfigError(
                f"{folder}: it has deviations but no {REGISTRATION}, so nobody can say from what; "
                "put the file back, or validate into another folder (--output)"
            )
        return None
    written = _read(path)
    _require_unchanged(path, written)
    plan, previous = written["plan"], written["hash"]
    deviations = [_deviation(entry) for entry in written.get("deviations", [])]
    if (folder / DEVIATIONS).exists():
        for entry in _read(folder / DEVIATIONS)["deviations"]:
            _require_unchanged(folder / DEVIATIONS, entry)
            if entry["previous"] != previous:
                raise ConfigError(
                    f"{folder / DEVIATIONS}: a deviation is missing or out of order; put the file "
                    "back as it was written, or validate into another folder (--output)"
                )
            plan, previous = entry["plan"], entry["hash"]
            deviations.append(_deviation(entry))
    return Registration(
        plan=plan,
        power=written["power"],
        registered_at=written["registered_at"],
        hash=written["hash"],
        deviations=tuple(deviations),
    )


def register(
    folder: Path, plan: Mapping[str, Any], power: Mapping[str, Any], deviation: str | None
) -> Registration:
    """Register a plan, or find it registered.

    Args:
        deviation: the reason why the plan differs from the one that is registered.

    Raises:
        ConfigError: another plan is registered and no deviation is declared, one is declared where
            nothing differs or without a reason, or see ``read_registration``.
    """
    plan, now = (
        dict(to_plain(plan)),
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    if deviation is not None and not deviation.strip():
        raise ConfigError("--deviation: got no text, wanted the reason for the change")
    known = read_registration(folder)
    if known is None:
        entry = {
            "registered_at": now,
            "plan": plan,
            "power": to_plain(power),
            # In this file: a kill must not leave a plan without what was declared of it.
            "deviations": [] if deviation is None else [{"text": deviation, "changed": [AT_ONCE]}],
        }
        write_json(folder / REGISTRATION, {**entry, "hash": content_hash(entry)})
    elif changed := differences(known.plan, plan):
        if deviation is None:
            raise ConfigError(
                f"{folder / REGISTRATION}: another plan is registered: {'; '.join(changed)}; "
                "validate into another folder (--output), or declare the change and its reason "
                "(--deviation TEXT), which is printed with every result"
            )
        _declare(folder, known, plan, changed, deviation, now)
    elif deviation is not None and deviation not in {d.text for d in known.deviations}:
        raise ConfigError(
            f"--deviation: the plan in {folder / REGISTRATION} is followed as it is; leave it out"
        )
    registered = read_registration(folder)
    assert registered is not None
    return registered


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, ...]:
    """By dotted name, what two plans have different, each as ``name: THERE -> HERE``."""
    first, second = _flat(there), _flat(here)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return tuple(
        f"{name}: {_shown(first.get(name))} -> {_shown(second.get(name))}" for name in names
    )


def _declare(
    folder: Path,
    known: Registration,
    plan: dict[str, Any],
    changed: tuple[str, ...],
    text: str,
    now: str,
) -> None:
    path = folder / DEVIATIONS
    entries = _read(path)["deviations"] if path.exists() else []
    entry = {
        "previous": entries[-1]["hash"] if entries else known.hash,
        "declared_at": now,
        "text": text,
        "changed": list(changed),
        "plan": plan,
    }
    write_json(path, {"deviations": [*entries, {**entry, "hash": content_hash(entry)}]})


def _deviation(entry: Mapping[str, Any]) -> Deviation:
    return Deviation(text=entry["text"], changed=tuple(entry["changed"]))


def _require_unchanged(path: Path, entry: Mapping[str, Any]) -> None:
    rest = {name: value for name, value in entry.items() if name != "hash"}
    if content_hash(rest) != entry.get("hash"):
        raise ConfigError(
            f"{path}: it was edited after it was written (its hash does not fit); put it back, or "
            "validate into another folder (--output) and declare the change there"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    raise ConfigError(f"{path}: cannot be read as a registration; put it back as it was written")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    found = {}
    for key, item in value.items():
        found.update(_flat(item, f"{name}.{key}" if name else str(key)))
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
