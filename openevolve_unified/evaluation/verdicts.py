"""Verdicts in the store: what has been found out about a program is not found out again."""

from __future__ import annotations

import dataclasses

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Failure
from openevolve_unified.store import Store

_KIND = "evaluations"


def keep_verdict(store: Store, key: str, result: Evaluation | Failure) -> None:
    """Save a verdict.

    Raises:
        ConfigError: the store cannot be written.
    """
    kept = dataclasses.replace(result, cached=False) if isinstance(result, Evaluation) else result
    store.put(_KIND, key, {type(kept).__name__: to_plain(kept)})


def kept_verdict(store: Store, key: str) -> Evaluation | Failure | None:
    """The verdict of ``key``; None for none, and for one that another version wrote."""
    stored = store.get(_KIND, key) or {}
    try:
        if "Evaluation" in stored:
            evaluation = from_mapping(Evaluation, stored["Evaluation"], "evaluation")
            return dataclasses.replace(evaluation, cached=True)
        if "Failure" in stored:
            return from_mapping(Failure, stored["Failure"], "failure")
    except ConfigError:
        return None
    return None
