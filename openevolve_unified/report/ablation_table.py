"""The ablation as a person reads it, as Markdown, and as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openevolve_unified.judgement.ablation import Effect, PartEffects, Share
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.report.columns import aligned, markdown_table
from openevolve_unified.validation.ablations import AblatedGroup, AblationReport

HEADER = ("hunk", "class", "alone", "p", "share", "beside the others", "p", "share")
SLOPES = ("slope alone", "slope beside the others")


def ablation_lines(report: AblationReport) -> list[str]:
    """The table, what each hunk does, and whether the effects add up."""
    return [
        "",
        f"ablation in {report.framework} [{report.horizon}], {_seeds(report)}",
        *(f"  {text}" for text in _reading(report)),
        *aligned(HEADER, _rows(report)),
        *(f"  {text}" for text in sentences(report)),
    ]


def ablation_markdown(report: AblationReport) -> str:
    """The same for a file, with the hunks themselves."""
    lines = [
        f"# Ablation in {report.framework}",
        "",
        f"{report.horizon}; {_seeds(report)}.",
        *(f"{_capital(text)}." for text in _reading(report)),
        "",
        *markdown_table([*HEADER, *SLOPES], _rows_with_slopes(report)),
        "",
        *(f"- {_capital(text)}." for text in sentences(report)),
        "",
    ]
    for group in report.groups:
        lines += [f"## {_capital(group.name)}: {group.kind}", ""]
        lines += ["```diff", group.text, "```", ""]
    return "\n".join(lines)


def ablation_json(report: AblationReport) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    judged = report.judgement
    roles = {part.name: part.role for part in (*judged.parts, *judged.unions)}
    return {**to_plain(report), "roles": roles, "sentences": sentences(report)}


def hunk_lines(groups: Sequence[AblatedGroup]) -> list[str]:
    """The hunks with their numbers, before anything is checked or trained."""
    lines = []
    for group in groups:
        lines += [f"{group.name}: {group.kind}"]
        lines += [f"  {line}" for line in group.text.split("\n")]
    return lines


def sentences(report: AblationReport) -> list[str]:
    """What was found, in words."""
    judged = report.judgement
    texts = [_whole(report)]
    texts += [f"{part.name}: {part.role}" for part in (*judged.parts, *judged.unions)]
    if report.text_only:
        numbers = "+".join(map(str, report.text_only))
        texts.append(f"hunks of text alone (comments, docstrings, layout), left out: {numbers}")
    texts.append(_carriers(report))
    texts.append(_sum(report))
    texts += [f"{name} did not train: {reason}" for name, reason in report.failures.items()]
    if judged.is_few:
        texts.append(_few(report))
    return texts


def _reading(report: AblationReport) -> list[str]:
    number = report.judgement.num_tests
    known = "the seeds and the measured noise" if report.has_noise else "the seeds alone"
    return [
        f"effects: the loss at {report.sizes[-1]} with the hunk minus without it, nats per token, "
        "so below zero the hunk helps; +- is half the 95% interval",
        f"p after Holm's correction for {number} test{'' if number == 1 else 's'}; share, with its "
        "95% interval, of the difference of all hunks, where that is told apart from zero",
        f"errors come from {known}",
    ]


def _rows(report: AblationReport) -> list[list[str]]:
    judged = report.judgement
    classes: list[str] = [group.kind for group in report.groups]
    classes += ["constants" for _ in judged.unions]
    rows = [
        [part.name, kind, *_cells(part.alone), *_cells(part.within)]
        for part, kind in zip((*judged.parts, *judged.unions), classes, strict=True)
    ]
    return [*rows, ["all hunks", "", *_cells(judged.whole), "", "", ""]]


def _rows_with_slopes(report: AblationReport) -> list[list[str]]:
    judged = report.judgement
    slopes = [[_slope(part.alone), _slope(part.within)] for part in (*judged.parts, *judged.unions)]
    slopes.append([_slope(judged.whole), ""])
    return [[*row, *both] for row, both in zip(_rows(report), slopes, strict=True)]


def _cells(effect: Effect | None) -> list[str]:
    if effect is None:
        return ["did not train", "-", "-"]
    p = "-" if effect.p_holm is None else _p(effect.p_holm)
    if effect.comparison is None:
        return ["same program", p, _share(effect.share)]
    return [_interval(effect.comparison.largest_loss), p, _share(effect.share)]


def _slope(effect: Effect | None) -> str:
    if effect is None or effect.comparison is None:
        return "-"
    return _interval(effect.comparison.slope)


def _interval(estimate: Estimate) -> str:
    if estimate.ci95 is None:
        return f"{estimate.value:+.4f} (unknown)"
    return f"{estimate.value:+.4f} +- {estimate.ci95[1] - estimate.value:.4f}"


def _share(share: Share | None) -> str:
    if share is None:
        return "-"
    value, low, high = (f"{round(100 * part) + 0}%" for part in (share.value, *share.ci95))
    return f"{value} [{low} to {high}]"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _whole(report: AblationReport) -> str:
    whole = report.judgement.whole
    assert whole.comparison is not None
    found: str = {
        "helps": "the evolved program is better",
        "harms": "the evolved program is worse",
        "not told apart": "the evolved program is not told apart from the standard one, so there "
        "is no gain to share",
        "unknown": "whether the evolved program is better is unknown",
        "nothing": "",
    }[whole.side]
    p = "" if whole.p is None else f", p {_p(whole.p)}"
    return f"all hunks: {_interval(whole.comparison.largest_loss)} nats{p}; {found}"


def _carriers(report: AblationReport) -> str:
    parts = report.judgement.parts
    if any(part.role.startswith("unknown") for part in parts):
        return "which hunks carry a gain is unknown: one seed has no error"
    carry = [_named(report, part) for part in parts if part.carries]
    if not carry:
        return "no hunk is shown to carry a gain both alone and beside the others"
    return f"the gain is carried by {', '.join(carry)}"


def _named(report: AblationReport, part: PartEffects) -> str:
    (group,) = [group for group in report.groups if group.name == part.name]
    return f"{part.name} (tuning)" if group.kind == "constants" else part.name


def _sum(report: AblationReport) -> str:
    found = report.judgement.interaction
    if found is None:
        return "whether the effects add up is unknown: one of them could not be trained alone"
    text = f"all hunks minus the sum of their effects alone: {_interval(found)} nats"
    words = {
        "below": "the effects do not add up, together they gain more",
        "above": "the effects do not add up, together they gain less",
        "not told apart": "no interaction is told apart from zero, the effects add up as far as "
        "this can be seen",
        "unknown": "whether the effects add up is unknown",
    }[found.side_of_zero]
    return f"{text}; {words}"


def _few(report: AblationReport) -> str:
    judged = report.judgement
    number = judged.num_seeds
    told = f"{number} seed{' is' if number == 1 else 's are'} few"
    if number == 1 and not report.has_noise:
        return (
            f"{told}, and without a noise floor nothing has an error: use --seeds 4, or measure "
            "it first (openevolve-unified noise CONFIG)"
        )
    if judged.detectable_nats is not None:
        told += (
            f": a single test finds a true difference of {judged.detectable_nats:.4f} nats in 80% "
            "of cases, before the correction"
        )
    return f"{told}; what is not told apart from nothing may still have an effect"


def _seeds(report: AblationReport) -> str:
    number = len(report.seeds)
    return f"{number} seed{'' if number == 1 else 's'} ({', '.join(map(str, report.seeds))})"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
