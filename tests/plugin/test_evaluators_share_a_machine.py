"""Several evaluators on one machine: in turn, at the same time, and each with its own to close."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tiny_ladder import INITIAL, processes_of, wait_until

from openevolve_unified import ScalingLawEvaluator
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.machine import Machine

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SIZES = [{"hidden_dim": d, "num_layers": 1, "num_heads": d // 8} for d in (16, 24, 32)]
SETTINGS = {
    "ladder": SIZES,
    "data.num_documents": 600,
    "data.vocab_size": 300,
    "data.seq_len": 16,
    "data.validation_sequences": 32,
    "data.test_sequences": 32,
    "training.training_steps": 20,
    "training.batch_size": 8,
    "training.warmup_steps": 5,
    "training.eval_frequency": 10,
    "execution.device": "cpu",
    "execution.num_workers": 2,
}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """From settings that differ to an experiment that trains in a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(name, **changed):
        settings = SETTINGS | {key.replace("__", "."): value for key, value in changed.items()}
        overrides = [f"scaling_law.{key}={value}" for key, value in settings.items()]
        return load_experiment(QUICKSTART, overrides, tmp_path / name)

    return load


@pytest.fixture
def programs(tmp_path):
    """The initial program, and one with another readout."""
    texts = INITIAL, INITIAL.replace("        return z\n", "        return 0.5 * z\n", 1)
    paths = [tmp_path / "initial.py", tmp_path / "half.py"]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def test_two_evaluators_take_turns_and_work_at_once_and_leave_the_machine_open(
    experiment, programs, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH_OF_THIS_TEST", "shared-machine")
    first = experiment("first")
    second = experiment("second", training__learning_rate=0.01)
    with Machine(first.scaling_law.execution, tmp_path / "logs") as machine:
        both = [ScalingLawEvaluator(config=e, machine=machine) for e in (first, second)]
        slopes = [[evaluator.judge(programs[0]).fit.slope] for evaluator in both]
        workers = processes_of("shared-machine")
        assert len(workers) == 2

        def judge(evaluator, found):
            found.append(evaluator.judge(programs[1]).fit.slope)

        threads = [
            threading.Thread(target=judge, args=pair) for pair in zip(both, slopes, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({slope for found in slopes for slope in found}) == 4
        assert [len(evaluator.run_directory.history()) for evaluator in both] == [2, 2]
        for evaluator in both:
            evaluator.close()
        assert processes_of("shared-machine") == workers, "nothing ended, nothing started twice"
        assert both[0].judge(programs[0]).cached
    assert processes_of("shared-machine") == []
    with ScalingLawEvaluator(config=experiment("alone", training__learning_rate=0.01)) as alone:
        alone.pipeline.context.machine.executor().warm_up(1)
        assert wait_until(lambda: len(processes_of("shared-machine")) == 1)
    assert processes_of("shared-machine") == [], "its own machine ends with it"


def test_a_machine_that_was_made_for_other_settings_is_refused(experiment, tmp_path):
    machine = Machine(experiment("first").scaling_law.execution, tmp_path / "logs")
    accepted = ScalingLawEvaluator(
        config=experiment("late", execution__deadline_s=9), machine=machine
    )
    assert accepted.pipeline.context.machine is machine
    with pytest.raises(
        ConfigError,
        match=r"^scaling_law.execution: got num_workers 1, but the machine that was given has "
        r"num_workers 2; use the same settings, or leave the machine out$",
    ):
        ScalingLawEvaluator(config=experiment("other", execution__num_workers=1), machine=machine)
