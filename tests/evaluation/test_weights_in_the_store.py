"""Weights that a run leaves in the store, on a real, tiny ladder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation import certificate, tasks
from openevolve_unified.evaluation.ladder import train_ladder, train_requests
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.runs.events import Notice
from openevolve_unified.runs.kept_weights import KeptWeights
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.machine import training_settings
from openevolve_unified.training.step import build_model
from openevolve_unified.training.weights import load_weights

CPU = torch.device("cpu")
KEEPING = ExecutionConfig(num_workers=1, deadline_s=300, keep_weights="all")


@pytest.fixture(scope="module")
def trained(one_worker, tmp_path_factory):
    """A context, its requests, the events of training, and the checked program."""
    folder = tmp_path_factory.mktemp("weights")
    pipeline, events = build_pipeline(tiny_config(folder, KEEPING), folder, "store", one_worker)
    context = pipeline.context
    context.weights = KeptWeights(context.store, folder / "run")
    checked = pipeline.check(INITIAL)
    train_ladder(context, checked, events.append)
    return context, train_requests(context, checked), events, checked


def test_a_model_rebuilt_from_trace_and_weights_has_the_recorded_loss(trained):
    context, requests, _, _ = trained
    validation = context.data().validation
    for request in requests:
        job = request.job
        traced = load_traced(Path(request.trace_path), request.gates).sizes[job.size.name]
        with training_settings(CPU):
            model = build_model(job, lambda layer: traced.mechanism(job.seed, layer), CPU)  # noqa: B023
            started_at = mean_loss_nats(model, validation, job.training.batch_size, CPU)
            path = context.store.path("weights", job.key, ".safetensors")
            model.load_state_dict(load_weights(path))
            loss = mean_loss_nats(model, validation, job.training.batch_size, CPU)
        assert loss == context.store.get("runs", job.key)["final_loss_nats"]
        assert loss != started_at


def test_what_was_trained_without_its_weights_is_said_once_and_not_trained_again(trained):
    context, requests, events, checked = trained
    train_ladder(context, checked, events.append)
    assert not [event for event in events if isinstance(event, Notice)], "all are there"
    path = context.store.path("weights", requests[0].job.key, ".safetensors")
    path.unlink()
    train_ladder(context, checked, events.append)
    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert notice.startswith("1 of this program's models were trained before")
    assert not path.exists()


@pytest.mark.parametrize(("rejection", "is_kept"), [(None, True), ("it reads the future", False)])
def test_refused_weights_are_not_kept(trained, tmp_path, monkeypatch, rejection, is_kept):
    _, requests, _, _ = trained
    request = dataclasses.replace(requests[0], store=str(tmp_path))
    if rejection is not None:

        def refuse(*arguments):
            raise CandidateError("trained_causality", rejection)

        monkeypatch.setattr(certificate, "require_causal", refuse)
    run = tasks.train(to_plain(request), lambda event: None)
    assert run["rejection"] == rejection
    assert bool(list(tmp_path.rglob("*.safetensors"))) == is_kept


def test_nothing_is_kept_unless_asked_for(trained, tmp_path):
    _, requests, _, _ = trained
    request = dataclasses.replace(requests[0], store=str(tmp_path), keep_weights=False)
    tasks.train(to_plain(request), lambda event: None)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_known_verdict_claims_its_weights_too_and_says_when_they_are_not_there(
    one_worker, tmp_path
):
    pipeline, events = build_pipeline(tiny_config(tmp_path, KEEPING), tmp_path, "store", one_worker)
    context = pipeline.context
    first = pipeline.evaluate(INITIAL)  # keeps them, claims nothing
    keys = [run.job_key for size in first.sizes for run in size.runs]
    context.weights = KeptWeights(context.store, tmp_path / "run")
    assert pipeline.evaluate(INITIAL).cached
    claimed = [path.name for path in (context.store.root / "weight_claims").glob("*/*/*")]
    assert sorted(claimed) == sorted(keys)
    assert not [event for event in events if isinstance(event, Notice)]
    context.store.path("weights", keys[0], ".safetensors").unlink()
    pipeline.evaluate(INITIAL)
    (notice,) = [event.message for event in events if isinstance(event, Notice)]
    assert notice.startswith("1 of this program's models were trained before")
