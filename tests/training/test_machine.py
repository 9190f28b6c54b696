from __future__ import annotations

import contextlib

import pytest
import torch

from openevolve_unified.training.machine import exact_matmul_precision, training_settings


def _product_error() -> float:
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(96, 512, generator=generator)
    right = torch.randn(512, 96, generator=generator)
    exact = left.double() @ right.double()
    return ((left @ right).double() - exact).abs().max().item() / exact.abs().max().item()


def test_products_are_true_float32_while_training():
    with training_settings(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == exact_matmul_precision()
        assert _product_error() < 5e-6


def test_bfloat16_products_would_be_noticed():
    left = torch.randn(96, 512).bfloat16().float()
    assert (left.bfloat16() @ left.t().bfloat16()).float().sub(left @ left.t()).abs().max() > 1e-3


def test_convolutions_on_a_gpu_are_float32_as_everything_else_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    before = torch.backends.cudnn.allow_tf32
    with training_settings(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


def test_training_uses_one_thread_and_puts_the_settings_back():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()

    def train_and_fail() -> None:
        with training_settings(torch.device("cpu")):
            assert torch.get_num_threads() == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train_and_fail()
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == precision


def test_a_gpu_is_the_current_one_while_it_trains(monkeypatch):
    """Streams and graphs are made on the current GPU, so ``cuda:1`` must be it."""
    current = ["cuda:0"]

    @contextlib.contextmanager
    def device(chosen):
        current.append(str(chosen))
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    with training_settings(torch.device("cuda:1")):
        assert current[-1] == "cuda:1"
    assert current == ["cuda:0"]
