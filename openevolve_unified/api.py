"""API for scripts and notebooks: evaluate, read, fit, compare and plot; results show themselves.

    from openevolve_unified import api

    api.evaluate(MyAttention, "configs/quickstart.yaml")
    run = api.read("experiments/quickstart")
    api.compare(run.best, run.baseline)
    api.plot(run.best.law, run.baseline.law)

Importing it is cheap: torch and OpenEvolve are imported where they are used.
"""

from __future__ import annotations

import ast
import functools
import html
import inspect
import linecache
import re
import tempfile
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openevolve_unified.errors import ConfigError, MachineError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from openevolve_unified.evaluation.machine import Machine
    from openevolve_unified.judgement.compare import Comparison
    from openevolve_unified.judgement.estimates import Estimate
    from openevolve_unified.records import ScalingFit, SizeResult
    from openevolve_unified.validation.run_folder import RunFolder

CLASS_NAME = "EvolvableAttention"
NOT_CONFIRMED = "for a search; only a confirmation or a validation calls a program improved"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A small table of texts, for a terminal and for a notebook."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        from openevolve_unified.report.columns import aligned

        return "\n".join([self.title, *aligned(self.header, self.rows)])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row(cells, "td") for cells in self.rows)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>"
            f"<thead>{row(self.header, 'th')}</thead><tbody>{body}</tbody></table>"
        )


class Shown(ABC):
    """What has a table shows it, as text and in a notebook."""

    @property
    @abstractmethod
    def table(self) -> Table:
        """What is shown."""

    def __str__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


