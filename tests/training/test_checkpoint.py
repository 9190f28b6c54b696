from __future__ import annotations

import errno
import logging
import os

import pytest
import torch

from openevolve_unified.errors import ConfigError
from openevolve_unified.health import Health, HealthPoint, LossTrend
from openevolve_unified.records import CurvePoint
from openevolve_unified.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)

HEALTH = Health(
    points=(
        HealthPoint(
            step=10,
            train_loss_nats=0.1 + 0.2,
            loss_sd_nats=1 / 3,
            gradient_norm=2 / 3,
            own_gradient_share=None,
            input_gradient_share=1 / 7,
            update_to_weight=1e-3,
            vanished_gradients=0.0,
        ),
    ),
    spikes=(3, 9),
    num_spikes=2,
    trend=LossTrend(
        level=1 / 7, slope=-1 / 3, variance=1 / 9, num_steps=12, total=0.7, squares=0.3, count=2
    ),
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        job_key="job",
        step=12,
        loss_total=1.1 + 2.2,
        loss_count=2,
        train_time_s=3.5,
        step_time_s=3.0,
        curve=(CurvePoint(step=10, train_loss_nats=0.1 + 0.2, validation_loss_nats=1 / 3),),
        health=HEALTH,
        tensors={"values": torch.randn(100), "exp_avg.0": torch.randn(7)},
    )


def test_what_is_saved_comes_back_exactly(tmp_path, checkpoint):
    path = tmp_path / "deep" / "job.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path, "job")
    assert loaded is not None
    assert loaded.curve == checkpoint.curve
    assert loaded.health == HEALTH
    assert (loaded.step, loaded.loss_total, loaded.loss_count) == (12, 1.1 + 2.2, 2)
    assert loaded.tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in checkpoint.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)


def test_a_checkpoint_whose_health_cannot_be_read_is_ignored_and_said(tmp_path, caplog, checkpoint):
    path = tmp_path / "job.safetensors"
    object.__setattr__(checkpoint, "health", {"spikes": 0.25})  # as an earlier release wrote it
    save_checkpoint(path, checkpoint)
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(path, "job") is None
    assert "health.spikes" in caplog.text


def test_saving_again_replaces_and_leaves_nothing_beside(tmp_path, checkpoint):
    path = tmp_path / "job.safetensors"
    save_checkpoint(path, checkpoint)
    save_checkpoint(path, checkpoint)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_checkpoint_is_none_without_a_word(tmp_path, caplog):
    assert load_checkpoint(tmp_path / "none", "job") is None
    assert not caplog.records


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip_a_bit(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


def _garbage(content: bytes) -> bytes:
    return b"not a checkpoint"


def _empty(content: bytes) -> bytes:
    return b""


def _change_the_step(content: bytes) -> bytes:
    return content.replace(b'\\"step\\": 12', b'\\"step\\": 13')


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _garbage, _empty, _change_the_step])
def test_a_damaged_checkpoint_is_ignored_and_said(tmp_path, caplog, checkpoint, damage):
    path = tmp_path / "job.safetensors"
    save_checkpoint(path, checkpoint)
    content = path.read_bytes()
    damaged = damage(content)
    assert damaged != content
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(path, "job") is None
    assert "ignoring the checkpoint" in caplog.text


def test_a_checkpoint_of_another_job_is_ignored_and_said(tmp_path, caplog, checkpoint):
    path = tmp_path / "job.safetensors"
    save_checkpoint(path, checkpoint)
    assert load_checkpoint(path, "other") is None
    assert "it belongs to another job" in caplog.text


def test_a_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path, monkeypatch, checkpoint):
    path = tmp_path / "job.safetensors"
    save_checkpoint(path, checkpoint)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"the disk is full: cannot write .*job\.safetensors"):
        save_checkpoint(path, checkpoint)
    assert list(tmp_path.iterdir()) == [path]
    assert load_checkpoint(path, "job") is not None


def test_removing_is_fine_with_and_without_a_file(tmp_path, checkpoint):
    path = tmp_path / "job.safetensors"
    remove_checkpoint(path)
    save_checkpoint(path, checkpoint)
    remove_checkpoint(path)
    assert not path.exists()
