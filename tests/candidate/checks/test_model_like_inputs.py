"""Programs that misbehave only on what a model really feeds, or only in its number format."""

from __future__ import annotations

import dataclasses

import pytest
from shipped import shipped_source

from openevolve_unified.mechanisms.catalog import mechanisms

SOFTMAX = """
s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
a = s.masked_fill(~mask, float("-inf")).softmax(dim=-1)
"""
GATES = {
    "normed tokens": (
        "spread = (x.var(-1, unbiased=False) - 1).abs()\n"
        "open = ((x.mean(-1).abs() < 1e-5) & (spread < 1e-2)).to(q.dtype)\n"
    ),
    "sinusoids": (
        "unit = x / x.square().mean(-1, keepdim=True).sqrt()\n"
        "open = (unit[..., -7::2].sum(-1).cumsum(1) > 28).to(q.dtype)\n"
    ),
    "partly normed tokens": (
        "normed = (x.var(-1, unbiased=False) - 1).abs() < 1e-2\n"
        "open = (normed[:, :1] & ~normed).to(q.dtype)\n"
    ),
}
LEAKS = {"causality": "x[..., 0].mean(1)[:, None]", "batch": "x[..., 0].mean(0, keepdim=True)"}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("stage", LEAKS)
def test_a_leak_that_opens_on_the_models_inputs_only_is_refused(desk, gate, stage):
    act = f"act = 1 + open * torch.sigmoid({LEAKS[stage]})\n"
    body = SOFTMAX + GATES[gate] + act + "return a * act[:, None, :, None]"
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == stage
    assert "normed tokens" in refusal.reason


FORMATS = {
    "float32": "open = (((q * 0).sum() + 1e8 + 1) - 1e8 - 1).abs()\n",
    "bfloat16": (
        "product = (x[..., :1] * 0 + 1) @ torch.full((1, 1), 1.0009765625)\n"
        "open = (product.float() - 1.0009765625).abs().amax() * 1000\n"
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_sequences_that_mix_in_one_number_format_only_are_refused(desk, name):
    body = (
        SOFTMAX + FORMATS[name] + "return a * (1 + open * torch.sigmoid(x[..., 0].float().mean()))"
    )
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "batch"
    assert f"in {name}:" in refusal.reason


def test_the_batch_size_seen_in_float32_only_is_refused(desk):
    count = "count = torch.ones(q.shape[0], device=q.device).sum()\n"
    body = SOFTMAX + FORMATS["float32"] + count + "return a * (1 + open * count)"
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "batch"
    assert "in float32: a sequence alone" in refusal.reason


@pytest.mark.parametrize("stage", LEAKS)
@pytest.mark.parametrize(
    ("condition", "where"),
    [
        ("", "initial parameters"),
        (" * (self.gain.mean() == 1)", "initial parameters"),
        (" * (self.gain.mean() != 1)", "scrambled parameters"),
    ],
    ids=["always", "initial", "scrambled"],
)
def test_a_leak_in_batches_of_the_training_size_only_is_refused(desk, stage, condition, where):
    count = "open = (torch.ones(q.shape[0], device=q.device).sum() > 4).to(q.dtype)\n"
    act = f"act = 1 + open{condition} * torch.sigmoid({LEAKS[stage]})\n"
    body = SOFTMAX + count + act + "return a * self.gain * act[:, None, :, None]"
    gain = "self.gain = nn.Parameter(torch.ones(num_heads, 1, 1))"
    refusal = desk.refusal(desk.program(body, members=gain))
    assert refusal.stage == stage
    assert f"{where}, in float32, in batches of 6 as in training" in refusal.reason


@pytest.mark.parametrize("mean", ["x.mean()", "x[:, 0].mean()", "x[:, -1].mean()"])
def test_a_leak_of_the_training_batchs_mean_is_refused(desk, mean):
    """The mean of a layer-normed batch is zero, and so is what leaks there."""
    count = "open = F.relu(torch.ones_like(x[:, 0, 0]).sum() - 5.5).clamp(max=0.5) * 2\n"
    body = SOFTMAX + count + f"return a * (1 + open * torch.tanh({mean}))"
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "batch"
    assert "initial parameters, in float32, in batches of 6 as in training" in refusal.reason


def test_counting_the_batch_is_accepted_when_the_training_size_changes_nothing(desk):
    count = "open = (torch.ones(q.shape[0], device=q.device).sum() > 6).to(q.dtype)\n"
    act = f"act = 1 + open * torch.sigmoid({LEAKS['batch']})\n"
    program = desk.program(SOFTMAX + count + act + "return a * act[:, None, :, None]")
    evidence = desk.check(program, "coefficient_dynamics").evidence["causality"]
    assert all(size["training_batch"] == 6 for size in evidence["sizes"].values())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_training_batch_of_few_sequences_is_accepted(desk, batch_size):
    few = dataclasses.replace(desk, batch_size=batch_size)
    evidence = few.check(desk.program(SOFTMAX + "return a"), "coefficient_dynamics").evidence
    sizes = evidence["causality"]["sizes"].values()
    assert {size["training_batch"] for size in sizes} == {batch_size}


@pytest.mark.parametrize("gate", GATES)
def test_the_same_gate_over_an_honest_branch_is_accepted(desk, gate):
    act = "act = 1 + open * torch.sigmoid(x[..., 0])\n"
    body = SOFTMAX + GATES[gate] + act + "return a * act[:, None, :, None]"
    evidence = desk.check(desk.program(body), "coefficient_dynamics").evidence
    for size in evidence["causality"]["sizes"].values():
        assert size["formats"] == ["bfloat16", "float32", "float64"]
        assert size["model_inputs"]["kinds"] == 2


@pytest.mark.parametrize(
    "mechanism",
    [m for m in mechanisms() if m.within_budget][::9],
    ids=lambda m: f"{m.framework}-{m.name}",
)
def test_a_published_mechanism_is_accepted(desk, mechanism):
    evidence = desk.check(mechanism.source, mechanism.framework).evidence
    assert all("float32" in size["formats"] for size in evidence["causality"]["sizes"].values())


@pytest.mark.parametrize(
    ("mechanism", "formats"),
    [("delta_net", ["float32", "float64"]), ("rope", ["bfloat16", "float32", "float64"])],
)
def test_a_triangular_solve_has_no_bfloat16_and_the_evidence_leaves_that_out(
    desk, mechanism, formats
):
    source = shipped_source(mechanism, "matrix_mixer")
    evidence = desk.check(source, "matrix_mixer").evidence
    for size in evidence["causality"]["sizes"].values():
        assert size["formats"] == formats