@dataclass(frozen=True, kw_only=True)
class Law(Shown):
    """A scaling law ``loss = intercept + slope * ln(N)`` with the losses that it was fitted to."""

    name: str
    horizon: str
    num_params: tuple[float, ...]
    """Non-embedding, one per size."""
    losses: tuple[tuple[float, ...], ...]
    """``(sizes, seeds)``, nats per token."""
    fit: ScalingFit
    slope: Estimate
    """With its error over seeds; the error is unknown with one seed."""

    @property
    def table(self) -> Table:
        rows = [
            (f"{count:,.0f}", " ".join(f"{loss:.4f}" for loss in seeds))
            for count, seeds in zip(self.num_params, self.losses, strict=True)
        ]
        rows.append(("slope", str(self.slope)))
        title = f"scaling law of {self.name or 'these losses'}"
        title += f" [{self.horizon}]" if self.horizon else ""
        return Table(title=title, header=("parameters", "nats per token"), rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class Judged(Shown):
    """A program and the verdict on it."""

    entry: Mapping[str, Any]
    """As in ``fitness_history.json``."""
    source: str
    law: Law | None
    """None for a program that was not trained."""

    @property
    def is_trained(self) -> bool:
        return bool(self.entry["verdict"] == "trained")

    @property
    def name(self) -> str:
        return str(self.entry["program"])

    @property
    def verdict(self) -> str:
        """In words: the score with its error and the standing, or why it was refused."""
        from openevolve_unified.report.judges_table import verdict_words

        if self.is_trained:
            return verdict_words(self.entry)
        return f"{self.entry['verdict']} at '{self.entry['stage']}': {self.entry['reason']}"

    @property
    def table(self) -> Table:
        from openevolve_unified.report.judges_table import detail_lines

        lines = [self.verdict, *(detail_lines(self.entry) if self.is_trained else [])]
        rows = tuple((line,) for line in lines)
        title = f"program {self.name} [{self.entry['horizon']}]"
        return Table(title=title, header=("verdict",), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Compared(Shown):
    """One program against another, by the one rule of a search."""

    comparison: Comparison
    names: tuple[str, str]
    horizon: str

    @property
    def table(self) -> Table:
        found = self.comparison
        rows = (("gain in score", str(found.estimate)), ("verdict", found.verdict))
        title = f"{self.names[0]} against {self.names[1]} [{self.horizon}] ({NOT_CONFIRMED})"
        return Table(title=title, header=("", ""), rows=rows)


@dataclass(frozen=True, kw_only=True)
class Run(Shown):
    """A run, read from its folder."""

    folder: RunFolder

    @functools.cached_property
    def programs(self) -> tuple[Judged, ...]:
        """Everything that was tried, in order."""
        return tuple(self._judged(entry) for entry in self.folder.told.entries)

    @property
    def baseline(self) -> Judged:
        """The initial program.

        Raises:
            ConfigError: it was not scored.
        """
        return self._judged(self.folder.baseline)

    @property
    def best(self) -> Judged:
        return self._judged(self.folder.best)

    @property
    def confirmation(self) -> Mapping[str, Any] | None:
        """As in ``confirmation.json``: what fresh seeds say of the best."""
        return self.folder.confirmation

    @property
    def table(self) -> Table:
        rows = tuple((str(n), one.name, one.verdict) for n, one in enumerate(self.programs))
        title = f"run {self.folder.name} [{self.folder.config.training.horizon}]"
        title += f", {self.folder.unfinished}" if self.folder.unfinished else ""
        return Table(title=title, header=("", "program", "verdict"), rows=rows)

    def _judged(self, entry: Mapping[str, Any]) -> Judged:
        is_trained = entry["verdict"] == "trained"
        law = _law_of(entry, self.folder.sizes_of(entry)) if is_trained else None
        return Judged(entry=entry, source=self.folder.source_of(entry), law=law)


def evaluate(
    program: type | Path | str,
    config: Path | str,
    *,
    overrides: Sequence[str] = (),
    output_dir: Path | str | None = None,
    machine: Machine | None = None,
) -> Judged:
    """Check, train and score a program; finished sizes are kept and found again.

    Args:
        program: a class, a file, or the text of a program. A class takes the place of the block in
            the experiment's initial program, whatever its name.
        config: a configuration file.
        overrides: further ``dotted.key=value`` settings, as after ``--set``.
        output_dir: where the verdict is recorded; default: ``notebook`` beside the config's own
            output folder, whose store it shares.
        machine: workers that several calls share (``evaluation.machine.Machine``).

    Returns:
        A refused program is a verdict too.

    Raises:
        ConfigError: the experiment cannot run, or the class has no text.
        MachineError: the machine could not judge it.
    """
    from openevolve_unified.config.experiment import load_experiment
    from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
    from openevolve_unified.records import Failure

    own = load_experiment(config, overrides).output_dir.with_name("notebook")
    experiment = load_experiment(config, overrides, Path(output_dir or own))
    source = source_of(program, experiment.initial_program.read_text(encoding="utf-8"))
    with (
        ScalingLawEvaluator(config=experiment, machine=machine) as evaluator,
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "program.py"
        path.write_text(source, encoding="utf-8")
        result = evaluator.judge(path)
        if isinstance(result, Failure) and result.is_machine_trouble:
            raise MachineError(f"not judged: {result.reason}", result.stage)
        name = result.program.source_hash[:12]
        entries = evaluator.run_directory.history()
    entry = next(one for one in entries if one["program"] == name)
    law = None if isinstance(result, Failure) else _law_of(entry, result.sizes)
    return Judged(entry=entry, source=source, law=law)


def source_of(program: type | Path | str, initial: str) -> str:
    """The text of a program.

    Args:
        initial: the initial program, in whose block a class is put.

    Raises:
        ConfigError: the file or the text of the class cannot be read.
    """
    from openevolve_unified.candidate.source.block import split_block

    if isinstance(program, type):
        text = _text_of(program)
        named = re.sub(r"^class \w+", f"class {CLASS_NAME}", text, count=1, flags=re.MULTILINE)
        parts = split_block(initial)
        return f"{parts.before}{named}{parts.after}"
    if isinstance(program, str) and "\n" in program:
        return program
    try:
        return Path(program).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{program}: cannot be read as a program ({error})") from None


def _text_of(program: type) -> str:
    """By the lines of its methods, which know their file or their cell, as a class does not."""
    for function in filter(inspect.isfunction, vars(program).values()):
        text = "".join(linecache.getlines(function.__code__.co_filename))
        line = function.__code__.co_firstlineno
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
                return textwrap.dedent(ast.get_source_segment(text, node, padded=True) or "") + "\n"
    raise ConfigError(
        f"{program.__name__}: its text is not known; wanted a class from a file or a cell"
    )


def read(folder: Path | str, store: Path | str | None = None) -> Run:
    """A run from its folder; nothing is trained and nothing is written.

    Args:
        store: where it was moved, if it was.

    Raises:
        ConfigError: there is no run, or its files are damaged.
    """
    from openevolve_unified.validation.run_folder import read_run

    return Run(folder=read_run(Path(folder), None if store is None else Path(store)))


def fit(
    num_params: Sequence[float],
    losses: Sequence[float | Sequence[float]],
    *,
    name: str = "",
    horizon: str = "",
) -> Law:
    """Fit the scaling law to losses.

    Args:
        num_params: non-embedding parameters, one per size.
        losses: nats per token, ``(sizes,)`` or ``(sizes, seeds)``.

    Raises:
        ValueError: fewer than three sizes, repeated ones, a value that is not finite, or more seeds
            at one size than at another.
    """
    import numpy as np

    from openevolve_unified.judgement.scaling import fit_scaling_law, slope_over_seeds

    by_size = [tuple(float(loss) for loss in np.atleast_1d(seeds)) for seeds in losses]
    counts = [len(seeds) for seeds in by_size]
    if len(set(counts)) > 1 or 0 in counts:
        raise ValueError(f"losses: got {counts} seeds by size, wanted as many at each")
    fitted = fit_scaling_law(num_params, by_size)
    return Law(
        name=name,
        horizon=horizon,
        num_params=tuple(num_params),
        losses=tuple(by_size),
        fit=fitted,
        slope=slope_over_seeds(num_params, np.array(by_size).T),
    )


def compare(one: Judged, other: Judged) -> Compared:
    """Whether ``one`` is better, equal or worse, for a search.

    Raises:
        ConfigError: one of them was not trained, or both were trained to other horizons.
    """
    from openevolve_unified.judgement.compare import Standing
    from openevolve_unified.judgement.compare import compare as set_against

    for judged in (one, other):
        if not judged.is_trained:
            raise ConfigError(f"program {judged.name} has no score: {judged.verdict}")
    if one.entry["horizon"] != other.entry["horizon"]:
        raise ConfigError(
            f"got the horizons {one.entry['horizon']!r} and {other.entry['horizon']!r}, wanted the "
            "same: losses of different horizons say nothing about each other"
        )
    found = set_against(Standing.of_entry(one.entry), Standing.of_entry(other.entry))
    return Compared(comparison=found, names=(one.name, other.name), horizon=one.entry["horizon"])


def plot(*laws: Law) -> Figure:
    """The laws as lines, with the loss of every seed as a dot; a notebook shows the figure.

    Raises:
        ConfigError: matplotlib (the extra ``plot``) is not installed.
    """
    from openevolve_unified.report.figures.figure import NO_MATPLOTLIB, can_draw

    if not can_draw():
        raise ConfigError(NO_MATPLOTLIB)
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for index, law in enumerate(laws):
        colour, label = f"C{index}", f"{law.name} {law.slope.short}".strip()
        counts = np.array(law.num_params)
        axes.plot(counts, law.fit.intercept + law.fit.slope * np.log(counts), colour, label=label)
        for count, seeds in zip(law.num_params, law.losses, strict=True):
            axes.plot([count] * len(seeds), seeds, "o", color=colour, alpha=0.6, markersize=4)
    axes.set_xscale("log")
    horizons = ", ".join(sorted({law.horizon for law in laws if law.horizon}))
    axes.set_xlabel("non-embedding parameters")
    axes.set_ylabel(f"loss, nats per token{f' [{horizons}]' if horizons else ''}")
    if laws:
        axes.legend(title="slope")
    return figure


def _law_of(entry: Mapping[str, Any], sizes: Sequence[SizeResult]) -> Law:
    return fit(
        [size.num_params_non_embedding for size in sizes],
        [size.losses_nats for size in sizes],
        name=entry["program"],
        horizon=entry["horizon"],
    )
