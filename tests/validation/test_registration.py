"""The registration: written once, bound by hashes, changed only by what is declared."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.registration import (
    DEVIATIONS,
    REGISTRATION,
    differences,
    read_registration,
    register,
)

PLAN = {"seeds": {"pairs": [1, 2, 3]}, "criteria": {"alpha": 0.05}}
OTHER = {"seeds": {"pairs": [1, 2, 3]}, "criteria": {"alpha": 0.1}}
POWER = {"sentence": "unknown"}


def test_a_plan_is_registered_once_and_found_again(tmp_path):
    first = register(tmp_path, PLAN, POWER, None)
    before = (tmp_path / REGISTRATION).read_bytes()
    again = register(tmp_path, PLAN, {"sentence": "measured since"}, None)
    assert again == first == read_registration(tmp_path)
    assert (tmp_path / REGISTRATION).read_bytes() == before
    assert not (tmp_path / DEVIATIONS).exists()


def test_another_plan_is_refused_by_what_differs_until_it_is_declared(tmp_path):
    register(tmp_path, PLAN, POWER, None)
    with pytest.raises(ConfigError, match=r"another plan is registered: criteria.alpha: 0.05 -> 0"):
        register(tmp_path, OTHER, POWER, None)
    declared = register(tmp_path, OTHER, POWER, "a reviewer asked")
    assert declared.plan == OTHER
    assert [d.text for d in declared.deviations] == ["a reviewer asked"]
    assert declared.deviations[0].changed == ("criteria.alpha: 0.05 -> 0.1",)
    assert register(tmp_path, OTHER, POWER, "a reviewer asked") == declared, "the same call again"
    assert register(tmp_path, OTHER, POWER, None) == declared
    back = register(tmp_path, PLAN, POWER, "it was a mistake")
    assert [d.text for d in back.deviations] == ["a reviewer asked", "it was a mistake"]


def test_a_deviation_declared_with_the_registration_itself_is_kept(tmp_path):
    found = register(tmp_path, PLAN, POWER, "trained before, by another study")
    assert [d.text for d in found.deviations] == ["trained before, by another study"]
    assert found.plan == PLAN
    again = register(tmp_path, PLAN, POWER, "trained before, by another study")
    assert again == found == register(tmp_path, PLAN, POWER, None)
    then = register(tmp_path, OTHER, POWER, "a reviewer asked")
    assert [d.text for d in then.deviations] == [found.deviations[0].text, "a reviewer asked"]


def test_a_kill_cannot_part_a_registration_from_its_first_deviation(tmp_path):
    """They are one file, so there is no moment with the one and without the other."""
    found = register(tmp_path, PLAN, POWER, "trained before, by another study")
    assert [path.name for path in tmp_path.iterdir()] == [REGISTRATION]
    edited(tmp_path / REGISTRATION, lambda written: written.update(deviations=[]))
    with pytest.raises(ConfigError, match=r"registration.json: it was edited after"):
        read_registration(tmp_path)
    assert found.deviations


@pytest.mark.parametrize("text", ["", "  "])
def test_a_deviation_needs_a_reason(tmp_path, text):
    with pytest.raises(ConfigError, match="--deviation: got no text"):
        register(tmp_path, PLAN, POWER, text)
    assert not list(tmp_path.iterdir()), "or the next call would go on with nothing declared"
    register(tmp_path, PLAN, POWER, None)
    with pytest.raises(ConfigError, match="--deviation: got no text"):
        register(tmp_path, OTHER, POWER, text)


def test_a_deviation_from_nothing_is_refused(tmp_path):
    register(tmp_path, PLAN, POWER, None)
    with pytest.raises(ConfigError, match="followed as it is"):
        register(tmp_path, PLAN, POWER, "to be safe")


def edited(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_a_registration_edited_by_hand_is_refused(tmp_path):
    register(tmp_path, PLAN, POWER, None)
    edited(tmp_path / REGISTRATION, lambda found: found["plan"]["criteria"].update(alpha=0.1))
    with pytest.raises(ConfigError, match=r"registration.json: it was edited after"):
        register(tmp_path, OTHER, POWER, None)


def test_deviations_edited_dropped_or_without_a_registration_are_refused(tmp_path):
    register(tmp_path, PLAN, POWER, None)
    register(tmp_path, OTHER, POWER, "one")
    register(tmp_path, PLAN, POWER, "two")
    path = tmp_path / DEVIATIONS
    whole = path.read_text()
    edited(path, lambda found: found["deviations"][0].update(text="none"))
    with pytest.raises(ConfigError, match=r"deviations.json: it was edited"):
        read_registration(tmp_path)
    path.write_text(whole)
    edited(path, lambda found: found["deviations"].pop(0))
    with pytest.raises(ConfigError, match="missing or out of order"):
        read_registration(tmp_path)
    path.write_text(whole)
    assert len(read_registration(tmp_path).deviations) == 2
    (tmp_path / REGISTRATION).unlink()
    with pytest.raises(ConfigError, match="it has deviations but no registration"):
        read_registration(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_damaged_registration_is_one_line(tmp_path, text):
    (tmp_path / REGISTRATION).write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as a registration"):
        read_registration(tmp_path)


def test_differences_are_named_by_their_place():
    found = differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1]}, "d": "new"})
    assert found == ("a.b: 1 -> 2", 'd: null -> "new"')
