"""The arms: the standard program and the evolved one, under training settings of their own.

Both are checked, trained and stored as every candidate is, on one machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from openevolve_unified.calibration.seeds import at_its_seeds
from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import CheckedProgram, train_requests
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.records import Program

Arm = Literal["standard", "evolved"]
ARMS: tuple[Arm, ...] = get_args(Arm)


class ValidationArm:
    """One program, and the jobs that train it.

    Args:
        pipeline: of the experiment; its own seeds do not matter.
        seeds: all that the arm may be trained at: it is traced once for them, so it cannot be
            another program at one of them.
    """

    def __init__(self, name: Arm, source: str, pipeline: Pipeline, seeds: Sequence[int]):
        self.name = name
        self.program = Program(source=source, framework=pipeline.config.framework)
        self._pipeline = pipeline
        self._seeds = tuple(seeds)
        self._checked: dict[int, CheckedProgram] = {}

    def checked(self, batch_size: int) -> CheckedProgram:
        """The program after every check, for batches of this size.

        Raises:
            ConfigError: the program is refused.
            MachineError: the machine could not finish.
        """
        if batch_size not in self._checked:
            training = dataclasses.replace(self._pipeline.config.training, batch_size=batch_size)
            try:
                checked = self._with(training).check(self.program.source)
            except CandidateError as error:
                raise ConfigError(
                    f"validation: the {self.name} program is refused at stage '{error.stage}': "
                    f"{error.reason}"
                ) from None
            self._checked[batch_size] = checked
        return self._checked[batch_size]

    def requests(
        self, training: TrainingConfig, seeds: Sequence[int], sizes: Sequence[SizeConfig]
    ) -> list[TrainRequest]:
        """One job per seed and size, seed by seed.

        Args:
            training: ``seeds`` of its own do not matter.
            seeds: some of the arm's.
        """
        made = train_requests(
            self._with(training).context, self.checked(training.batch_size), seeds
        )
        by_place = {(request.job.seed, request.job.size): request for request in made}
        return [by_place[seed, size] for seed in seeds for size in sizes]

    def _with(self, training: TrainingConfig) -> Pipeline:
        context = self._pipeline.context
        config = at_its_seeds(
            dataclasses.replace(
                self._pipeline.config, training=dataclasses.replace(training, seeds=self._seeds)
            )
        )
        return Pipeline(dataclasses.replace(context, config=config), self._pipeline.initial.source)


def operations_ratios(evolved: CheckedProgram) -> dict[Arm, float]:
    """Operations per token of each arm over the standard arm's: the largest ratio of all sizes.

    Args:
        evolved: checked against the standard program as the initial one.
    """
    return {"standard": 1.0, "evolved": float(evolved.features["flops_ratio"])}


def require_two_programs(standard: CheckedProgram, evolved: CheckedProgram) -> None:
    """Refuse an evolved program that computes what the standard one does, operator by operator.

    Raises:
        ConfigError: the fingerprints agree.
    """
    if standard.fingerprint == evolved.fingerprint:
        raise ConfigError(
            "--evolved: the program is the initial program (same fingerprint "
            f"{standard.fingerprint[:12]}): a name, a comment or a layout is no change; wanted a "
            "program that computes something else"
        )
