"""What workers do, without what they do it to."""

from __future__ import annotations

import pytest
import torch
from hand_made_job import hand_made_job

from openevolve_unified import records
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.evaluation import tasks
from openevolve_unified.evaluation.requests import TrainRequest


def test_a_job_of_another_training_version_is_another_job(monkeypatch):
    before = hand_made_job().key
    assert hand_made_job().key == before
    monkeypatch.setattr(records, "TRAINING_VERSION", 99)
    assert hand_made_job().key != before


@pytest.mark.parametrize("device_type", ["cuda", "cpu"])
def test_a_job_on_a_gpu_gives_its_memory_back_also_when_it_fails(
    device_type, tmp_path, monkeypatch
):
    request = TrainRequest(
        job=hand_made_job(device_type=device_type),
        trace_path="t",
        gates=GatesConfig(),
        data_folder="d",
        store=str(tmp_path),
        device="cpu",
        step_kind="plain",
        num_slots=1,
        workers_per_device=1,
    )
    given_back = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(True))
    monkeypatch.setattr(tasks, "_train_fresh", lambda *_: (_ for _ in ()).throw(ValueError("it")))
    with pytest.raises(ValueError, match="it"):
        tasks.train(request.training().arguments, print)
    assert given_back == [True] * (device_type == "cuda")
