"""Equal tuning: the same search for both arms, in space, sampler, trials and training steps.

Optuna proposes, nothing is pruned, and only the validation split is read. The best trials of each
arm train again at fresh seeds, so that the luck of one seed chooses less. Every trial is a job like
any other, kept in the store, and the sampler is seeded; so a search that was killed is played again
from its first trial, with what was trained, to the same proposals. ``tuning_ARM.log`` is Optuna's
own journal of it (``optuna.storages.JournalStorage``), written anew each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import SizeConfig, TrainingConfig
from openevolve_unified.config.validation import SearchSpace, TuningConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.requests import TrainRequest
from openevolve_unified.validation.arms import Arm, ValidationArm

MISSING = (
    "tuning needs Optuna, which is not installed; pip install 'openevolve-unified[validate]', or "
    "set scaling_law.validation.tuning.mode=none"
)
STARTUP_SHARE = 0.4
"""Of the trials, drawn at random before the sampler learns from them."""
NOTES = {
    "equal": None,
    "shared": "the evolved arm trains with settings that were found on the standard arm: a "
    "handicap of the evolved arm, which a tuning of its own might lift",
    "none": "neither arm was tuned: both train with the configured settings, which were chosen for "
    "the standard arm if for any",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one training of a trial's settings led to."""

    loss_nats: float | None
    """On the validation split; None: training failed."""
    job_key: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of training settings and the loss that it led to."""

    learning_rate: float
    warmup_steps: int
    weight_decay: float
    batch_size: int
    loss_nats: float | None
    """On the validation split; None: training failed."""
    job_key: str
    again: tuple[Measured, ...] = ()
    """Of a finalist, at fresh seeds."""

    @property
    def judged_nats(self) -> float:
        """What it is chosen by: the mean of its losses; infinite where a training failed."""
        known = [loss for loss in self.losses_nats if loss is not None]
        is_whole = len(known) == len(self.losses_nats)
        return sum(known) / len(known) if is_whole else math.inf

    @property
    def losses_nats(self) -> list[float | None]:
        """At every seed that it trained at."""
        return [self.loss_nats, *(found.loss_nats for found in self.again)]

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SETTINGS}


SETTINGS = ("learning_rate", "warmup_steps", "weight_decay", "batch_size")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What both arms train with, and how it was found."""

    trainings: dict[Arm, TrainingConfig]
    trials: dict[Arm, tuple[Trial, ...]]
    """In their order; nothing for an arm that was not tuned."""
    note: str | None
    """What a reader of the comparison must know of it."""


def sampler_arguments(config: TuningConfig) -> dict[str, Any]:
    """Every argument that the sampler gets; the rest are its release's, which is registered."""
    return {
        "seed": 0,
        "n_startup_trials": max(2, math.ceil(STARTUP_SHARE * config.num_trials)),
        "n_ei_candidates": 24,
        "multivariate": False,
        "group": False,
        "constant_liar": False,
    }


def tune(
    arms: Sequence[ValidationArm],
    pipeline: Pipeline,
    seed: int,
    fresh_seeds: Sequence[int],
    folder: Path,
    say: Callable[[str], None],
) -> Tuned:
    """Find each arm's training settings.

    Args:
        pipeline: of the experiment, for the machine and the store.
        seed: that every trial trains at; no other job does.
        fresh_seeds: the same of the finalists.
        folder: gets Optuna's journals.
        say: told what the following events belong to.

    Raises:
        ConfigError: Optuna is not installed, or every trial or finalist of an arm failed.
        MachineError: the machine could not finish; the same call continues.
    """
    config, training = pipeline.config.validation.tuning, pipeline.config.training
    by_name: dict[Arm, TrainingConfig] = {arm.name: training for arm in arms}
    if config.mode == "none":
        return Tuned(trainings=by_name, trials={}, note=NOTES["none"])
    tuned = [arm for arm in arms if config.mode == "equal" or arm.name == "standard"]
    size = pipeline.config.sizes[-1 if config.size == "largest" else 0]
    searches = [_Search(arm, config, folder) for arm in tuned]

    def train(asked: Sequence[tuple[_Search, dict[str, Any]]], at: int) -> list[Measured]:
        requests = [
            _trial_request(search.arm, _training(training, config, settings), at, size)
            for search, settings in asked
        ]
        return [
            Measured(loss_nats=run.final_loss_nats, job_key=request.job.key)
            for request, run in zip(requests, pipeline.train_each(requests), strict=True)
        ]

    for number in range(1, config.num_trials + 1):
        say(f"tuning: trial {number}/{config.num_trials} of each arm, {size.name}")
        asked = [(search, search.ask()) for search in searches]
        for (search, _), found in zip(asked, train(asked, seed), strict=True):
            search.tell(found)
    finals = itertools.zip_longest(*(search.finalists() for search in searches))
    # In turn, so that no call of the machine takes longer than a trial of each arm.
    for (number, places), fresh in itertools.product(enumerate(finals, 1), fresh_seeds):
        say(f"tuning: finalist {number} of each arm at seed {fresh}, {size.name}")
        left = [(s, place) for s, place in zip(searches, places, strict=True) if place is not None]
        asked = [(search, search.trials[place].settings()) for search, place in left]
        for (search, place), found in zip(left, train(asked, fresh), strict=True):
            search.tell_again(place, found)
    for search in searches:
        by_name[search.arm.name] = dataclasses.replace(training, **search.best().settings())
    if config.mode == "shared":
        by_name["evolved"] = by_name["standard"]
    return Tuned(
        trainings=by_name,
        trials={search.arm.name: tuple(search.trials) for search in searches},
        note=NOTES[config.mode],
    )


