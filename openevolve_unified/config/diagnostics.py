"""The section ``scaling_law.diagnostics``: what trained weights are asked beside their loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """No part of a score; see ``docs/diagnostics.md``."""

    mode: Literal["none", "cheap", "recall"] = "cheap"
    """``cheap``: what the trained weights say in a few passes; ``recall``: also small models of
    their own that learn associative recall, which take longer than the quickstart's ladder."""
