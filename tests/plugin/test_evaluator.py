"""The evaluator as OpenEvolve calls it: never an exception, never a score that misleads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from openevolve_unified import ScalingLawEvaluator
from openevolve_unified.config.names import FAILURE_SCORE, METRIC_NAMES, UNTRAINED_SCORE
from openevolve_unified.errors import CandidateError, ConfigError, MachineError
from openevolve_unified.plugin import native
from openevolve_unified.plugin.native import option_of
from openevolve_unified.runs.event_log import read_events
from openevolve_unified.runs.replay import replay

ROOT = Path(__file__).parents[2]


@pytest.fixture
def evaluator(tmp_path):
    mapping = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    program = ROOT / "initial_programs" / "coefficient_dynamics.py"
    mapping["scaling_law"].update(initial_program=str(program), output_dir="run")
    mapping["prompt"]["template_dir"] = str(ROOT / "configs" / "prompts")
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(mapping))
    with ScalingLawEvaluator(config=path) as evaluator:
        yield evaluator


class Raising:
    """Stands in for the pipeline."""

    def __init__(self, error, pipeline):
        self.error = error
        self.initial = pipeline.initial
        self.context, self.config = pipeline.context, pipeline.config

    def bounded(self):
        return self

    def evaluate(self, source, seeds=None, hurdle=None):
        raise self.error

    def check(self, source):
        raise self.error


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (RuntimeError("a bug"), "internal"),
        (MachineError("no time", "deadline"), "deadline"),
        (MachineError("no worker", "worker"), "worker"),
        (OSError(errno.EMFILE, "Too many open files"), "machine"),
        (OSError(errno.ENOSPC, "No space left on device"), "machine"),
        (ConfigError("the disk is full"), "set-up"),
        (MemoryError(), "internal"),
    ],
)
@pytest.mark.parametrize("method", ["evaluate", "check"])
def test_whatever_breaks_is_a_failure_and_not_an_exception(
    method, error, stage, evaluator, tmp_path
):
    evaluator.pipeline = Raising(error, evaluator.pipeline)
    program = tmp_path / "program.py"
    program.write_text("pass\n")
    result = getattr(evaluator, method)(program)
    assert result.metrics["combined_score"] == FAILURE_SCORE
    assert tuple(result.metrics) == METRIC_NAMES
    assert result.artifacts["verdict"].startswith(
        f"NOT JUDGED: the machine failed at the stage '{stage}'"
    )
    assert "rejected_because" not in result.artifacts
    path = evaluator.run_directory.events_path
    events = path.read_text()
    for kind, of_stage in (("config_error", "set-up"), ("bug", "internal")):
        assert (f'"{kind}"' in events) is (stage == of_stage)
    (trouble,) = replay(read_events(path).events).troubles
    assert trouble.stage == stage
    (entry,) = evaluator.run_directory.history()
    assert (entry["verdict"], entry["stage"]) == ("not judged", stage)


@pytest.mark.parametrize("method", ["evaluate", "check"])
def test_a_verdict_that_a_full_disk_cannot_hold_is_a_failure_and_not_an_exception(
    method, evaluator, tmp_path, monkeypatch
):
    evaluator.pipeline = Raising(CandidateError("causality", "it leaks"), evaluator.pipeline)
    program = tmp_path / "program.py"
    program.write_text("pass\n")
    events = []
    evaluator._listener = events.append

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = getattr(evaluator, method)(program)
    assert result.metrics["combined_score"] == FAILURE_SCORE
    assert "the disk is full" in result.artifacts["not_judged_because"]
    assert "the disk is full" in events[-1].message
    assert not [event for event in events if event.kind == "verdict"]


def test_a_rejection_is_no_trouble_of_the_machine(evaluator, tmp_path):
    evaluator.pipeline = Raising(CandidateError("causality", "it leaks"), evaluator.pipeline)
    program = tmp_path / "program.py"
    program.write_text("pass\n")
    evaluator.check(program)
    assert replay(read_events(evaluator.run_directory.events_path).events).troubles == []


def test_whoever_listens_the_events_are_written_down(tmp_path):
    heard = []
    with ScalingLawEvaluator(output_dir=tmp_path / "run", listener=heard.append) as evaluator:
        evaluator.evaluate(tmp_path / "missing.py")
        written = read_events(evaluator.run_directory.events_path).events
    assert [event.kind for event in heard] == ["candidate", "verdict"]
    assert [event.kind for event in written] == ["header", "candidate", "verdict"]


def test_stage_one_tells_a_legal_program_from_a_rejected_one(evaluator, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("pass\n")
    evaluator.pipeline = Raising(CandidateError("causality", "it leaks"), evaluator.pipeline)
    assert evaluator.check(program).metrics["combined_score"] == FAILURE_SCORE
    evaluator.pipeline.check = lambda source: None
    assert evaluator.check(program).metrics["combined_score"] == UNTRAINED_SCORE


def test_an_unreadable_program_is_a_failure(evaluator, tmp_path):
    result = evaluator.evaluate(tmp_path / "missing.py")
    assert result.metrics["combined_score"] == FAILURE_SCORE
    assert "cannot be read" in result.artifacts["rejected_because"]


def test_keyword_arguments_start_from_the_shipped_experiment(tmp_path):
    with ScalingLawEvaluator(
        framework="matrix_mixer",
        training_steps=50,
        eval_frequency=10,
        batch_size=4,
        learning_rate=0.002,
        warmup_steps=5,
        device="cpu",
        output_dir=tmp_path,
    ) as evaluator:
        law = evaluator.experiment.scaling_law
    assert (law.framework, law.training.training_steps, law.training.batch_size) == (
        "matrix_mixer",
        50,
        4,
    )
    assert law.training.learning_rate == 0.002
    assert law.data.source == "tinystories"
    with pytest.raises(ConfigError, match="wanted one of"):
        ScalingLawEvaluator(framework="matrix", output_dir=tmp_path)


def test_a_program_given_as_text_is_kept(evaluator, tmp_path):
    result = evaluator.evaluate_program("pass\n", tmp_path / "tried", 3)
    assert (tmp_path / "tried" / "program_3.py").read_text() == "pass\n"
    assert result.metrics["combined_score"] == FAILURE_SCORE


def test_the_config_of_the_running_command_is_found():
    assert option_of(["x", "--config", "a.yaml"], "--config", "-c") == "a.yaml"
    assert option_of(["x", "--config=b.yaml"], "--config", "-c") == "b.yaml"
    assert option_of(["x", "-c", "c.yaml"], "--config", "-c") == "c.yaml"
    assert option_of(["x", "--config"], "--config", "-c") is None


def test_a_program_that_uses_openevolve_as_a_library_gets_an_exception():
    code = (
        "import openevolve, openevolve_unified.plugin.native as native\n"
        "try: native.evaluator_of_this_command()\n"
        "except native.ConfigError as error: print('caught', error)"
    )
    environment = {k: v for k, v in os.environ.items() if k != native.CONFIG_VARIABLE}
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert output.stdout.startswith("caught --config: got none"), output.stderr


def test_the_process_that_holds_the_keys_never_imports_torch():
    code = (
        "import sys, openevolve_unified.plugin.session, openevolve_unified.plugin.native; "
        "print('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "False", output.stderr
