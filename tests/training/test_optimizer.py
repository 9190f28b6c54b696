from __future__ import annotations

import pytest
import torch
from training_jobs import CPU, make_job, repeating_tokens, softmax

from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.flat_parameters import FlatParameters, is_decayed
from openevolve_unified.training.optimizer import moments, restore_moments
from openevolve_unified.training.step import TrainStep, build_model


def test_parameters_are_views_of_one_buffer():
    model = build_model(make_job(), softmax, CPU)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    flat = FlatParameters(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    flat.values.zero_()
    assert all(parameter.abs().sum() == 0 for parameter in model.parameters())


def test_only_weight_matrices_are_decayed():
    model = build_model(make_job(), softmax, CPU)
    decayed = {name for name, p in model.named_parameters() if is_decayed(name, p)}
    per_layer = (
        "attention.qkv_proj.weight",
        "attention.out_proj.weight",
        "attention.mechanism.turn",
        "up.weight",
        "down.weight",
    )
    assert decayed == {f"blocks.{layer}.{name}" for layer in range(2) for name in per_layer}
    sizes = [p.numel() for name, p in model.named_parameters() if name in decayed]
    assert FlatParameters(model).num_decayed == sum(sizes)


@pytest.mark.parametrize(("max_norm", "is_clipped"), [(1e-3, True), (1e6, False)])
def test_clipping_bounds_the_global_norm_like_torch(max_norm, is_clipped):
    job = make_job()
    model = build_model(job, softmax, CPU)
    flat = FlatParameters(model)
    tokens = TrainBatches(repeating_tokens().train, 8, 0, CPU).at(0)
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    loss.backward(retain_graph=True)
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    expected = torch.cat([p.grad.reshape(-1) for p in flat.parameters])
    flat.set_gradients(loss)
    norm = flat.gradients.norm().item()
    flat.clip_gradients(max_norm)
    torch.testing.assert_close(flat.gradients, expected, rtol=1e-5, atol=1e-9)
    assert (flat.gradients.norm().item() < norm) == is_clipped


def test_a_parameter_that_the_loss_ignores_gets_a_zero_gradient():
    model = build_model(make_job(), softmax, CPU)
    model.unused = torch.nn.Parameter(torch.ones(3))
    flat = FlatParameters(model)
    flat.gradients.fill_(7.0)
    tokens = TrainBatches(repeating_tokens().train, 8, 0, CPU).at(0)
    flat.set_gradients(model.loss(tokens[:, :-1], tokens[:, 1:]))
    index = [p is model.unused for p in flat.parameters].index(True)
    start = sum(p.numel() for p in flat.parameters[:index])
    assert flat.gradients[start : start + 3].tolist() == [0, 0, 0]
    assert flat.gradients.abs().max() < 7.0


def _advanced() -> TrainStep:
    job = make_job()
    train_step = TrainStep(job, build_model(job, softmax, CPU), CPU)
    batches = TrainBatches(repeating_tokens().train, 8, 0, CPU)
    for step in range(3):
        train_step(batches.at(step), step)
    return train_step


def test_moments_come_back_as_they_were():
    one, two = _advanced(), _advanced()
    saved = {name: tensor.clone() for name, tensor in moments(one.optimizer).items()}
    assert sorted(saved) == ["exp_avg.0", "exp_avg.1", "exp_avg_sq.0", "exp_avg_sq.1"]
    for tensor in moments(two.optimizer).values():
        tensor.zero_()
    restore_moments(two.optimizer, saved, 3)
    for name, tensor in moments(two.optimizer).items():
        assert torch.equal(tensor, saved[name])


def test_moments_that_do_not_fit_are_refused_whole():
    train_step = _advanced()
    saved = {name: tensor.clone() for name, tensor in moments(train_step.optimizer).items()}
    bad = {name: torch.zeros_like(tensor) for name, tensor in saved.items()}
    bad["exp_avg_sq.1"] = bad["exp_avg_sq.1"][1:]
    with pytest.raises(ValueError, match=r"exp_avg_sq\.1 is"):
        restore_moments(train_step.optimizer, bad, 3)
    for name, tensor in moments(train_step.optimizer).items():
        assert torch.equal(tensor, saved[name])
    with pytest.raises(KeyError, match=r"exp_avg\.0"):
        restore_moments(train_step.optimizer, {}, 3)
