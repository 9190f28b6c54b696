"""Imports that Python's collector does not walk through."""

from __future__ import annotations

import gc

import pytest

from openevolve_unified.plain.imports import many_imports


@pytest.fixture(autouse=True)
def _collector_as_before():
    was_enabled = gc.isenabled()
    yield
    if was_enabled:
        gc.enable()
    else:
        gc.disable()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_what_imports_make_is_set_aside_and_the_collector_is_as_before(was_enabled):
    gc.enable() if was_enabled else gc.disable()
    before = gc.get_freeze_count()
    with many_imports():
        assert not gc.isenabled()
        made = [[] for _ in range(1_000)]
    assert gc.isenabled() == was_enabled
    assert gc.get_freeze_count() >= before + len(made)


def test_an_import_that_fails_leaves_the_collector_as_before():
    gc.enable()
    with pytest.raises(ImportError), many_imports():
        raise ImportError
    assert gc.isenabled()
