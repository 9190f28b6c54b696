"""Figures of reports that another command left in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from openevolve_unified.errors import ConfigError
from openevolve_unified.report.figures.figure import Figure, Missing

T = TypeVar("T")


def figure_of_stored(
    absent: Missing,
    stored: Mapping[str, Any] | None,
    read: Callable[[Mapping[str, Any]], T],
    make: Callable[[T], Figure | Missing],
) -> Figure | Missing:
    """The figure of a stored report; ``absent`` where there is none.

    One that is damaged, or of another release, is missing too, with what is wrong with it.
    """
    if stored is None:
        return absent
    try:
        return make(read(stored))
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        return Missing(
            name=absent.name,
            title=absent.title,
            sentence=f"The record cannot be read ({error}). Where there is none: {absent.sentence}",
        )
