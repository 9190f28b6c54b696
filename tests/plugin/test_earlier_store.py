"""What an earlier release left in the store is said once in each command, whichever it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from openevolve_unified import ScalingLawEvaluator
from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin import native, scaling_law_evaluator
from openevolve_unified.store import MARKER, Store

ROOT = Path(__file__).parents[2]
KEY = "ab" + "0" * 62


@pytest.fixture
def config(tmp_path, monkeypatch):
    """An experiment with records of the first format in its store."""
    monkeypatch.delenv(scaling_law_evaluator.TOLD_VARIABLE, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    mapping = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    program = ROOT / "initial_programs" / "coefficient_dynamics.py"
    mapping["scaling_law"].update(initial_program=str(program), output_dir="run")
    mapping["prompt"]["template_dir"] = str(ROOT / "configs" / "prompts")
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(mapping))
    Store(tmp_path / "store").put("runs", KEY, {"loss": 1.25})
    yield path
    os.environ.pop(scaling_law_evaluator.TOLD_VARIABLE, None)


def test_an_evaluator_says_it_once_and_its_records_lie_apart(config, tmp_path):
    events = []
    for _ in range(2):
        with ScalingLawEvaluator(config=config, listener=events.append) as evaluator:
            store = evaluator.pipeline.context.store
    (event,) = events
    assert event.kind == "notice"
    assert "records of an earlier release (runs: 1)" in event.message
    assert str(store.root) in event.message
    assert store.get("runs", KEY) is None
    assert Store(tmp_path / "store").get("runs", KEY) == {"loss": 1.25}


def test_another_store_is_said_too(config, tmp_path):
    Store(tmp_path / "other").put("evaluations", KEY, {})
    events = []
    ScalingLawEvaluator(config=config, listener=events.append).close()
    other = (f"scaling_law.execution.store_dir={tmp_path / 'other'}",)
    ScalingLawEvaluator(config=config, listener=events.append, overrides=other).close()
    assert [
        str(tmp_path / name) in event.message
        for name, event in zip(("store", "other"), events, strict=True)
    ] == [True, True]


def test_a_later_store_is_one_line(config, tmp_path):
    (tmp_path / "store" / MARKER).write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="has format 99, of a later release"):
        ScalingLawEvaluator(config=config)


NATIVE = """
import openevolve.cli, multiprocessing
from openevolve_unified.plugin.native import evaluator_of_this_command
def start():
    evaluator_of_this_command().close()
if __name__ == "__main__":
    start()
    start()
    worker = multiprocessing.get_context("spawn").Process(target=start)
    worker.start()
    worker.join()
"""


def test_openevolves_own_command_says_it_once_with_all_its_workers(config, tmp_path):
    (tmp_path / "own.py").write_text(NATIVE)
    environment = {**os.environ, native.CONFIG_VARIABLE: str(config)}
    command = [sys.executable, str(tmp_path / "own.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"note: the store {tmp_path / 'store'} holds records of")
    assert done.stderr.count("\n") == 1
    events = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert [json.loads(event)["kind"] for event in events] == ["header", "notice"]
