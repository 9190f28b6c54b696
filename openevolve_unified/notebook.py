"""The notebook: evaluate a program or a class, read a run, fit a law, compare two programs, plot.

What is returned shows itself in a notebook (``_repr_html_``) and in a terminal (``str``), every
number with its error over seeds and its horizon. The functions are ``openevolve_unified.evaluate``
and so on; they are loaded when they are asked for.
"""

from __future__ import annotations

import ast
import html
import inspect
import linecache
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.judgement.judges import Judges
from openevolve_unified.judgement.paired import PairedComparison, compare_paired
from openevolve_unified.judgement.power_law import NUM_PARAMETERS, PowerLaw, fit_power_law
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.judgement.shared_seeds import losses_by_seed, on_shared_seeds
from openevolve_unified.plugin.scaling_law_evaluator import ScalingLawEvaluator
from openevolve_unified.records import Evaluation, Failure, ScalingFit
from openevolve_unified.report.judges_table import verdict_words
from openevolve_unified.runs.events import Listener, nobody
from openevolve_unified.validation.run_folder import RunFolder
from openevolve_unified.validation.run_folder import read_run as read_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from openevolve_unified.judgement.noise import NoiseFloor


Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Column names and rows."""


class _Shown:
    """Shows a heading and a table, in text and in HTML."""

    def _heading(self) -> str:
        raise NotImplementedError

    def _table(self) -> Table:
        raise NotImplementedError

    def __str__(self) -> str:
        columns, rows = self._table()
        lines = [columns, *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cells = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([self._heading(), *(cells if rows else [])])

    def _repr_html_(self) -> str:
        columns, rows = self._table()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{html.escape(self._heading())}</p>{table if rows else ''}"


@dataclass(frozen=True, eq=False)
class Evaluated(_Shown):
    """A program's verdict."""

    name: str
    verdict: Evaluation | Failure
    judges: Judges | None
    """Every number beside the score; None for a program that was refused."""
    floor: NoiseFloor | None
    """The measured noise of the configuration, if it was measured."""

    @property
    def is_trained(self) -> bool:
        """Whether it has losses; else ``verdict.stage`` and ``verdict.reason`` say why not."""
        return isinstance(self.verdict, Evaluation)

    @property
    def evaluation(self) -> Evaluation:
        """The record of a trained program.

        Raises:
            ValueError: it was refused.
        """
        if isinstance(self.verdict, Failure):
            raise ValueError(f"{self.name} was not trained: {self.verdict.reason}")
        return self.verdict

    @property
    def score(self) -> Estimate:
        """What evolution climbs; higher is better."""
        standing = Standing.of_evaluation(self.evaluation)
        return Estimate(
            value=standing.value,
            stderr=standing.stderr,
            degrees_of_freedom=standing.degrees_of_freedom,
        )

    def _heading(self) -> str:
        if isinstance(self.verdict, Failure):
            return f"{self.name}: refused at '{self.verdict.stage}': {self.verdict.reason}"
        return f"{self.name}: score {self.score} [{self.verdict.horizon}]"

    def _table(self) -> Table:
        columns = ("size", "parameters", "loss", "less the baseline's", "which is")
        if self.judges is None:
            return columns, []
        paired = self.judges.paired
        rows = []
        for index, (size, loss) in enumerate(
            zip(self.evaluation.sizes, self.judges.losses, strict=True)
        ):
            against = ("", "")
            if paired is not None:
                against = (paired.sizes[index].short, paired.standings[index])
            count = f"{size.num_params_non_embedding:,}"
            rows.append((size.size.name, count, loss.short.removeprefix("+"), *against))
        return columns, rows


@dataclass(frozen=True, eq=False)
class Compared(_Shown):
    """Two programs at the same seeds; differences are the first less the second."""

    names: tuple[str, str]
    sizes: tuple[str, ...]
    paired: PairedComparison
    horizon: str

    def _heading(self) -> str:
        first, second = self.names
        return (
            f"{first} less {second}: slope {self.paired.slope}, over all sizes "
            f"{self.paired.dominance} [{self.horizon}]"
        )

    def _table(self) -> Table:
        rows = [
            (size, str(difference), standing)
            for size, difference, standing in zip(
                self.sizes, self.paired.sizes, self.paired.standings, strict=True
            )
        ]
        return ("size", "difference of the loss", "which is"), rows


@dataclass(frozen=True, eq=False)
class Law(_Shown):
    """The straight line over ln N, and the power law where there are sizes enough."""

    line: ScalingFit
    power_law: PowerLaw | None

    def _heading(self) -> str:
        line = self.line
        low, high = line.slope_ci95
        slope = f"slope {line.slope:.4f} (by its misfit {low:.4f} to {high:.4f}), R2 {line.r2:.3f}"
        if self.power_law is None:
            return f"{slope}; too few sizes for a power law"
        law = self.power_law
        if law.not_identified_because is not None:
            return f"{slope}; power law not identified: {law.not_identified_because}"
        formula = f"{law.irreducible_nats:.4f} + {law.coefficient:.4g} N^-{law.exponent:.4f}"
        return f"{slope}; power law {formula}"

    def _table(self) -> Table:
        return ("",), []


