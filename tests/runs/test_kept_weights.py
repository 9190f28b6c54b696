"""Weights in a shared store: who wants them, and when they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from openevolve_unified.runs.kept_weights import KeptWeights
from openevolve_unified.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def run_in(store, folder, **claims):
    """A run that claimed and trained programs: program to the text of its keys."""
    weights = KeptWeights(store, folder)
    for program, keys in claims.items():
        weights.claim(program, keys.split())
        for key in keys.split():
            path = store.path("weights", key, ".safetensors")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return weights


def kept(store):
    return sorted(path.stem for path in (store.root / "weights").rglob("*.safetensors"))


def test_weights_of_programs_that_are_not_wanted_go(store, tmp_path):
    run = run_in(store, tmp_path / "run", initial="a1 a2", best="b1 b2", other="c1 c2")
    run.withdraw_others(["initial", "best", "other"], ["initial", "best"])
    assert kept(store) == ["a1", "a2", "b1", "b2"]
    assert run.lacking(["a1", "c1"]) == ["c1"]


def test_a_program_without_a_verdict_keeps_its_weights(store, tmp_path):
    run = run_in(store, tmp_path / "run", best="b1", training="d1")
    run.withdraw_others(["best"], ["best"])
    assert kept(store) == ["b1", "d1"]


def test_weights_that_two_programs_share_stay_until_neither_is_wanted(store, tmp_path):
    run = run_in(store, tmp_path / "run", one="s1", two="s1")
    run.withdraw_others(["one", "two"], ["two"])
    assert kept(store) == ["s1"]
    run.withdraw_others(["one", "two"], [])
    assert kept(store) == []


def test_a_run_never_drops_what_another_run_wants(store, tmp_path):
    one = run_in(store, tmp_path / "one", program="a1 a2")
    two = run_in(store, tmp_path / "two", program="a2 a3")
    one.withdraw_others(["program"], [])
    assert kept(store) == ["a2", "a3"]
    two.withdraw_others(["program"], [])
    assert kept(store) == []


def test_a_run_that_was_moved_aside_keeps_its_claims(store, tmp_path):
    run_in(store, tmp_path / "run", program="a1")
    (tmp_path / "run").rename(tmp_path / "run.1")
    new = run_in(store, tmp_path / "run", program="a1")
    new.withdraw_others(["program"], [])
    assert kept(store) == ["a1"], "the earlier run wants them"
    KeptWeights(store, tmp_path / "run.1").withdraw_others(["program"], [])
    assert kept(store) == []


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_run_killed_while_it_drops_weights_goes_on_where_it_was(
    store, tmp_path, monkeypatch, killed_at
):
    run = run_in(store, tmp_path / "run", program="a1 a2", best="b1")
    other = run_in(store, tmp_path / "other", program="a2")
    calls = []
    unlink = Path.unlink

    def killed(path, missing_ok=False):
        calls.append(path)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt) if killed_at <= 3 else pytest.raises(StopIteration):
        run.withdraw_others(["program", "best"], ["best"])
        raise StopIteration
    monkeypatch.undo()
    assert {"a2", "b1"} <= set(kept(store))
    run.withdraw_others(["program", "best"], ["best"])
    assert kept(store) == ["a2", "b1"]
    assert other.lacking(["a2"]) == []
