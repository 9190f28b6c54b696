"""The ranking as it is told: ties as ranges, unknown errors marked, refusals with why."""

from __future__ import annotations

import dataclasses
import json

from openevolve_unified.calibration.published import ORDERS
from openevolve_unified.calibration.ranking import Compared, Measured, RankingReport, Refused
from openevolve_unified.judgement.ranking import agreement, rank
from openevolve_unified.report.ranking_table import ranking_json, ranking_lines, ranking_markdown

LOSSES = {
    "softmax": (1.06, 1.07),
    "delta_net": (1.061, 1.075),
    "linear_attention": (1.20, 1.2101),
    "causal_mean": (1.30, 1.3102),
}


def made_report(num_seeds=2, names=tuple(LOSSES)):
    losses = {name: LOSSES[name][:num_seeds] for name in names}
    scores = {name: tuple(-loss for loss in values) for name, values in losses.items()}
    order = ORDERS[0]
    found = agreement(losses, order.values, less_is_better=True, published_less_is_better=True)
    return RankingReport(
        framework="coefficient_dynamics",
        horizon="pilot, 750 of 100,000 steps",
        sizes=("32x2", "96x2"),
        seeds=(42, 43)[:num_seeds],
        measured=tuple(
            Measured(
                name=name,
                is_control=name == "causal_mean",
                program="abc",
                num_params_non_embedding=(25_000, 223_000),
                losses_nats=(values, values),
                slopes=values,
                scores=values,
            )
            for name, values in losses.items()
        ),
        refused=(Refused(name="rwkv7", stage="budget", reason="too many operations"),),
        by_score=rank(scores, less_is_better=False) if losses else None,
        by_loss=rank(losses, less_is_better=True) if losses else None,
        compared=(Compared(order=order, by_score=found, by_loss=found),),
        error_from="2 seeds" if num_seeds > 1 else "one seed: unknown",
    )


def line_of(lines, word):
    (found,) = [line for line in lines if word in line and "+-" in line and "means" not in line]
    return found.split()


def test_ties_are_ranges_and_every_number_has_its_error():
    lines = ranking_lines(made_report())
    assert "[pilot, 750 of 100,000 steps], 2 seeds (42, 43)" in lines[1]
    assert line_of(lines, "softmax")[0] == "1-2"
    assert line_of(lines, "delta_net")[0] == "1-2"
    assert line_of(lines, "linear_attention")[0] == "3"
    assert line_of(lines, "causal_mean")[:2] == ["4", "causal_mean"]
    assert any("control causal_mean, by the loss: behind every mechanism" in x for x in lines)
    assert any("rwkv7: refused at 'budget': too many operations" in line for line in lines)


def test_a_published_order_has_its_source_its_interval_its_chance_and_its_caution():
    text = "\n".join(ranking_lines(made_report()))
    assert "arXiv 2102.11174" in text
    assert "tau +1.00 [+0.33 to +1.00], 3 shared, chance 0.17" in text
    assert "caution: the closest setting" in text


def test_one_seed_says_unknown_and_marks_the_ranks():
    text = "\n".join(ranking_lines(made_report(num_seeds=1)))
    assert "one seed: unknown, so no two mechanisms are told apart" in text
    assert "1?  " in text
    assert "+-" not in text
    assert "tau +1.00 [one seed: unknown]" in text
    assert "not told apart from softmax, delta_net, linear_attention" in text


def test_a_control_that_leads_is_told():
    report = made_report()
    losses = {**LOSSES, "causal_mean": (1.1, 1.1101)}
    ahead = dataclasses.replace(report, by_loss=rank(losses, less_is_better=True))
    lines = ranking_lines(ahead)
    assert any("control causal_mean, by the loss: ahead of linear_attention" in x for x in lines)


def test_the_files_say_the_same_and_json_is_plain():
    report = made_report()
    text = ranking_markdown(report)
    assert "| 1-2 | softmax | 1.0650 +- " in text
    assert "- rwkv7 at `budget`: too many operations" in text
    assert "arXiv 2102.11174" in text
    found = json.loads(json.dumps(ranking_json(report), allow_nan=False))
    assert found["by_loss"]["rows"][0]["best_rank"] == 1
    assert found["controls_not_told_apart_from"]["by_loss"] == {"causal_mean": []}
    assert found["compared"][0]["order"]["values"]["softmax"] == 33.0


def test_nothing_trained_is_nothing_ranked():
    report = dataclasses.replace(made_report(names=()), compared=())
    assert any("nothing was trained" in line for line in ranking_lines(report))
    assert "Nothing was trained" in ranking_markdown(report)
    assert ranking_json(report)["by_loss"] is None
