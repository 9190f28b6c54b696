"""The evaluation file that OpenEvolve loads; ``openevolve-unified evaluator-path`` prints its path.

In the package it is alone in its folder because OpenEvolve puts that folder first on ``sys.path``,
and it holds no state because OpenEvolve may execute it again. A wrong set-up raises here, at
import, where OpenEvolve stops; a bad candidate never raises.
"""

from pathlib import Path

from openevolve.evaluation_result import EvaluationResult

from openevolve_unified.plugin.native import evaluator_of_this_command

_evaluator = evaluator_of_this_command(Path(__file__).with_name("config.yaml"))


def evaluate(program_path: str) -> EvaluationResult:
    """The fitness of the program, or -1000 with the reason."""
    return _evaluator.evaluate(program_path)


def evaluate_stage1(program_path: str) -> EvaluationResult:
    """Cascade: everything before training; -500 for a legal program."""
    return _evaluator.check(program_path)


def evaluate_stage2(program_path: str) -> EvaluationResult:
    """Cascade: the fitness."""
    return _evaluator.evaluate(program_path)
