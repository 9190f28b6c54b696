"""The warm tracing process gets ready for what is asked of it, and not for more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from openevolve_unified.candidate import zygote
from openevolve_unified.candidate.tracer import Tracer
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.records import Program

SIZES = (SizeConfig(hidden_dim=8, num_layers=1, num_heads=2),)
MASKED = 'log_phi.masked_fill(~mask, float("-inf"))'
IN_PLACE = MASKED.replace("masked_fill", "clone().masked_fill_")

LOADED = """
import sys
from openevolve_unified.candidate import zygote
def loaded():
    return sum(name.startswith("torch") for name in sys.modules)
zygote._warm_up()
ready = loaded()
zygote._capture_once(zygote._FUNCTIONAL)
recorded = loaded()
zygote._capture_once(zygote._IN_PLACE)
exported = loaded()
zygote._capture_once(zygote._IN_PLACE)
print(recorded - ready, exported - recorded, loaded() - exported)
"""


def test_a_ready_process_has_imported_what_recording_takes_and_not_what_exporting_takes():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED], capture_output=True, text=True, check=True
    )
    by_recording, by_exporting, by_exporting_again = map(int, done.stdout.split())
    assert by_recording == 0
    assert by_exporting > 0
    assert by_exporting_again == 0


def test_a_first_program_that_is_exported_is_traced_from_inside_its_jail(desk, tmp_path):
    source = desk.initial_source("coefficient_dynamics")
    assert MASKED in source
    path = tmp_path / "traced.safetensors"
    with Tracer() as tracer:
        for text in (source.replace(MASKED, IN_PLACE), source):
            program = Program(source=text, framework="coefficient_dynamics")
            tracer.trace(program, SIZES, 8, (0,), GatesConfig(), path)
            assert path.read_bytes()
            path.unlink()


@pytest.mark.parametrize(
    ("exports", "wanted"),
    [([False, False], 0), ([False, True, True], 1)],
    ids=["recorded", "exported"],
)
def test_the_first_export_makes_the_process_ready_for_the_next(exports, wanted, monkeypatch):
    """``main`` with its children and imports replaced."""
    answers, traced = iter(exports), []
    monkeypatch.setattr(
        zygote, "confine_zygote", lambda scratch: SimpleNamespace(to_plain=lambda: {})
    )
    monkeypatch.setattr(zygote, "_warm_up", lambda: None)
    monkeypatch.setattr(zygote, "_capture_once", traced.append)
    monkeypatch.setattr(zygote, "_serve", lambda *arguments: next(answers))
    monkeypatch.setattr(zygote.wire, "receive", lambda *arguments: ({}, b""))
    requests = iter([True] * len(exports) + [False])
    monkeypatch.setattr(zygote, "_wait_for_request", lambda *arguments: next(requests))
    ours, theirs = socket.socketpair()
    with ours:
        assert zygote.main([str(theirs.detach()), str(os.getppid()), "/tmp"]) == 0
    assert traced == [zygote._IN_PLACE] * wanted
