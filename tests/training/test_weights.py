from __future__ import annotations

import pytest
import safetensors
import torch
from training_jobs import CPU, make_job, softmax

from openevolve_unified.errors import ConfigError
from openevolve_unified.training.step import build_model
from openevolve_unified.training.weights import load_weights, save_weights


def test_weights_come_back_exactly_under_the_names_in_the_model(tmp_path):
    job, path = make_job(), tmp_path / "deep" / "w.safetensors"
    model = build_model(job, softmax, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    save_weights(path, job, model)
    other = build_model(job, softmax, CPU)
    other.load_state_dict(load_weights(path))
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), name
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["job_key"] == job.key
    assert (metadata["framework"], metadata["size"], metadata["seed"]) == (
        "coefficient_dynamics",
        "32x2",
        "3",
    )
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"", b"half a file"])
def test_weights_that_cannot_be_loaded_are_one_line(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot load the weights .*w\.safetensors"):
        load_weights(path)
