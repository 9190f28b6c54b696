"""No cheat passes, each is caught for what it is, and no published mechanism is turned away."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re

import pytest
from json_keys import undocumented

from openevolve_unified.isolation.probes.run import ProbeVerdict
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.notations import CD, FRAMEWORKS, TTR
from openevolve_unified.redteam.catalog import CHEATS
from openevolve_unified.redteam.cheat import GUARD, SCORES, SOFTMAX, Family, honest_twin
from openevolve_unified.redteam.command import build_pipeline
from openevolve_unified.redteam.run import RedTeamReport, run_red_team, try_cheat, try_honest
from openevolve_unified.redteam.table import report_json, result_line, summary


def sampled(items, is_always_run):
    """Some items by default, all of them with ``-m slow`` or from the command."""
    return [
        item if is_always_run(position, item) else pytest.param(item, marks=pytest.mark.slow)
        for position, item in enumerate(items)
    ]


FIRST_OF_FAMILY = {cheat.family: cheat for cheat in reversed(CHEATS)}
COSTLY = ("resource abuse",)
"""Families with programs that run into the deadline of a trace."""


def is_in_the_sample(position, cheat):
    if cheat.family in COSTLY:
        return cheat.name in ("recursion without end", "memory without end", "exit with success")
    is_first = FIRST_OF_FAMILY[cheat.family] is cheat
    return is_first or cheat.depth == "evaluate" or position % 24 == 0


SAMPLED_CHEATS = sampled(CHEATS, is_in_the_sample)
SAMPLED_MECHANISMS = sampled(mechanisms(), lambda position, _: position % 13 == 0)


@pytest.mark.parametrize("cheat", SAMPLED_CHEATS, ids=lambda cheat: f"{cheat.family}: {cheat.name}")
def test_every_cheat_is_caught_for_what_it_is(cheat, pipelines):
    result = try_cheat(cheat, pipelines[cheat.framework])
    assert result.verdict == "caught", result_line(result) + "\n" + result.reason


@pytest.mark.parametrize("mechanism", SAMPLED_MECHANISMS, ids=lambda m: f"{m.framework}-{m.name}")
def test_no_published_mechanism_is_turned_away(mechanism, pipelines):
    result = try_honest(mechanism, pipelines[mechanism.framework])
    assert result.verdict == "accepted", result.reason


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_honest_twin_of_the_cheats_is_accepted(framework, pipelines):
    cheat = next(cheat for cheat in CHEATS if cheat.framework == framework)
    source = honest_twin(cheat).source(pipelines[framework].initial.source)
    assert pipelines[framework].check(source).fingerprint


def test_the_sample_has_every_family_and_every_framework():
    run = [cheat for cheat in SAMPLED_CHEATS if cheat in CHEATS]
    assert {cheat.family for cheat in run} == {cheat.family for cheat in CHEATS}
    assert {cheat.framework for cheat in run} == set(FRAMEWORKS)
    honest = [mechanism for mechanism in SAMPLED_MECHANISMS if mechanism in mechanisms()]
    assert {mechanism.framework for mechanism in honest} == set(FRAMEWORKS)


def test_every_cheat_says_what_it_must_be_caught_for():
    assert [cheat.name for cheat in CHEATS if not cheat.reason] == []


def test_the_catalog_covers_all_frameworks_under_distinct_names():
    names = [(cheat.framework, cheat.name) for cheat in CHEATS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
    assert {cheat.framework for cheat in CHEATS} == set(FRAMEWORKS)
    assert any(GUARD in cheat.stages for cheat in CHEATS)


HONEST = Family(name="honest", stages=("causality",), reason="position")


def test_a_program_that_passes_is_reported_as_missed(pipelines):
    cheat = HONEST.cheat("not a cheat", CD, SCORES, SOFTMAX)
    result = try_cheat(cheat, pipelines[CD])
    assert (result.verdict, result.stage) == ("missed", "accepted")


def test_the_same_cheat_is_missed_when_its_check_is_weakened(pipelines, tmp_path):
    cheat = next(cheat for cheat in CHEATS if cheat.name == "a hidden layer four times as wide")
    sound = pipelines[cheat.framework]
    assert try_cheat(cheat, sound).verdict == "caught"
    gates = dataclasses.replace(sound.config.gates, max_params_ratio=9.0, max_flops_ratio=9.0)
    config = dataclasses.replace(sound.config, gates=gates)
    machine = sound.context.machine
    weakened = build_pipeline(machine, config, sound.initial.source, tmp_path, tmp_path, print)
    assert try_cheat(cheat, weakened).verdict == "missed"


def test_a_trained_program_that_does_no_harm_is_reported_as_missed(pipelines):
    family = dataclasses.replace(HONEST, stages=(GUARD,), depth="evaluate")
    result = try_cheat(family.cheat("not a cheat", CD, SCORES, SOFTMAX), pipelines[CD])
    assert (result.verdict, result.stage) == ("missed", "accepted")


def test_a_cheat_caught_for_another_reason_is_reported_as_mistaken(pipelines):
    cheat = HONEST.cheat("wrong shape", TTR, "return q[..., :1]")
    result = try_cheat(cheat, pipelines[TTR])
    assert (result.verdict, result.stage) == ("mistaken", "program")
    reworded = dataclasses.replace(cheat, stages=("program",), reason="not in the reason")
    assert try_cheat(reworded, pipelines[TTR]).verdict == "mistaken"


def test_a_mechanism_that_is_not_causal_is_reported_as_rejected(pipelines, tmp_path):
    leak = HONEST.cheat("no mask", CD, SCORES, "return s.softmax(dim=-1)")
    path = tmp_path / "leak.py"
    path.write_text(leak.source(pipelines[CD].initial.source))
    mechanism = dataclasses.replace(mechanisms()[0], framework=CD, path=path)
    result = try_honest(mechanism, pipelines[CD])
    assert (result.verdict, result.stage) == ("rejected", "causality")


def test_a_mechanism_known_to_be_costly_is_over_budget_and_not_rejected(pipelines, tmp_path):
    body = "a = s.masked_fill(~mask, -torch.inf).softmax(-1)\nfor _ in range(90):\n    a = a @ a\n"
    costly = HONEST.cheat("powers", CD, SCORES, body + "return a")
    path = tmp_path / "costly.py"
    path.write_text(costly.source(pipelines[CD].initial.source))
    known = dataclasses.replace(mechanisms()[0], framework=CD, path=path, over_budget_at=("full",))
    assert try_honest(known, pipelines[CD]).verdict == "over budget"
    unknown = dataclasses.replace(known, over_budget_at=())
    assert try_honest(unknown, pipelines[CD]).verdict == "rejected"


@pytest.fixture(scope="module")
def results(pipelines):
    honest = HONEST.cheat("not a cheat", CD, SCORES, SOFTMAX)
    leak = HONEST.cheat("no mask", CD, SCORES, "return s.softmax(dim=-1)")
    seen = []
    report = run_red_team(
        pipelines.__getitem__, pipelines.__getitem__, seen.append, (honest, leak), mechanisms()[:1]
    )
    return report, seen


def test_the_report_says_what_was_missed_as_text_and_as_json(results):
    report, seen = results
    assert [result.verdict for result in seen] == ["missed", "caught", "accepted"]
    assert not report.is_clean
    text = summary(report, None)
    assert "cheats: 2 tried, 1 caught, 0 mistaken, 1 missed" in text
    assert "not a cheat" in text
    assert "no mask" not in text
    assert "accepted: it passed every check (expected: causality, 'position')" in text
    plain = json.loads(json.dumps(report_json(report, None)))
    assert undocumented("redteam", plain) == []
    assert plain["clean"] is False
    assert [cheat["stage"] for cheat in plain["cheats"]] == ["accepted", "causality"]


def test_an_escape_or_a_wrong_reason_makes_the_report_unclean(results):
    caught = RedTeamReport(cheats=results[0].cheats[1:], honest=results[0].honest)
    stopped = ProbeVerdict(stopped=("fork",), escaped=(), not_applicable=())
    assert caught.is_clean
    assert report_json(caught, stopped)["clean"] is True
    mistaken = dataclasses.replace(caught.cheats[0], verdict="mistaken")
    assert not dataclasses.replace(caught, cheats=(mistaken,)).is_clean
    escaped = ProbeVerdict(stopped=(), escaped=("fork",), not_applicable=())
    assert report_json(caught, escaped)["clean"] is False
    assert "ESCAPED     fork" in summary(caught, escaped)


REPLACED = r'sys\.modules\["(openevolve_unified[\w.]+)"\]|^\s*room\.(\w+) ='
"""A module that a cheat names in its text, or a name of the last such module that it replaces."""


def test_what_a_forgery_replaces_is_there():
    """Modules are named in text, so a cheat whose target had moved would fail before it attacks."""
    replaced = set()
    for cheat in CHEATS:
        text = "\n".join(str(value) for value in dataclasses.astuple(cheat))
        room = ""
        for named, name in re.findall(REPLACED, text, re.MULTILINE):
            room = named or room
            replaced.update({(room, name)} if name else ())
    assert len(replaced) >= 3
    missing = [
        f"{room}.{name}"
        for room, name in replaced
        if not hasattr(importlib.import_module(room), name)
    ]
    assert missing == []
