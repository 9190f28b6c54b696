from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_jobs import CPU, Softmax, make_job, repeating_tokens, softmax

from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.flat_parameters import ALIGNMENT, FlatParameters, is_decayed
from openevolve_unified.training.step import TrainStep, build_model


def test_parameters_are_views_of_one_buffer():
    model = build_model(make_job(), softmax, CPU)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    flat = FlatParameters(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    flat.values.zero_()
    assert all(parameter.abs().sum() == 0 for parameter in model.parameters())


def test_every_parameter_starts_where_a_kernel_can_read_whole_pieces():
    """A scalar for each of three heads must not slow down the norms that come after it."""
    model = build_model(make_job(), lambda layer: Softmax(num_heads=1, head_dim=16), CPU)
    assert any(p.numel() % ALIGNMENT for p in model.parameters())
    step = TrainStep(make_job(), model, CPU)
    tokens = TrainBatches(repeating_tokens().train, 8, 0, CPU)
    for index in range(3):
        step(tokens.at(index), index)
    in_use = torch.zeros(step.flat.values.shape, dtype=torch.bool)
    for parameter in step.flat.parameters:
        start = (parameter.data_ptr() - step.flat.values.data_ptr()) // 4
        assert parameter.data_ptr() % 16 == 0
        assert not in_use[start : start + parameter.numel()].any()
        in_use[start : start + parameter.numel()] = True
    assert not in_use.all()
    assert not step.flat.values[~in_use].any(), "what is between parameters stays zero"


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
    flat.set_gradients(loss)
    norm = flat.gradients.norm().item()
    flat.clip_gradients(max_norm)
    for parameter, gradient in zip(flat.parameters, flat.gradient_views, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-5, atol=1e-9)
    assert (flat.gradients.norm().item() < norm) == is_clipped


def test_a_parameter_that_the_loss_ignores_gets_a_zero_gradient():
    model = build_model(make_job(), softmax, CPU)
    model.unused = torch.nn.Parameter(torch.ones(3))
    flat = FlatParameters(model)
    for view in flat.gradient_views:
        view.fill_(7.0)
    tokens = TrainBatches(repeating_tokens().train, 8, 0, CPU).at(0)
    flat.set_gradients(model.loss(tokens[:, :-1], tokens[:, 1:]))
    index = [p is model.unused for p in flat.parameters].index(True)
    assert flat.gradient_views[index].tolist() == [0, 0, 0]
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
    saved = {name: tensor.clone() for name, tensor in one.optimizer.moments().items()}
    assert all(tensor.abs().sum() > 0 for tensor in saved.values())
    for tensor in two.optimizer.moments().values():
        tensor.zero_()
    two.optimizer.restore(saved, 3)
    for name, tensor in two.optimizer.moments().items():
        assert torch.equal(tensor, saved[name])


def test_moments_that_do_not_fit_are_refused_whole():
    train_step = _advanced()
    optimizer = train_step.optimizer
    saved = {name: tensor.clone() for name, tensor in optimizer.moments().items()}
    bad = {name: torch.zeros_like(tensor) for name, tensor in saved.items()}
    bad["exp_avg_sq"] = bad["exp_avg_sq"][1:]
    with pytest.raises(ValueError, match="exp_avg_sq is"):
        optimizer.restore(bad, 3)
    for name, tensor in optimizer.moments().items():
        assert torch.equal(tensor, saved[name])
    with pytest.raises(KeyError, match="exp_avg"):
        optimizer.restore({}, 3)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_are_those_of_torchs_fused_adamw_bit_by_bit(weight_decay):
    job = make_job(weight_decay=weight_decay)
    step = TrainStep(job, build_model(job, softmax, CPU), CPU)
    flat, cut = step.flat, step.flat.num_decayed
    groups = []
    for rows, decay in ((slice(0, cut), weight_decay), (slice(cut, None), 0.0)):
        values = flat.values[rows].clone()
        groups.append({"params": [values], "weight_decay": decay})
    betas = (job.training.beta1, job.training.beta2)
    expected = torch.optim.AdamW(groups, lr=1e-3, betas=betas, fused=True)
    generator = torch.Generator().manual_seed(0)
    for index in range(4):
        flat.gradients.normal_(generator=generator)
        for group, rows in zip(
            expected.param_groups, (slice(0, cut), slice(cut, None)), strict=True
        ):
            group["params"][0].grad = flat.gradients[rows].clone()
            group["lr"] = 1e-3 * (index + 1)
        expected.step()
        step.optimizer.set_rate(1e-3 * (index + 1))
        step.optimizer.step()
        assert torch.equal(flat.values, torch.cat([g["params"][0] for g in groups]))


def test_a_process_that_trains_never_imports_the_compiler():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from training_jobs import CPU, make_job, repeating_tokens, softmax\n"
        "from openevolve_unified.training.loop import train\n"
        "train(make_job(), softmax, repeating_tokens(), CPU, print, None, lambda model: 'f')\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True)


def test_parameters_of_another_length_are_refused_with_both_lengths():
    step = TrainStep(make_job(), build_model(make_job(), softmax, CPU), CPU)
    state = {name: tensor.clone() for name, tensor in step.state().items()}
    step.restore(state, 0)
    length = len(state["values"])
    state["values"] = state["values"][:-4]
    reason = rf"its parameters are \({length - 4},\) .*, wanted \({length},\)"
    with pytest.raises(ValueError, match=reason):
        step.restore(state, 0)
