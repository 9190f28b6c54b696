"""The checks that a traced candidate must pass before it is trained; see ``run``."""

from __future__ import annotations

from openevolve_unified.candidate.checks.run import CheckReport, run_checks

__all__ = ["CheckReport", "run_checks"]
