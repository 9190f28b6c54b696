"""The ranking of mechanisms: who takes part, what is refused, ties, controls, continuation."""

from __future__ import annotations

import numpy as np
import pytest
from made_judge import BASE, MadeJudge
from made_results import COUNTS
from shipped import shipped_source
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.ranking import (
    BASELINE,
    choose_entrants,
    one_seed_each,
    rank_mechanisms,
)
from openevolve_unified.config.fitness import FitnessConfig
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.records import Program
from openevolve_unified.runs.events import StageStarted

CD = "coefficient_dynamics"
LEVELS = {
    "softmax": 0.0,
    "delta_net": 0.05,
    "linear_attention": 0.10,
    "causal_mean": 0.25,
    "identity": 0.30,
}


def entrants(*names):
    return choose_entrants(CD, INITIAL, INITIAL, names or None)


def level_of(levels):
    by_source = {INITIAL: levels.get("softmax", 0.0)}
    for name, level in levels.items():
        if name != "softmax":
            by_source[shipped_source(name, CD)] = level
    return lambda source: by_source[source]


def ranked(levels, seeds=(0, 1, 2), **options):
    judge = MadeJudge(level_of(levels), seeds)
    silent = {"on_start": lambda title: None, "on_result": lambda result: None}
    return rank_mechanisms(judge, entrants(*levels), **silent, **options)


def test_all_mechanisms_of_the_framework_take_part_and_softmax_first():
    names = [entrant.name for entrant in entrants()]
    assert names == ["softmax", *(m.name for m in mechanisms() if m.framework == CD)]
    own = choose_entrants(CD, INITIAL + "# mine\n", INITIAL, None)
    assert [entrant.name for entrant in own][:2] == ["softmax", BASELINE]


def test_a_subset_is_taken_by_name():
    assert [e.name for e in entrants("identity", "softmax")] == ["softmax", "identity"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("delta_ned", r"'delta_ned' is unknown \(did you mean 'delta_net'\?\); wanted names of"),
        ("mesa", r"'mesa' is not written for .*; use --framework test_time_regression or matrix"),
        ("", r"'' is unknown"),
    ],
)
def test_a_name_that_there_is_not_is_refused(name, reason):
    with pytest.raises(ConfigError, match=f"^--only: mechanism {reason}"):
        entrants("softmax", name)


def test_the_order_is_found_with_the_controls_last_and_full_agreement():
    report = ranked(LEVELS)
    assert report.by_loss.names == tuple(LEVELS)
    assert report.by_loss.hsd < 0.05
    assert report.controls_last(report.by_loss) == {"causal_mean": (), "identity": ()}
    (schlag,) = [one for one in report.compared if one.order.name.startswith("WikiText")]
    assert (schlag.by_loss.tau, schlag.by_loss.ci95) == (1.0, (1.0, 1.0))
    assert report.error_from == "3 seeds"


def test_a_control_that_leads_is_named_with_what_it_leads():
    report = ranked({**LEVELS, "causal_mean": 0.07})
    assert report.controls_last(report.by_loss)["causal_mean"] == ("linear_attention",)


def test_the_score_is_guarded_so_harm_does_not_rank_first():
    # Small models hurt: a steep line, and a lower score for it.
    judge = MadeJudge(lambda source: 0.0 if source == INITIAL else 0.3, (0, 1))
    (own,) = one_seed_each(judge.evaluate("other"), FitnessConfig())[:1]
    assert own.score.combined == pytest.approx(own.score.fitness - 0.28, abs=0.02)


def test_each_seed_is_scored_against_its_own_baseline():
    judge = MadeJudge(lambda source: 0.0, (0, 1))
    both = judge.evaluate("other")
    alone = one_seed_each(both, FitnessConfig())
    assert [one.sizes[0].seeds for one in alone] == [(0,), (1,)]
    assert [one.baseline[0].seeds for one in alone] == [(0,), (1,)]
    assert both.fit.slope == pytest.approx(sum(one.fit.slope for one in alone) / 2)


def test_what_is_refused_is_listed_and_not_ranked():
    report = ranked({**LEVELS, "delta_net": "budget"})
    (refused,) = report.refused
    assert (refused.name, refused.stage) == ("delta_net", "budget")
    assert "delta_net" not in report.by_loss.names
    assert not any(one.order.name.startswith("WikiText") for one in report.compared)


def test_one_seed_has_no_error_unless_the_noise_was_measured():
    report = ranked(LEVELS, seeds=(0,))
    assert report.by_loss.hsd is None
    assert report.error_from == "one seed: unknown"
    assert {one.by_loss.ci95 for one in report.compared} == {None}
    losses = np.random.default_rng(0).normal(BASE, 0.002, (8, len(BASE)))
    report = ranked(LEVELS, seeds=(0,), noise=measure_noise(COUNTS, losses))
    assert report.by_loss.is_told_apart("softmax", "delta_net")
    assert report.error_from == "the measured noise (degrees of freedom: 7)"


def test_the_machines_trouble_is_no_place_in_the_ranking():
    with pytest.raises(MachineError, match="as it was made"):
        ranked({**LEVELS, "identity": "deadline"})


def test_a_ranking_that_was_killed_continues_and_trains_nothing_twice(one_worker, tmp_path):
    config = tiny_config(tmp_path, ExecutionConfig(num_workers=1, deadline_s=300), seeds=(1, 2))
    pipeline, events = build_pipeline(config, tmp_path, "store", one_worker)

    class KilledError(Exception):
        pass

    def killed_at(title):
        if "identity" in title:
            raise KilledError

    asked = entrants("softmax", "causal_mean", "identity")
    done = []
    with pytest.raises(KilledError):
        rank_mechanisms(pipeline, asked, on_start=killed_at, on_result=done.append)
    assert [one.name for one in done] == ["softmax", "causal_mean"]
    assert trained(events) == {"softmax": 6, "causal_mean": 6}
    events.clear()
    report = rank_mechanisms(
        pipeline, asked, on_start=lambda title: None, on_result=lambda result: None
    )
    assert trained(events) == {"identity": 6}
    assert report.seeds == (1, 2)
    assert set(report.by_score.names) == {"softmax", "causal_mean", "identity"}
    assert report.by_loss.degrees_of_freedom == 2


def trained(events):
    """How many models were trained of each mechanism."""
    names = {Program(source=e.source, framework=CD).source_hash[:12]: e.name for e in entrants()}
    return {
        names[event.program]: event.num_jobs
        for event in events
        if isinstance(event, StageStarted) and event.num_jobs
    }
