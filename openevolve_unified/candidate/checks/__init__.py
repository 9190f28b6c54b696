"""Everything a traced candidate must keep before it is trained; see ``run``."""

from __future__ import annotations

from openevolve_unified.candidate.checks.run import CheckReport, run_checks

__all__ = ["CheckReport", "run_checks"]
