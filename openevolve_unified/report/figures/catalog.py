"""All figures of a run's report, in the order in which the report shows them."""

from __future__ import annotations

from openevolve_unified.report.figures.ablation import ablation_figure_of
from openevolve_unified.report.figures.coefficients import coefficients_figure_of
from openevolve_unified.report.figures.control import control_figure_of
from openevolve_unified.report.figures.cost import cost_figure
from openevolve_unified.report.figures.figure import Figure, Missing
from openevolve_unified.report.figures.fitness import fitness_figure
from openevolve_unified.report.figures.instrument import horizon_figure, noise_figure
from openevolve_unified.report.figures.population import grid_figure
from openevolve_unified.report.figures.scaling import dominance_figure, scaling_figure
from openevolve_unified.report.figures.search import lineage_figure, rejections_figure
from openevolve_unified.report.figures.training import curves_figure, health_figure
from openevolve_unified.report.figures.validation import validation_figure_of
from openevolve_unified.report.run_records import RunRecords

_FIGURES = (
    fitness_figure,
    scaling_figure,
    dominance_figure,
    curves_figure,
    lineage_figure,
    coefficients_figure_of,
    health_figure,
    grid_figure,
    rejections_figure,
    noise_figure,
    control_figure_of,
    horizon_figure,
    ablation_figure_of,
    validation_figure_of,
    cost_figure,
)


def figures_of(records: RunRecords) -> tuple[Figure | Missing, ...]:
    """Every figure, drawn or missing; nothing is drawn yet, and matplotlib is not needed."""
    return tuple(make(records) for make in _FIGURES)
