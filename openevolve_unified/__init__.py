"""OpenEvolve Unified: is an evolved attention mechanism real? Fitness by scaling laws."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; ``typing`` itself is slow to import

if TYPE_CHECKING:
    from typing import Any

    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator

__version__ = "0.1.0"
__all__ = ["ScalingLawEvaluator", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the evaluator when it is asked for: worker processes must not import OpenEvolve."""
    if name == "ScalingLawEvaluator":
        from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator

        return ScalingLawEvaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
