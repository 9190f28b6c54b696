"""A proof that a traced program cannot see the future; see ``prove``."""

from __future__ import annotations

from openevolve_unified.candidate.checks.dependence.prove import proves_causality

__all__ = ["proves_causality"]
