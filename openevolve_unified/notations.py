"""The notations: the three frameworks that programs are written in, as data; no torch here.

Whatever differs between them, apart from the mathematics in ``frameworks``, is said here once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CD, TTR, MM = "coefficient_dynamics", "test_time_regression", "matrix_mixer"


@dataclass(frozen=True, kw_only=True)
class Notation:
    """One framework, as the rest of the package meets it."""

    name: str
    base_class: str
    """In ``frameworks``; a program's class inherits it."""
    evolvable_method: str
    parts: tuple[str, ...]
    """What the default of the evolvable method is composed of."""
    gives: Literal["coefficients", "lower coefficients", "values"]
    """What the evolvable method returns: a matrix (batch, heads, time, time) that multiplies the
    values, whole or its lower triangle; or the mixed values (batch, heads, time, head_dim)."""

    @property
    def sees_values(self) -> bool:
        """True where the evolvable method is given the values; it mixes them itself then."""
        return self.gives == "values"

    @property
    def methods(self) -> tuple[str, ...]:
        """All that a program may override: the evolvable method, then its parts."""
        return (self.evolvable_method, *self.parts)


NOTATIONS = {
    notation.name: notation
    for notation in (
        Notation(
            name=CD,
            base_class="CoefficientDynamics",
            evolvable_method="coefficients",
            parts=("transition", "impulse", "readout", "normaliser"),
            gives="coefficients",
        ),
        Notation(
            name=TTR,
            base_class="TestTimeRegression",
            evolvable_method="regress",
            parts=("association_weights", "features", "solver"),
            gives="values",
        ),
        Notation(
            name=MM,
            base_class="MatrixMixer",
            evolvable_method="mixing_matrix",
            parts=("factors", "combine"),
            gives="lower coefficients",
        ),
    )
}
FRAMEWORKS = tuple(NOTATIONS)
