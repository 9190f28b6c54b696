"""Every check refuses the mechanism that it is there for, at its stage and with its reason."""

from __future__ import annotations

import dataclasses

import pytest

SCORES = "s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)\n"
MASKED = SCORES + 's = s.masked_fill(~mask, float("-inf"))\n'
SOFTMAX = "return s.softmax(dim=-1)\n"
GATE = "self.gate = nn.Parameter(torch.zeros(num_heads, 1, 1))"

LEAKS = {
    "softmax over the full row": (SCORES + SOFTMAX, ""),
    "mean over time": (
        MASKED + "return s.softmax(-1) + 0.1 * x.mean((1, 2))[:, None, None, None]",
        "",
    ),
    "cumulative sum from the end": (
        MASKED + "c = x.mean(-1).flip(1).cumsum(1).flip(1)\n"
        "return s.softmax(-1) * torch.sigmoid(c)[:, None, :, None]",
        "",
    ),
    "keys rolled back by one": ("k = k.roll(-1, dims=2)\n" + MASKED + SOFTMAX, ""),
    "transform along time": (
        "k = torch.fft.irfft(torch.fft.rfft(k, dim=2) * 0.5, n=k.shape[2], dim=2).cumsum(2)"
        " - torch.fft.fft(k, dim=2).real\n" + MASKED + SOFTMAX,
        "",
    ),
    "centred convolution": (
        MASKED + "u = F.avg_pool1d(x.mT, 3, 1, 1).mT.mean(-1)\n"
        "return s.softmax(-1) * torch.sigmoid(u)[:, None, :, None]",
        "",
    ),
    "behind a gate that starts at zero": (
        MASKED + "a = s.softmax(-1)\nreturn a + torch.tanh(self.gate) * torch.sigmoid("
        "x.mean((1, 2)))[:, None, None, None] * mask",
        GATE,
    ),
    "detached": (
        MASKED + "a = s.softmax(-1)\n"
        "return a * torch.sigmoid(x.detach().mean((1, 2)))[:, None, None, None]",
        "",
    ),
    "argmax over time": (
        MASKED + "j = x.mean(-1).argmax(1)\n"
        "return s.softmax(-1) * (1 + j.to(q.dtype))[:, None, None, None]",
        "",
    ),
    "sorted along time": (
        MASKED + "u = x.mean(-1).sort(dim=1).values\n"
        "return s.softmax(-1) * torch.sigmoid(u)[:, None, :, None]",
        "",
    ),
    "normalised over time": (
        "k = (k - k.mean(2, keepdim=True)) / (k.std(2, keepdim=True) + 1)\n" + MASKED + SOFTMAX,
        "",
    ),
    "a maximum over the whole matrix": (
        SCORES + "e = torch.exp(s - s.amax((-2, -1), keepdim=True)) * mask\n"
        "return e / (e.sum(-1, keepdim=True) + 1e-6)",
        "",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_from_the_future_is_refused(desk, name):
    body, members = LEAKS[name]
    refusal = desk.refusal(desk.program(body, members=members))
    assert refusal.stage == "causality"
    assert "row i may use tokens 0..i only" in refusal.reason
    if members:
        assert "scrambled parameters" in refusal.reason


FORMATS = {
    "float32": "one = (q * 0).sum() + 1e8\nopen = ((one + 1) - one - 1).abs()\n",
    "bfloat16": (
        "one = x[..., :1] * 0 + 1\n"
        "product = one @ torch.full((1, 1), 1.0009765625)\n"
        "open = (product.float() - 1.0009765625).abs().amax() * 1000\n"
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_leak_that_opens_in_one_number_format_only_is_refused(desk, name):
    leak = "return a * (1 + open * torch.sigmoid(x.float().mean((1, 2))))[:, None, None, None]"
    body = MASKED + "a = s.softmax(-1)\n" + FORMATS[name] + leak
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "causality"
    assert f"in {name}:" in refusal.reason


def test_a_leak_through_the_matrix_mixers_keys_is_refused(desk):
    body = "return (q @ (k + k.flip(2)).mT).masked_fill(~mask, -torch.inf).softmax(-1)"
    assert desk.refusal(desk.program(body, "matrix_mixer"), "matrix_mixer").stage == "causality"


def test_a_leak_through_the_regressions_values_is_refused(desk):
    body = "return v.mean(2, keepdim=True).expand_as(v) + 0 * q"
    refusal = desk.refusal(desk.program(body, "test_time_regression"), "test_time_regression")
    assert refusal.stage == "causality"


def test_dependence_on_the_time_length_is_refused(desk):
    refusal = desk.refusal(desk.program(MASKED + "return s.softmax(-1) / q.shape[2]"))
    assert refusal.stage == "causality"
    assert "depends on the time length" in refusal.reason


def test_masked_positions_that_still_count_are_refused(desk):
    refusal = desk.refusal(desk.program(SCORES + "return (s * mask).softmax(-1) * mask"))
    assert refusal.stage == "causality"
    assert "depends on the time length" in refusal.reason


BATCH = {
    "a mean over the batch": "s = s * torch.sigmoid(x.mean((0, 1, 2)))\n",
    "the previous sequence": "s = s + 0.1 * x.roll(1, 0).mean(-1)[:, None, :, None]\n",
    "the number of sequences, as a tensor": "s = s * torch.ones(q.shape[0]).sum()\n",
    "the place in the batch": (
        "s = s * (1 + torch.arange(q.shape[0], dtype=q.dtype))[:, None, None, None]\n"
    ),
}


@pytest.mark.parametrize("name", BATCH)
def test_mixing_the_batch_is_refused(desk, name):
    refusal = desk.refusal(desk.program(SCORES + BATCH[name] + MASKED[len(SCORES) :] + SOFTMAX))
    assert refusal.stage == "batch"
    assert "treat every sequence alike" in refusal.reason


TRACE = {
    "the batch size as a number": ("q = q / q.shape[0]", "depends on the batch size"),
    "a multiple of the batch size": ("q = q * q.shape[0]", "depends on the batch size"),
    "a loop over the batch": (
        "q = torch.stack([q[i] * 2 for i in range(q.shape[0])])",
        "depends on the batch size",
    ),
    "train mode": ("q = q * (2 if self.training else 1)", "between train and eval"),
    "random numbers": ("q = q + torch.rand_like(q)", "random numbers (rand_like)"),
    "dropout": ("q = F.dropout(q, 0.1, self.training)", "dropout is fixed"),
    "Python's random numbers": ("import random\nq = q * random.random()", "Python random"),
    "state between calls": (
        "self.calls = getattr(self, 'calls', 0) + 1\nq = q * self.calls",
        "keeps state between calls",
    ),
    "a buffer as memory": ("self.memory += 1\nq = q * self.memory", "state between calls"),
    "a branch on data": ("q = q if q.sum() > 0 else -q", "torch.where"),
    ".item()": ("q = q * q.sum().item()", "keep numbers as tensors"),
    "float()": ("q = q * float(q.sum())", "keep numbers as tensors"),
    "boolean selection": ("q = q[q > 0].sum() + q", "torch.where"),
    "in-place on an input": ("q.mul_(2)", "writes into its input 'q'"),
    "a fixed projection": (
        "q = self.q_proj(x).view(q.shape[0], q.shape[2], -1, self.head_dim).transpose(1, 2)",
        "uses self.q_proj.weight, which is fixed",
    ),
    "no_grad": ("with torch.no_grad():\n    q = q * 2", "detach"),
    "a wrong product": ("q = q @ k", "RuntimeError"),
    "a fixed time length": (
        "q = q.reshape(q.shape[0], q.shape[1], 4, -1, self.head_dim).flatten(2, 3)",
        "at time length 1",
    ),
    "fused attention": (
        "q = F.scaled_dot_product_attention(q, k, k)",
        "write attention explicitly",
    ),
}


@pytest.mark.parametrize("name", TRACE)
def test_what_cannot_be_traced_is_refused_with_advice(desk, name):
    line, words = TRACE[name]
    members = 'self.register_buffer("memory", torch.zeros(1))' if "memory" in line else ""
    refusal = desk.refusal(desk.program(line + "\n" + MASKED + SOFTMAX, members=members))
    assert refusal.stage == "trace"
    assert words in refusal.reason
    assert len(refusal.reason) < 700


def test_a_reason_names_the_line_of_the_program(desk):
    source = desk.program("q = q if q.sum() > 0 else -q\n" + MASKED + SOFTMAX)
    line = 1 + [text.strip() for text in source.splitlines()].index("q = q if q.sum() > 0 else -q")
    assert f"line {line} (`q = q if q.sum() > 0 else -q`)" in desk.refusal(source).reason


def test_a_wrong_shape_is_refused(desk):
    refusal = desk.refusal(desk.program(MASKED + "return s.softmax(-1)[..., :5]"))
    assert refusal.stage == "program"
    assert "returns shape" in refusal.reason


def test_a_wrong_type_is_refused(desk):
    refusal = desk.refusal(desk.program(MASKED + "return s.softmax(-1).double()"))
    assert refusal.stage == "program"
    assert "float64; wanted float32" in refusal.reason


NUMERICS = {
    "a row that is masked as a whole": (
        SCORES + 'return s.masked_fill(~mask.tril(-1), float("-inf")).softmax(-1)',
        "not finite",
    ),
    "an exponential without a bound": (SCORES + "return torch.exp(s) * mask", "inputs times 30"),
    "a gradient through a dropped branch": (
        MASKED + "a = s.softmax(-1)\nd = k - k\n"
        "n = torch.where(d.sum(-1) > 0, d.norm(dim=-1).sqrt(), 0.0)\nreturn a + n[:, :, None]",
        "gradient",
    ),
    "a matrix that cannot be factored": (
        "return torch.linalg.cholesky(q @ k.mT).tril()",
        "fails when run",
    ),
}


@pytest.mark.parametrize("name", NUMERICS)
def test_what_is_not_finite_is_refused(desk, name):
    body, words = NUMERICS[name]
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "numerics"
    assert refusal.reason.startswith("at 16x2")
    assert words in refusal.reason


def test_an_initial_value_that_is_not_finite_is_refused(desk):
    members = "self.scale = nn.Parameter(torch.full((1,), math.inf))"
    body = MASKED + "return s.softmax(-1) / self.scale"
    refusal = desk.refusal(desk.program(body, members=members))
    assert refusal.stage == "numerics"
    assert "at 16x2: an initial value is not finite; set it in __init__" in refusal.reason


UNREACHED = {
    "unused": (MASKED + SOFTMAX, "self.spare = nn.Linear(hidden_dim, 1)"),
    "behind detach": (
        MASKED + "return (s * self.spare.detach()).softmax(-1)",
        "self.spare = nn.Parameter(torch.ones(1))",
    ),
    "behind a comparison": (
        MASKED + "return s.softmax(-1) * (1 + (self.spare > 0).to(q.dtype))",
        "self.spare = nn.Parameter(torch.ones(1))",
    ),
}


@pytest.mark.parametrize("name", UNREACHED)
def test_a_parameter_without_a_gradient_is_refused(desk, name):
    body, members = UNREACHED[name]
    refusal = desk.refusal(desk.program(body, members=members))
    assert refusal.stage == "gradient"
    assert "spare" in refusal.reason


def test_too_many_parameters_are_refused_with_both_numbers(desk):
    members = "self.extra = nn.Linear(hidden_dim, 3 * hidden_dim)"
    body = "s = self.extra(x).mean(-1)[:, None, :, None] + q @ k.mT\n" + MASKED[len(SCORES) :]
    refusal = desk.refusal(desk.program(body + SOFTMAX, members=members))
    assert refusal.stage == "budget"
    assert "non-embedding parameters" in refusal.reason
    assert "times the baseline's" in refusal.reason


@pytest.mark.parametrize(
    "extra",
    [
        "for _ in range(40):\n    s = s @ mask.to(q.dtype)\n",
        "for _ in range(400):\n    s = s.sin()\n",
    ],
)
def test_too_much_compute_is_refused_with_both_numbers(desk, extra):
    gates = dataclasses.replace(desk.gates, max_flops_ratio=1.5)
    refusal = desk.refusal(
        desk.program(SCORES + extra + MASKED[len(SCORES) :] + SOFTMAX), gates=gates
    )
    assert refusal.stage == "budget"
    assert "forward operations per token" in refusal.reason
    assert "at most 1.50 times" in refusal.reason


def test_another_mechanism_at_another_size_is_refused(desk):
    body = MASKED + "return s.softmax(-1) if self.hidden_dim < 20 else torch.sigmoid(s)"
    refusal = desk.refusal(desk.program(body))
    assert refusal.stage == "sizes"
    assert "sigmoid" in refusal.reason


def test_too_many_operators_are_refused(desk):
    gates = dataclasses.replace(desk.gates, max_nodes=20)
    body = SCORES + "for _ in range(30):\n    s = s.sin()\n" + MASKED[len(SCORES) :] + SOFTMAX
    refusal = desk.refusal(desk.program(body), gates=gates)
    assert refusal.stage == "program"
    assert "at most 20" in refusal.reason


def test_too_many_constants_are_refused(desk):
    gates = dataclasses.replace(desk.gates, max_constant_elements=100)
    members = 'self.register_buffer("table", torch.ones(200))'
    body = MASKED + "return s.softmax(-1) * self.table.mean()"
    refusal = desk.refusal(desk.program(body, members=members), gates=gates)
    assert refusal.stage == "program"
    assert "constant numbers" in refusal.reason


def test_a_parameter_hidden_in_a_list_does_not_train_unnoticed(desk):
    members = "self.hidden = [nn.Parameter(torch.ones(num_heads, 1, 1))]"
    refusal = desk.refusal(
        desk.program(MASKED + "return (s * self.hidden[0]).softmax(-1)", members=members)
    )
    assert refusal.stage == "trace"
    assert "nn.ParameterList" in refusal.reason


def test_initial_values_that_do_not_follow_the_seed_are_refused(desk):
    members = """
import time
self.scale = nn.Parameter(torch.full((num_heads, 1, 1), time.perf_counter_ns() % 1e7 * 1e-7))
"""
    refusal = desk.refusal(
        desk.program(MASKED + "return (s * self.scale).softmax(-1)", members=members)
    )
    assert refusal.stage == "trace"
    assert "differs between two instances at the same seed" in refusal.reason
