"""The comparison of runs as a person reads it, as Markdown, and as one JSON object."""

from __future__ import annotations

from typing import Any

from openevolve_unified.judgement.estimates import Estimate, mean_with_error
from openevolve_unified.judgement.pairwise import PairwiseTest
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import told_energy
from openevolve_unified.report.columns import aligned, markdown_table
from openevolve_unified.report.console import format_duration
from openevolve_unified.validation.frameworks import ComparedRun, Declared, FrameworkComparison

_VARIANT = ["run", "best", "seeds", "score", "test loss", "against its initial", "slope (test)"]
_SEARCH = ["run", "proposals", "legal", "improving", "above", "gain", "a proposal", "an hour"]
_COST = ["run", "training", "wall", "models", "operations", "energy", "price"]
_ONE_RUN = (
    "the tests are of these programs over seeds of training: another run of evolution would have "
    "found another program, so they say nothing of what a framework finds on average"
)
_LUCK = (
    "a best that is 'selected' was not confirmed: its numbers are too good on average, by its luck"
)


def comparison_lines(found: FrameworkComparison) -> list[str]:
    """Best variants, evolvability, cost, tests, and what was declared."""
    return [
        "",
        f"comparison of {len(found.runs)} runs [{_horizons(found)}]",
        *(f"  {text}" for text in _declarations(found)),
        "",
        "  best variants on the test split, at the largest size; less is better (nats per token; "
        "+- over seeds, df: its degrees of freedom)",
        *aligned(_VARIANT, [_variant(run) for run in found.runs]),
        *_note(found),
        "",
        "  evolvability: gains in score over the initial program, confirmed where it says so",
        *aligned(_SEARCH, [_search(run) for run in found.runs]),
        "",
        "  cost",
        *aligned(_COST, [_cost(run) for run in found.runs]),
        "",
        *(f"  {text}" for text in _tests(found)),
    ]


def comparison_markdown(found: FrameworkComparison) -> str:
    """The same for a file."""
    lines = [
        f"# Comparison of {', '.join(run.name for run in found.runs)}",
        "",
        f"{_horizons(found)}. Losses in nats per token on the test split, which chose nothing.",
        "",
        *(f"- {text}" for text in _declarations(found)),
        "",
        "## Best variants",
        "",
        *markdown_table(_VARIANT, [_variant(run) for run in found.runs]),
        *(f"\n{text.strip()}" for text in _note(found)),
        "",
        "## Evolvability",
        "",
        *markdown_table(_SEARCH, [_search(run) for run in found.runs]),
        "",
        "## Cost",
        "",
        *markdown_table(_COST, [_cost(run) for run in found.runs]),
        "",
        "## Tests",
        "",
        *(f"- {text}" for text in _tests(found)),
    ]
    return "\n".join(lines) + "\n"


def comparison_json(found: FrameworkComparison) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    plain: dict[str, Any] = to_plain(found)
    for told, run in zip(plain["runs"], found.runs, strict=True):
        search = run.evolvability
        told["evolvability"].update(
            legal_share=search.legal_share,
            gain_per_proposal=search.gain_per_proposal,
            gain_per_hour=search.gain_per_hour,
        )
    for told, test in zip(plain["tests"], found.tests, strict=True):
        told["verdict"] = test.verdict
    return {**plain, "sentences": _tests(found)}


def test_line(test: PairwiseTest) -> str:
    """One pair in one quantity, in words."""
    head = f"{test.quantity}: {test.first} against {test.second}"
    value = "" if test.difference is None else f" {_interval(test.difference)}"
    if test.p is None or test.p_holm is None:
        return f"{head}{value}: not tested ({test.reason})"
    note = f"; {test.reason}" if test.reason else ""
    return (
        f"{head}{value}: {test.verdict} (p {test.p:.3g}, {test.p_holm:.3g} after Holm; "
        f"{test.method}, {test.num_seeds} seeds{note})"
    )


def _horizons(found: FrameworkComparison) -> str:
    return "; ".join(dict.fromkeys(run.horizon for run in found.runs))


def _declarations(found: FrameworkComparison) -> list[str]:
    return [f"declared: {_declaration(item)}" for item in found.declared]


def _declaration(item: Declared) -> str:
    values = ", ".join(f"{name} {_short(value)}" for name, value in item.values.items())
    return f"{item.key} differs ({values}), because: {item.why}"


def _variant(run: ComparedRun) -> list[str]:
    own = run.variant
    against = "" if own.against_initial is None else own.against_initial.short
    return [
        run.name,
        f"{own.basis}: {own.file}",
        str(len(own.seeds)),
        own.fitness.short,
        mean_with_error(list(own.largest.values())).short.removeprefix("+"),
        against,
        mean_with_error(list(own.slopes.values())).short,
    ]


def _note(found: FrameworkComparison) -> list[str]:
    return [f"  ({_LUCK})"] if any(r.variant.basis == "selected" for r in found.runs) else []


def _search(run: ComparedRun) -> list[str]:
    own = run.evolvability
    told = f"{own.gain:+.4f}"
    if own.confirmed_gain is not None:
        told = f"{own.confirmed_gain.short} confirmed ({own.selected_gain:+.4f} selected)"
    return [
        run.name,
        str(own.num_proposals),
        "-" if own.legal_share is None else f"{own.legal_share:.0%}",
        str(own.num_improving),
        str(own.num_above),
        told,
        _rate(own.gain_per_proposal),
        _rate(own.gain_per_hour),
    ]


def _cost(run: ComparedRun) -> list[str]:
    own = run.cost
    training_h = own.search_h + (own.confirmation_h or 0.0) + own.refused_h
    return [
        run.name,
        format_duration(3600 * training_h),
        format_duration(3600 * own.wall_h),
        str(own.num_models),
        "not planned" if own.operations is None else f"{own.operations:.2e}",
        told_energy(own.energy_joules),
        "no price" if own.price is None else f"{own.price:,.2f}",
    ]


def _tests(found: FrameworkComparison) -> list[str]:
    if found.not_tested is not None:
        return [f"no pair is tested: {found.not_tested}"]
    return [*(test_line(test) for test in found.tests), _ONE_RUN]


def _interval(estimate: Estimate) -> str:
    text = f"{estimate.value:+.4f}"
    if estimate.ci95 is None:
        return text
    return f"{text} [{estimate.ci95[0]:+.4f} to {estimate.ci95[1]:+.4f}]"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
