"""The ablation of an evolved program: every group of hunks reverted alone and kept alone.

All programs are checked as candidates are, and trained at fresh seeds, seed by seed in turn, so
that whatever changes on the machine meets all of them. Programs of one fingerprint are one program.
Every job is stored as it ends and keyed by what it is, so an ablation that was killed continues.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from openevolve_unified.calibration.noise_record import find_noise
from openevolve_unified.calibration.seeds import at_its_seeds
from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.evaluation.ladder import CheckedProgram
from openevolve_unified.evaluation.pipeline import Pipeline
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.judgement.ablation import AblationJudgement, Part, judge_ablation
from openevolve_unified.judgement.seeds import STRIDE, next_free
from openevolve_unified.validation.grouping import (
    Group,
    asked_groups,
    legal_groups,
    require_few,
)
from openevolve_unified.validation.hunks import Difference, Kind, difference

STANDARD, EVOLVED = "standard", "evolved"
ABLATION_OFFSET = 6 * STRIDE
"""Distance of the seeds from the first search seed."""
ALL_CONSTANTS = "all constants"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AblatedGroup:
    """Hunks that are reverted and kept together."""

    name: str
    """``hunk 1``, ``hunks 2+3``."""
    numbers: tuple[int, ...]
    """Of the hunks, from 1, in the order of the text."""
    kind: Kind
    text: str
    """The hunks as a person reads a difference."""


@dataclass(frozen=True, kw_only=True)
class AblationReport:
    """Everything that ``ablate`` found."""

    framework: str
    horizon: str
    sizes: tuple[str, ...]
    num_params: tuple[float, ...]
    """Non-embedding, per size: the axis of the slopes."""
    seeds: tuple[int, ...]
    has_noise: bool
    """A noise floor of this configuration was stored."""
    groups: tuple[AblatedGroup, ...]
    text_only: tuple[int, ...]
    """Numbers of the hunks that change comments, docstrings or layout alone: part of no group."""
    losses: dict[str, list[list[float]]]
    """By program, ``(seeds, sizes)``, nats per token on the validation split."""
    fingerprints: dict[str, str]
    """By program that was trained."""
    same_as: dict[str, str]
    """Programs that are another one in other words: its name."""
    failures: dict[str, str]
    """Programs that were refused or could not be trained: why."""
    judgement: AblationJudgement
    """Its parts are those of ``groups``; the union of all constants, where there are several."""


@dataclass(kw_only=True)
class _Programs:
    """The programs of an ablation, each trained once."""

    pipeline: Pipeline
    distinct: dict[str, CheckedProgram] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    losses: dict[str, list[list[float]]] = field(default_factory=dict)
    num_params: tuple[float, ...] = ()
    """Non-embedding, of the standard program, per size; known once it was trained."""
    _checked: dict[str, CheckedProgram | CandidateError] = field(default_factory=dict)

    def check(self, source: str) -> CheckedProgram | CandidateError:
        """What the checks say, asked once."""
        if source not in self._checked:
            try:
                self._checked[source] = self.pipeline.check(source)
            except CandidateError as error:
                self._checked[source] = error
        return self._checked[source]

    def is_legal(self, source: str) -> bool:
        return isinstance(self.check(source), CheckedProgram)

    def add(self, name: str, source: str) -> str:
        """Take part under this name; the name of the program that it is."""
        checked = self.check(source)
        if isinstance(checked, CandidateError):
            self.failures[name] = str(checked)
            return name
        for other, known in self.distinct.items():
            if known.fingerprint == checked.fingerprint:
                self.same_as[name] = other
                return other
        self.distinct[name] = checked
        return name

    def add_part(self, found: Difference, name: str, group: Group) -> Part:
        """Both programs that show the effect of some hunks."""
        return Part(
            name=name,
            kept=self.add(f"{STANDARD} with {name}", found.with_hunks(group)),
            reverted=self.add(f"{EVOLVED} without {name}", found.without_hunks(group)),
        )

    def as_trained(self, part: Part) -> Part:
        """The same, naming none that failed."""
        names = [None if name in self.failures else name for name in (part.kept, part.reverted)]
        return Part(name=part.name, kept=names[0], reverted=names[1])

    @property
    def trained(self) -> dict[str, list[list[float]]]:
        """The losses of those that trained at every seed."""
        return {name: rows for name, rows in self.losses.items() if name not in self.failures}

    def train(self, seeds: Sequence[int], say: Say) -> None:
        """All that take part, seed by seed in turn; one that fails is trained no further.

        Raises:
            ConfigError: the standard or the evolved program failed: nothing can be compared.
        """
        for place, seed in enumerate(seeds, start=1):
            for name, checked in self.distinct.items():
                if name in self.failures:
                    continue
                say(f"seed {place}/{len(seeds)}, {name}")
                try:
                    sizes = self.pipeline.train(checked, (seed,))
                except CandidateError as error:
                    self.failures[name] = f"at seed {seed}: {error}"
                    self.require(STANDARD, EVOLVED)
                    continue
                if name == STANDARD:
                    self.num_params = tuple(float(s.num_params_non_embedding) for s in sizes)
                losses = [loss for size in sizes for loss in size.losses_nats]
                self.losses.setdefault(name, []).append(losses)

    def require(self, *names: str) -> None:
        """
        Raises:
            ConfigError: one of these was refused, or could not be trained.
        """
        for name in names:
            if name in self.failures:
                raise ConfigError(
                    f"ablate: the {name} program is refused: {self.failures[name]}; an ablation "
                    "needs two programs that train"
                )


def ablation_seeds(config: ScalingLawConfig, num_seeds: int) -> tuple[int, ...]:
    """Seeds of the ablation alone: a validation that follows must not have been seen.

    Raises:
        ConfigError: fewer than one.
    """
    if num_seeds < 1:
        raise ConfigError(f"--seeds: got {num_seeds}, wanted 1 or more")
    plan = seeds_of(config)
    taken = {*plan.search, *plan.confirmation, *plan.validation, *plan.noise}
    return next_free(config.training.seeds[0] + ABLATION_OFFSET, num_seeds, taken)


def described(found: Difference, groups: Sequence[Group]) -> tuple[AblatedGroup, ...]:
    """Groups of hunks for people."""
    return tuple(
        AblatedGroup(
            name=f"hunk{'s' if len(group) > 1 else ''} {'+'.join(str(at + 1) for at in group)}",
            numbers=tuple(at + 1 for at in group),
            kind=found.kind(group),
            text=found.text(group),
        )
        for group in groups
    )


def ablate(
    pipeline: Pipeline,
    standard: str,
    evolved: str,
    seeds: Sequence[int],
    say: Say,
    together: Sequence[Sequence[int]] = (),
) -> AblationReport:
    """Take the difference of two programs apart; finished work is in the store.

    Args:
        pipeline: of the experiment; its own seeds do not matter.
        standard, evolved: sources.
        say: told what the following events belong to.
        together: hunks, by their numbers from 1, that are one from the start.

    Raises:
        ConfigError: no difference, one outside the block, too many hunks; a program that is refused
            or diverges, or two of one fingerprint.
        MachineError: the machine could not finish; the same call continues.
    """
    found = difference(standard, evolved)
    text_only = found.text_only()
    asked = [
        group
        for group in asked_groups(len(found.hunks), together)
        if not set(group) <= set(text_only)
    ]
    require_few(asked)
    programs = _Programs(pipeline=_at_seeds(pipeline, seeds))
    say(f"checking {len(asked)} hunks")
    for name, source in ((STANDARD, standard), (EVOLVED, evolved)):
        programs.add(name, source)
    programs.require(STANDARD, EVOLVED)
    if EVOLVED in programs.same_as:
        raise ConfigError(
            "ablate: the evolved program has the fingerprint of the standard one: only names, "
            "comments and layout differ, so there is no effect to ablate"
        )
    merged = legal_groups(found, asked, programs.is_legal)
    groups = described(found, merged)
    parts = [
        programs.add_part(found, group.name, places)
        for group, places in zip(groups, merged, strict=True)
    ]
    constants = [
        places for group, places in zip(groups, merged, strict=True) if group.kind == "constants"
    ]
    unions = []
    if len(constants) > 1:
        unions = [programs.add_part(found, ALL_CONSTANTS, sum(constants, ()))]
    programs.train(seeds, say)
    noise = find_noise(programs.pipeline)
    num_params = programs.num_params if noise is None else noise.num_params
    config = pipeline.config
    return AblationReport(
        framework=config.framework,
        horizon=config.training.horizon,
        sizes=tuple(size.name for size in config.sizes),
        num_params=num_params,
        seeds=tuple(seeds),
        has_noise=noise is not None,
        groups=groups,
        text_only=tuple(at + 1 for at in text_only),
        losses=programs.losses,
        fingerprints={name: one.fingerprint for name, one in programs.distinct.items()},
        same_as=programs.same_as,
        failures=programs.failures,
        judgement=judge_ablation(
            num_params,
            {name: np.array(losses) for name, losses in programs.trained.items()},
            STANDARD,
            EVOLVED,
            [programs.as_trained(part) for part in parts],
            [programs.as_trained(part) for part in unions],
            None if noise is None else noise.floor(),
        ),
    )


def _at_seeds(pipeline: Pipeline, seeds: Sequence[int]) -> Pipeline:
    config = at_its_seeds(pipeline.config)
    training = dataclasses.replace(config.training, seeds=tuple(seeds))
    context = dataclasses.replace(
        pipeline.context, config=dataclasses.replace(config, training=training)
    )
    return Pipeline(context, pipeline.initial.source)
