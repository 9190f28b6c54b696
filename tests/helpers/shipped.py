"""Shipped mechanisms by name."""

from __future__ import annotations

from openevolve_unified.mechanisms.catalog import mechanisms


def shipped_source(name, framework):
    """The program text of a mechanism in one notation."""
    (found,) = (m for m in mechanisms() if (m.name, m.framework) == (name, framework))
    return found.source
