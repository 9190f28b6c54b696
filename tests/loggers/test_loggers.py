"""Loggers: what they are told, and that a run never hears of their troubles."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import threading

import pytest
from made_run import ROOT, MadeRun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.logging import LoggingConfig, WandbConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.health import Health, HealthPoint
from openevolve_unified.loggers import follow
from openevolve_unified.loggers.follow import Follower, Named, require_loggers
from openevolve_unified.loggers.scalars import health_points, points_of
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.records import TrainRun
from openevolve_unified.runs.events import SessionStarted, Training
from openevolve_unified.store import open_store

PROGRAM = "f0ea286e2d8a"
ASKED = "scaling_law.logging.tensorboard=true"


@pytest.fixture
def run(tmp_path):
    return MadeRun(
        tmp_path / "run", num_confirmed=0, overrides=["scaling_law.logging.tensorboard=true"]
    )


def training(step, loss, validation=None):
    return Training(
        program=PROGRAM,
        size="96x2",
        seed=42,
        step=step,
        total_steps=750,
        tokens_per_step=1024,
        tokens_per_s=5.0,
        train_loss_nats=loss,
        validation_loss_nats=validation,
    )


def resumed():
    return SessionStarted(
        is_resumed=True, config_hash="c", framework="f", horizon="h", num_iterations=4
    )


def texts(folder, tag):
    found = EventAccumulator(str(folder))
    found.Reload()
    return [event.tensor_proto.string_val[0].decode() for event in found.Tensors(tag)]


def tensors(folder, tag):
    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.tensor_proto.float_val[0]) for event in found.Tensors(tag)]


class Kept(list):
    """A logger that keeps what it is told."""

    is_closed = False

    def log(self, point):
        self.append(point)

    def flush(self):
        pass

    def close(self):
        self.is_closed = True


class Broken(Kept):
    def log(self, point):
        raise OSError("No space left on device")


def follow_with(monkeypatch, run, *loggers, is_resumed=False, between=lambda: None):
    said = []
    named = [Named(type(one).__name__.lower(), lambda one=one: one) for one in loggers]
    monkeypatch.setattr(follow, "loggers_of", lambda experiment: named)
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    with Follower(run.experiment, is_resumed, said.append):
        between()
    return said


def test_tensorboard_shows_losses_scores_and_verdicts(run):
    run.log(training(100, 3.0, 3.5))
    with Follower(run.experiment, False, pytest.fail):
        run.log(training(750, 2.0))
    model = run.folder / "tensorboard" / PROGRAM / "96x2" / "seed_42"
    assert tensors(model, "loss/train") == [(100, 3.0), (750, 2.0)]
    assert tensors(model, "loss/validation") == [(100, 3.5)]
    search = run.folder / "tensorboard" / "search"
    entries = run.directory.history()
    trained = [e for e in entries if e["verdict"] == "trained"]
    assert tensors(search, "fitness") == [
        (entry["index"], pytest.approx(entry["fitness"])) for entry in trained
    ]
    assert any("it reads the future" in text for text in texts(search, "verdict"))


def test_the_health_of_a_finished_model_is_among_its_values(run, monkeypatch):
    point = HealthPoint(
        step=100,
        train_loss_nats=3.0,
        loss_sd_nats=0.1,
        gradient_norm=1.5,
        own_gradient_share=None,
        input_gradient_share=0.5,
        update_to_weight=0.01,
        vanished_gradients=0.0,
    )
    sizes = run.evaluation(run.initial, 0.0).sizes
    whole = dataclasses.replace(sizes[0].runs[0], health=Health(points=(point,)))
    open_store(run.experiment.store_dir).put("runs", whole.job_key, to_plain(whole))
    kept = Kept()
    follow_with(monkeypatch, run, kept)
    found = {p.tag: p.value for p in kept if p.tag.startswith("health/")}
    assert found["health/gradient_norm"] == 1.5
    assert "health/own_gradient_share" not in found


def test_a_logger_that_fails_is_dropped_with_one_line_and_the_others_go_on(run, monkeypatch):
    broken, kept = Broken(), Kept()
    said = follow_with(monkeypatch, run, broken, kept, between=lambda: run.log(training(1, 2.0)))
    assert said == [
        "note: logging to broken ended (OSError: No space left on device); the run goes on"
    ]
    assert kept
    assert kept.is_closed


def test_a_logger_that_cannot_begin_is_said_and_no_more(run, monkeypatch):
    said = []

    def make():
        raise RuntimeError("no service\nat all")

    monkeypatch.setattr(follow, "loggers_of", lambda experiment: [Named("wandb", make)])
    with Follower(run.experiment, False, said.append):
        pass
    assert said == ["note: logging to wandb ended (RuntimeError: no service); the run goes on"]


def test_a_resumed_run_logs_nothing_twice(run, monkeypatch):
    run.log(training(100, 3.0))
    run.log(resumed())
    run.log(training(750, 2.0))
    kept = Kept()
    follow_with(monkeypatch, run, kept, is_resumed=True)
    assert {point.step for point in kept} == {750}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_library_is_refused_before_anything_is_trained(monkeypatch, name):
    asked = {
        "tensorboard": LoggingConfig(tensorboard=True),
        "wandb": LoggingConfig(wandb=WandbConfig(project="p")),
    }[name]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        require_loggers(asked)
    assert str(caught.value) == (
        f"scaling_law.logging.{name}: {name} is not installed: "
        f"pip install 'openevolve-unified[{name}]'"
    )
    require_loggers(LoggingConfig())


def test_an_online_run_needs_a_key_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    online = LoggingConfig(wandb=WandbConfig(project="p", mode="online"))
    with pytest.raises(ConfigError, match="set WANDB_API_KEY in the environment"):
        require_loggers(online)
    monkeypatch.setenv("WANDB_API_KEY", "k")
    require_loggers(online)


def test_a_key_in_the_file_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_experiment(
            ROOT / "configs" / "quickstart.yaml",
            ["scaling_law.logging.wandb={project: p, api_key: abcdef}"],
        )
    assert "WANDB_API_KEY" in str(caught.value)
    assert "abcdef" not in str(caught.value)


def test_where_numbers_go_is_no_part_of_what_a_resumed_run_must_share(tmp_path):
    path = ROOT / "configs" / "quickstart.yaml"
    with_logging = load_experiment(path, [ASKED])
    assert with_logging.hash == load_experiment(path).hash


def test_a_model_without_health_has_no_points(run):
    whole = run.evaluation(run.initial, 0.0).sizes[0].runs[0]
    assert isinstance(whole, TrainRun)
    assert list(health_points(PROGRAM, "96x2", whole, 0.0)) == []
    assert list(points_of(resumed())) == []


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_writes_an_offline_run_without_a_key(run, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    law = dataclasses.replace(
        run.experiment.scaling_law, logging=LoggingConfig(wandb=WandbConfig(project="p"))
    )
    run.experiment = dataclasses.replace(run.experiment, scaling_law=law)
    with Follower(run.experiment, False, pytest.fail):
        run.log(training(750, 2.0))
    files = [path for path in (run.folder / "wandb").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not any(b"f" * 40 in path.read_bytes() for path in files)
    assert not [p for p in os.listdir("/proc") if _is_wandb_child(p)]


def _is_wandb_child(process):
    try:
        with open(f"/proc/{process}/stat") as stat, open(f"/proc/{process}/cmdline") as command:
            return int(stat.read().split()[3]) == os.getpid() and "wandb" in command.read()
    except (OSError, ValueError, IndexError):
        return False


def test_a_logger_that_hangs_does_not_hold_the_end_of_the_run(run, monkeypatch):
    freed = threading.Event()

    class Hanging(Kept):
        def log(self, point):
            freed.wait(30)

    monkeypatch.setattr(follow, "CLOSE_S", 0.1)
    try:
        said = follow_with(monkeypatch, run, Hanging())
    finally:
        freed.set()
    assert said == ["note: logging did not end within 0 s; the last values may be lost"]
