from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from openevolve_unified.model import vocabulary_loss as module
from openevolve_unified.model.vocabulary_loss import position_losses, vocabulary_loss

_really_is_compiled_for_gpu = module._is_compiled_for_gpu


@pytest.fixture(autouse=True, params=["by operators", "by one kernel"])
def _form(request, monkeypatch):
    is_fused = request.param == "by one kernel"
    monkeypatch.setattr(module, "_is_compiled_for_gpu", lambda logits: is_fused)


def _problem(scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 24, generator=generator) * scale
    weight = torch.randn(301, 24, generator=generator)
    targets = torch.randint(0, 301, (50,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def _full(hidden, weight, targets):
    return F.cross_entropy((hidden @ weight.t()).float(), targets)


@pytest.mark.parametrize("chunk_rows", [50, 16, 1])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_loss_and_gradients_are_those_of_the_full_logits(monkeypatch, chunk_rows, scale):
    monkeypatch.setitem(module.CHUNK_BYTES, "cpu", 4 * 301 * chunk_rows)
    hidden, weight, targets = _problem(scale)
    fast = vocabulary_loss(hidden, weight, targets)
    slow = _full(hidden, weight, targets)
    torch.testing.assert_close(fast, slow, rtol=2e-6, atol=2e-6)
    ours = torch.autograd.grad(fast * 3, (hidden, weight))
    theirs = torch.autograd.grad(slow * 3, (hidden, weight))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [512, 50, 49, 16, 1])
def test_every_chunk_size_gives_the_same_loss_and_gradients(chunk_rows):
    hidden, weight, targets = _problem(1.0)
    found = []
    for rows in (None, chunk_rows):
        loss = vocabulary_loss(hidden, weight, targets, rows)
        found.append((loss, *torch.autograd.grad(loss, (hidden, weight))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert torch.equal(one, other) == (chunk_rows >= 50), "one chunk: the same bits"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_that_stay_in_bfloat16_give_the_bits_of_a_float32_copy(dtype):
    """What the loss did before: every reduction is in float32 all the same."""
    hidden, weight, targets = _problem(3.0)
    logits = hidden.detach().to(dtype) @ weight.detach().to(dtype).t()
    index = targets.unsqueeze(1)
    for differentiate in (module._by_operators, module._by_one_kernel):
        kept, copied = differentiate(logits, index), differentiate(logits.float(), index)
        for one, other in zip(kept, copied, strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)


def test_bfloat16_products_stay_near_the_float32_loss():
    hidden, weight, targets = _problem(1.0)
    low = vocabulary_loss(hidden.bfloat16(), weight, targets)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, _full(hidden, weight, targets), rtol=1e-2, atol=0)
    hidden_grad, weight_grad = torch.autograd.grad(low, (hidden, weight))
    expected = torch.autograd.grad(_full(hidden, weight, targets), (hidden, weight))
    assert weight_grad.dtype == torch.float32
    torch.testing.assert_close(hidden_grad, expected[0], rtol=0.05, atol=1e-3)
    torch.testing.assert_close(weight_grad, expected[1], rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("chunk_rows", [50, 7])
def test_position_losses_average_to_the_loss(monkeypatch, chunk_rows):
    monkeypatch.setitem(module.CHUNK_BYTES, "cpu", 4 * 301 * chunk_rows)
    hidden, weight, targets = _problem(1.0)
    losses = position_losses(hidden, weight, targets)
    expected = F.cross_entropy(hidden @ weight.t(), targets, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)


def test_a_target_far_below_the_largest_logit_keeps_a_finite_loss():
    hidden = torch.tensor([[200.0]])
    weight = torch.tensor([[1.0], [0.0]])
    assert vocabulary_loss(hidden, weight, torch.tensor([1])).item() == 200.0


def test_logits_that_are_not_finite_give_a_loss_that_is_not_finite():
    hidden, weight, targets = _problem(1.0)
    broken = hidden.detach().clone()
    broken[3] = float("inf")
    assert not torch.isfinite(vocabulary_loss(broken, weight, targets))
    assert torch.isfinite(vocabulary_loss(hidden, weight, targets))


@pytest.mark.parametrize("is_cuda", [True, False])
@pytest.mark.parametrize("is_compiling", [True, False])
def test_one_kernel_is_for_a_compiler_on_a_gpu(monkeypatch, is_cuda, is_compiling):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: is_compiling)
    logits = SimpleNamespace(is_cuda=is_cuda)
    assert _really_is_compiled_for_gpu(logits) == (is_cuda and is_compiling)
