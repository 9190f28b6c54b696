"""The three unified notations of causal attention that programs are written in.

A program subclasses one of these classes and overrides its evolvable method, or the smaller parts
that the default of that method is composed of. Training, tracing and checks live in other rooms.
"""

from __future__ import annotations

from openevolve_unified.frameworks.coefficient_dynamics import CoefficientDynamics
from openevolve_unified.frameworks.matrix_mixer import MatrixMixer
from openevolve_unified.frameworks.test_time_regression import TestTimeRegression

__all__ = ["CoefficientDynamics", "MatrixMixer", "TestTimeRegression"]