@dataclass(frozen=True, eq=False)
class Run(_Shown):
    """A run's folder: every program that was tried."""

    folder: RunFolder

    @cached_property
    def programs(self) -> tuple[dict[str, Any], ...]:
        """In the order of their trial, as in ``fitness_history.json``."""
        return tuple(self.folder.told.entries)

    def source(self, entry: dict[str, Any]) -> str:
        """The text of one of ``programs``.

        Raises:
            ConfigError: its file cannot be read.
        """
        return self.folder.source_of(entry)

    def _heading(self) -> str:
        best = self.folder.best
        said = "ahead of the initial program" if self.folder.has_winner else "the initial program"
        text = f"{self.folder.name}: best {best['file']} ({said}) [{best['horizon']}]"
        return text if self.folder.unfinished is None else f"{text}; {self.folder.unfinished}"

    def _table(self) -> Table:
        rows = [
            (
                str(entry["file"]),
                str(entry["verdict"]),
                verdict_words(entry) if entry["verdict"] == "trained" else str(entry["reason"]),
            )
            for entry in self.programs
        ]
        return ("program", "verdict", "what is known"), rows


def evaluate(
    program: str | Path | type,
    *,
    config: str | Path,
    overrides: Sequence[str] = (),
    output_dir: str | Path | None = None,
    listener: Listener = nobody,
) -> Evaluated:
    """Trace, check and train a program at every size; what the store has is not trained again.

    Args:
        program: a file, or a class ``EvolvableAttention`` written here, which takes the place of
            the evolve block of the configuration's initial program.
        config: a configuration file.
        overrides: ``dotted.key=value`` settings, as after ``--set``.
        output_dir: the run's folder; default: the configuration's.
        listener: hears of the progress.

    Raises:
        ConfigError: the configuration is wrong, or the text of the class is not to be found.
    """
    experiment = load_experiment(
        config, tuple(overrides), None if output_dir is None else Path(output_dir)
    )
    with (
        ScalingLawEvaluator(config=experiment, listener=listener) as evaluator,
        tempfile.TemporaryDirectory() as folder,
    ):
        if isinstance(program, type):
            path = Path(folder) / "program.py"
            split = split_block(evaluator.pipeline.initial.source)
            path.write_text(f"{split.before}{_source_of(program)}\n{split.after}", encoding="utf-8")
            name = (program.__doc__ or program.__name__).strip().split("\n")[0]
        else:
            path = Path(program)
            name = path.name
        verdict = evaluator.judge(path)
        noise = evaluator.noise()
        return Evaluated(
            name=name,
            verdict=verdict,
            judges=evaluator.judges_of(verdict),
            floor=None if noise is None else noise.floor(),
        )


def read_run(path: str | Path, store: str | Path | None = None) -> Run:
    """Read the folder that ``openevolve`` left behind; nothing is trained or written.

    Args:
        store: the folder of its store; default: as the run's settings say.

    Raises:
        ConfigError: it is no folder of a run, or of another release.
    """
    return Run(read_folder(Path(path), None if store is None else Path(store)))


def fit_law(num_params: Sequence[float], losses: Sequence[float] | np.ndarray) -> Law:
    """Fit ``loss = intercept + slope ln N``, and ``E + A N^-a`` from four sizes on.

    Args:
        num_params: one per size.
        losses: nats per token, (sizes,) or (seeds, sizes).

    Raises:
        ValueError: fewer than three sizes, shapes that differ, or values that are not finite.
    """
    table = np.atleast_2d(np.asarray(losses, dtype=np.float64))
    line = fit_scaling_law(num_params, table.T.tolist())
    has_more = len(set(num_params)) > NUM_PARAMETERS
    return Law(line, fit_power_law(num_params, table.mean(0).tolist()) if has_more else None)


def compare(first: Evaluated, second: Evaluated) -> Compared:
    """The first less the second, at the seeds of both.

    Raises:
        ValueError: one was refused, or they share no sizes, seeds or horizon.
    """
    one, other = first.evaluation, second.evaluation
    if one.horizon != other.horizon:
        raise ValueError(f"{first.name} has {one.horizon}, {second.name} {other.horizon}")
    sizes, others = on_shared_seeds(one.sizes, other.sizes)
    counts = [float(size.num_params_non_embedding) for size in others]
    return Compared(
        names=(first.name, second.name),
        sizes=tuple(size.size.name for size in sizes),
        paired=compare_paired(counts, losses_by_seed(sizes), losses_by_seed(others), first.floor),
        horizon=one.horizon,
    )


def plot(*evaluated: Evaluated) -> Figure:
    """Losses over parameters with the line of each program; the points are seeds.

    Raises:
        ConfigError: matplotlib is not installed.
        ValueError: a program was refused.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("plot needs matplotlib: pip install 'openevolve-unified[plot]'") from None
    figure = Figure(figsize=(5.8, 3.4), layout="constrained")
    axes = figure.subplots()
    for one, marker in zip(evaluated, "osD^vP*X" * len(evaluated), strict=False):
        sizes, fit = one.evaluation.sizes, one.evaluation.fit
        counts = np.array([size.num_params_non_embedding for size in sizes], dtype=float)
        (line,) = axes.plot(counts, fit.intercept + fit.slope * np.log(counts), label=one.name)
        for count, size in zip(counts, sizes, strict=True):
            losses = size.losses_nats
            axes.plot([count] * len(losses), losses, marker, color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlabel("non-embedding parameters")
    axes.set_ylabel("loss, nats per token")
    axes.set_title(evaluated[0].evaluation.horizon if evaluated else "", fontsize="medium")
    axes.legend()
    return figure


def _source_of(program: type) -> str:
    """The text of a class of a file or of a notebook's cell, found by the lines of its methods."""
    for function in filter(inspect.isfunction, vars(program).values()):
        text = "".join(linecache.getlines(function.__code__.co_filename))
        line = function.__code__.co_firstlineno
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
                return ast.get_source_segment(text, node) or ""
    raise ConfigError(
        f"the class {program.__name__}: its text is not to be found; wanted one that is written "
        "with its methods at the top level of a file or a cell"
    )
