"""Entries of ``fitness_history.json``: what makes a mapping one, which its readers rely on.

Events carry entries too, and every worker knows the events: what weighs much is in ``history``.
"""

from __future__ import annotations

from typing import Any

_NEEDED: dict[str, type | tuple[type, ...]] = {
    "index": int,
    "program": str,
    "file": str,
    "time": str,
    "horizon": str,
    "num_proposals": int,
    "combined_score": (int, float),
}
_NEEDED_BY_VERDICT: dict[str, dict[str, type | tuple[type, ...]]] = {
    "trained": {
        "fitness": (int, float),
        "lack_of_fit": (int, float),
        "r2": (int, float),
        "losses_nats": dict,
        "num_params_non_embedding": dict,
    },
    "stopped": {"stage": str, "reason": str, "stopped_at_step": int, "saved_share": (int, float)},
    "rejected": {"stage": str, "reason": str},
    "not judged": {"stage": str, "reason": str},
}


def is_entry(entry: Any) -> bool:
    """Whether a mapping from a file has all that is read of an entry."""
    if not isinstance(entry, dict) or str(entry.get("verdict")) not in _NEEDED_BY_VERDICT:
        return False
    needed = {**_NEEDED, **_NEEDED_BY_VERDICT[str(entry["verdict"])]}
    tables = [value for name, value in entry.items() if needed.get(name) is dict]
    return (
        all(isinstance(entry.get(name), kind) for name, kind in needed.items())
        and all(isinstance(number, (int, float)) for table in tables for number in table.values())
        and _are_iterations(entry.get("iterations", []))
    )


def _are_iterations(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)