def _training(
    training: TrainingConfig, config: TuningConfig, settings: dict[str, Any]
) -> TrainingConfig:
    steps = config.training_steps or training.training_steps
    return dataclasses.replace(training, training_steps=steps, **settings)


def _trial_request(
    arm: ValidationArm, training: TrainingConfig, seed: int, size: SizeConfig
) -> TrainRequest:
    (request,) = arm.requests(training, (seed,), (size,))
    return request


class _Search:
    """One arm's search."""

    def __init__(self, arm: ValidationArm, config: TuningConfig, folder: Path):
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise ConfigError(MISSING) from None
        logging.getLogger("optuna").setLevel(logging.WARNING)
        self.arm = arm
        self.trials: list[Trial] = []
        self._space, self._num_finalists = config.space, config.num_finalists
        journal = folder / f"tuning_{arm.name}.log"
        for path in (journal, journal.with_name(journal.name + ".lock")):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._study = optuna.create_study(
            study_name=arm.name,
            direction="minimize",
            storage=JournalStorage(JournalFileBackend(str(journal))),
            sampler=optuna.samplers.TPESampler(**sampler_arguments(config)),
            pruner=optuna.pruners.NopPruner(),
        )
        self._asked: Any = None

    def ask(self) -> dict[str, Any]:
        self._asked = self._study.ask()
        return _suggest(self._asked, self._space)

    def tell(self, found: Measured) -> None:
        self.trials.append(Trial(**self._asked.params, **vars(found)))
        self._study.tell(self._asked, math.inf if found.loss_nats is None else found.loss_nats)

    def finalists(self) -> list[int]:
        """Places of the trials that train again, the best first; none where one is enough.

        Raises:
            ConfigError: every trial failed.
        """
        best = sorted(range(len(self.trials)), key=lambda place: self.trials[place].judged_nats)
        best = [place for place in best if self.trials[place].loss_nats is not None]
        if not best:
            raise ConfigError(
                f"validation: all {len(self.trials)} tuning trials of the {self.arm.name} arm "
                "failed; see scaling_law.validation.tuning.space for lower learning rates"
            )
        return best[: self._num_finalists] if self._num_finalists > 1 else []

    def tell_again(self, place: int, found: Measured) -> None:
        trial = self.trials[place]
        self.trials[place] = dataclasses.replace(trial, again=(*trial.again, found))

    def best(self) -> Trial:
        """Raises ConfigError where every finalist failed."""
        judged = [trial for trial in self.trials if trial.again] or self.trials
        best = min(judged, key=lambda trial: trial.judged_nats)
        if math.isinf(best.judged_nats):
            raise ConfigError(
                f"validation: the {len(judged)} best tuning trials of the {self.arm.name} arm "
                "failed at another seed; see scaling_law.validation.tuning.space for lower "
                "learning rates"
            )
        return best


def _suggest(trial: Any, space: SearchSpace) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", *space.learning_rate, log=True),
        "warmup_steps": trial.suggest_int("warmup_steps", *space.warmup_steps),
        "weight_decay": trial.suggest_float("weight_decay", *space.weight_decay),
        "batch_size": trial.suggest_categorical("batch_size", list(space.batch_sizes)),
    }
