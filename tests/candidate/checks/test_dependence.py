"""The dependence analysis: what it proves is true, and what leaks is never proved."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from openevolve_unified.candidate.checks.dependence import proves_causality
from openevolve_unified.candidate.checks.dependence.hidden import PASSING
from openevolve_unified.candidate.checks.dependence.prove import Analysis
from openevolve_unified.candidate.checks.dependence.reach import Reach
from openevolve_unified.candidate.program.file_layout import initial_seed
from openevolve_unified.frameworks import CoefficientDynamics
from openevolve_unified.frameworks.solvers import online_gradient
from openevolve_unified.frameworks.structured import decay_matrix, semiseparable
from openevolve_unified.mechanisms.catalog import mechanisms

T, D = 6, 4
MASK = torch.ones(T, T, dtype=torch.bool).tril()

# Functions of a (T, D) input, whose positions are its rows. Together they use every kind of rule.
EXACT = {
    "elementwise": lambda x: (x.exp() + 1).log() * x,
    "causal softmax": lambda x: (x @ x.T).masked_fill(~MASK, -math.inf).softmax(-1) @ x,
    "stable softmax by hand": lambda x: _softmax_by_hand(x @ x.T) @ x,
    "masked by where": lambda x: torch.where(MASK, x @ x.T, 0.0) @ x,
    "masked by a product": lambda x: (MASK * (x @ x.T)) @ x,
    "masked by a logarithm": lambda x: ((x @ x.T) + MASK.float().log()).exp() @ x,
    "lower triangle": lambda x: (x @ x.T).tril() @ x,
    "strictly lower triangle": lambda x: (x @ x.T).tril(-1) @ x,
    "running sum": lambda x: x.cumsum(0),
    "running maximum": lambda x: x.cummax(0).values,
    "running log-sum": lambda x: torch.logcumsumexp(x, 0),
    "decay by differences": lambda x: _decay(x) @ x,
    "decay by segments": lambda x: decay_matrix(F.logsigmoid(x[:, 0]), MASK) @ x,
    "decay by channel": lambda x: _one_head(
        lambda x: semiseparable(x, x, F.logsigmoid(x), MASK) @ x, x
    ),
    "gated delta rule": lambda x: _one_head(
        lambda x: online_gradient(x, x, x, x[..., 0], F.logsigmoid(x[..., 1])), x
    ),
    "shift to the right": lambda x: F.pad(x, (0, 0, 1, 0))[:-1],
    "shift by cat": lambda x: torch.cat([torch.zeros(2, D), x[:-2]]),
    "taps": lambda x: F.pad(x, (0, 0, 2, 0)).unfold(0, 3, 1).sum(-1),
    "layer norm": lambda x: F.layer_norm(x, (D,)),
    "halves": lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1].repeat(1, 1),
    "row sorts": lambda x: x.sort(-1).values * x.topk(1, -1).values,
    "triangular solve": lambda x: torch.linalg.solve_triangular(
        (x @ x.T).tril(-1) + torch.eye(T), x, upper=False
    ),
    "unit triangular solve": lambda x: torch.linalg.solve_triangular(
        (x @ x.T).tril(-1), x, upper=False, unitriangular=True
    ),
    "a solve for each position": lambda x: torch.linalg.solve(
        x[:, :, None] * x[:, None, :] + torch.eye(D), x[:, :, None]
    ).squeeze(-1),
    "picked rows": lambda x: x[torch.tensor([0, 0, 1, 2, 3, 4])],
    "einsum": lambda x: torch.einsum("td,sd,ts->td", x, x, MASK.float()),
    "rows put into zeros": lambda x: _rows_put(x, 0),
    "a number put into rows": lambda x: x.index_fill(0, torch.tensor([1, 3]), 2.0) * MASK[:, :D],
    "rows copied later": lambda x: x.index_copy(0, torch.tensor([3, 5]), x[:2]),
    "rows put later by index": lambda x: x.index_put((torch.tensor([3, 5]),), x[1:3]),
    "elements scattered later": lambda x: x.scatter(0, torch.full((2, D), 4), x[:2]),
    "a number scattered": lambda x: x.scatter(0, torch.full((1, D), 2), 9.0),
    "rows added later": lambda x: x.index_add(0, torch.tensor([3, 3]), x[:2]),
    "elements added later": lambda x: x.scatter_add(0, torch.full((2, D), 4), x[:2]),
    "reversed twice": lambda x: x.flip(0).flip(0).roll(0, 0),
}
"""Causal, and proved so."""
LEAKS = {
    "no mask": lambda x: (x @ x.T).softmax(-1) @ x,
    "softmax over the wrong dimension": lambda x: (
        (x @ x.T).masked_fill(~MASK, -math.inf).softmax(-2).nan_to_num() @ x
    ),
    "mean over time": lambda x: x - x.mean(0),
    "maximum over time": lambda x: x.amax(0, keepdim=True) + x,
    "shift to the left": lambda x: F.pad(x, (0, 0, 0, 1))[1:],
    "reversed": lambda x: x.flip(0),
    "rows put one too early": lambda x: _rows_put(x, 1),
    "a later number put into rows": lambda x: x.index_fill(0, torch.tensor([1]), x[4, 0]),
    "rows copied earlier": lambda x: x.index_copy(0, torch.tensor([0, 1]), x[-2:]),
    "rows put earlier by index": lambda x: x.index_put((torch.tensor([0, 1]),), x[-2:]),
    "rows summed earlier by index": lambda x: x.index_put((torch.tensor([0, 0]),), x[-2:], True),
    "elements scattered earlier": lambda x: x.scatter(0, torch.zeros(2, D, dtype=int), x[-2:]),
    "elements scattered by the data": lambda x: x.scatter(0, x[-2:].long().clamp(0, T - 1), 0.5),
    "rows added earlier": lambda x: x.index_add(0, torch.tensor([1, 1]), x[-2:]),
    "elements added earlier": lambda x: x.scatter_add(0, torch.zeros(2, D, dtype=int), x[-2:]),
    "rolled": lambda x: x.roll(-1, 0),
    "sorted over time": lambda x: x.sort(0).values,
    "upper triangular solve": lambda x: torch.linalg.solve_triangular(
        (x @ x.T).triu(1) + torch.eye(T), x, upper=True
    ),
    "full inverse": lambda x: torch.linalg.solve(x @ x.T + torch.eye(T), x),
    "transform over time": lambda x: torch.fft.fft(x, dim=0).real,
    "mask off by one": lambda x: (x @ x.T).tril(1) @ x,
    "closed gate": lambda x: x + 1e-30 * x.sum(0),
    "index from the data": lambda x: x[x.sum().sign().long().clamp(0, 1).expand(T)],
    "convolution to the future": lambda x: F.conv1d(x.T[None], torch.ones(D, D, 3), padding=1)[0].T,
    "filled from the data": lambda x: x.masked_fill(MASK[:, :D], x.sum()),
    "maximum of two": lambda x: torch.maximum(x, x[-1]),
    "low bytes of its bits": lambda x: x.flip(0).view(torch.uint8)[:, 1::4].float(),
    "low halves of its bits": lambda x: x.flip(0).view(torch.bfloat16)[:, ::2].float(),
    "NaN behind a masked zero": lambda x: x + (_overflow(x) * MASK).isnan().sum(-1, True),
    "NaN behind a strict triangle's product": lambda x: (
        x + (MASK.float() @ _overflow(x).T).nan_to_num(nan=5.0, posinf=0.0).sum(-1, True)
    ),
    "NaN behind an infinity": lambda x: (
        x + (_overflow(x) + MASK.float().log()).isnan().sum(-1, True)
    ),
    "NaN made a number by a maximum": lambda x: (
        x + torch.fmax(_overflow(x) * MASK, torch.tensor(-1.0)).clamp(max=1.0).sum(-1, True)
    ),
    "NaN made a number by a power": lambda x: x + (_overflow(x) * MASK - 1).pow(0).mT.sum(-1, True),
    "NaN in complex numbers": lambda x: (
        x + 1 / torch.complex(MASK / torch.zeros(()), _overflow(x) * MASK).abs().sum(-1, True)
    ),
}
"""Row i of the result depends on later rows."""


MATRICES = {"mm", "bmm", "mv", "addmm", "baddbmm", "linalg_solve_triangular", "masked_fill"} | {
    "native_layer_norm",
    "_fused_rms_norm",
}
"""Operators that take no vectors: sums of products, and two norms that are made of others."""
FORMS = {
    "where": [[torch.tensor(True), "x", 0.0], [torch.tensor(False), 0.0, "x"]],
    "clamp": [["x", 0.5], ["x", None, 0.5], ["x", "x"]],
    "lerp": [["x", "x", 0.5], ["x", "x", "x"]],
    "logsumexp": [["x", [0]]],
    "_softmax": [["x", 0, False]],
    "_log_softmax": [["x", 0, False]],
    "amax": [["x"], ["x", [0]]],
}


def _rows_put(x: torch.Tensor, early: int) -> torch.Tensor:
    """Running sums of the rows, as a recording writes a loop that fills a tensor of zeros."""
    y = torch.zeros_like(x)
    for i in range(T - early):
        row = y.select(0, i) + x[: i + 1 + early].sum(0)
        y = torch.select_scatter(y, row, 0, i)
        corner = torch.slice_scatter(y.select(0, i), row[1:2], 0, 0, 1)
        y = torch.select_scatter(y, corner, 0, i)
    return y


def _overflow(x: torch.Tensor) -> torch.Tensor:
    """(T, T): infinite where a product is large, and else zero."""
    return (x @ x.T - 6).relu() * 1e38 * 1e38


def _softmax_by_hand(scores: torch.Tensor) -> torch.Tensor:
    scores = scores.masked_fill(~MASK, -math.inf)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)


def _one_head(function, x: torch.Tensor) -> torch.Tensor:
    return function(x[None, None])[0, 0]


def _decay(x: torch.Tensor) -> torch.Tensor:
    total = F.logsigmoid(x[:, 0]).cumsum(0)
    return (total[:, None] - total[None, :]).masked_fill(~MASK, -math.inf).exp()


def latest(function) -> torch.Tensor:
    """1 + the latest position that each element of ``function``'s result may depend on."""
    x = torch.rand(T, D, generator=torch.Generator().manual_seed(1)) + 0.5
    analysis = Analysis()
    positions = torch.arange(1.0, T + 1)[:, None].expand(T, D).clone()
    analysis.note(x, Reach(x, positions, torch.ones(T, D)))
    with torch.no_grad(), analysis:
        y = function(x)
    return analysis.reach(y).late


def truly_latest(function) -> torch.Tensor:
    """The same, found by changing one position after the other."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(T, D, generator=generator, dtype=torch.float64).float() + 0.5
    found = torch.zeros_like(function(x))
    for position in range(T):
        for _ in range(4):
            changed = x.clone()
            changed[position] = 3 * torch.rand(D, generator=generator) + 0.5
            found[function(changed) != function(x)] = position + 1
    return found


@pytest.mark.parametrize("name", EXACT)
def test_what_is_causal_is_proved(name):
    order = torch.arange(1.0, T + 1)[:, None]
    assert (latest(EXACT[name]) <= order).all()


@pytest.mark.parametrize("name", LEAKS)
def test_what_leaks_is_never_proved(name):
    order = torch.arange(1.0, T + 1)[:, None]
    assert (latest(LEAKS[name]) > order).any()


@pytest.mark.parametrize("name", [*EXACT, *LEAKS])
def test_no_dependence_is_overlooked(name):
    function = {**EXACT, **LEAKS}[name]
    assert (truly_latest(function) <= latest(function)).all()


@pytest.mark.parametrize("length", [3, 70], ids=["scalar code", "vector code"])
@pytest.mark.parametrize("name", sorted(PASSING - MATRICES))
def test_what_is_said_to_pass_nan_on_does(name, length):
    packet, ones = getattr(torch.ops.aten, name), torch.ones(length)
    spoilt = torch.where(torch.arange(length) == length // 2, torch.nan, 1.0)
    tried = 0
    for form in FORMS.get(name, [["x"], ["x", "x"], ["x", 0], ["x", "x", "x"]]):
        for place in (index for index, argument in enumerate(form) if argument == "x"):
            values = [ones if argument == "x" else argument for argument in form]
            values[place] = spoilt
            try:
                y = packet(*values)
            except (RuntimeError, TypeError):
                continue  # no form of this operator
            y = y[0] if isinstance(y, tuple) else y
            assert y[length // 2].isnan() if y.ndim == 1 else y.isnan()
            tried += 1
    assert tried


def test_a_parameter_is_not_taken_for_the_number_that_it_starts_with():
    gate = torch.zeros(1)
    x = torch.ones(T, D)
    analysis = Analysis()
    analysis.note(x, Reach(x, torch.arange(1.0, T + 1)[:, None].expand(T, D), torch.ones(T, D)))
    with torch.no_grad(), analysis:
        constant = x + gate * x.sum(0)
    assert analysis.reach(constant).late[0, 0] == 1, "a constant zero lets nothing through"
    analysis.note(gate, Reach(gate, torch.zeros(1), torch.ones(1)))
    with torch.no_grad(), analysis:
        trained = x + gate * x.sum(0)
    assert analysis.reach(trained).late[0, 0] == T


@pytest.mark.parametrize(
    "framework", ["coefficient_dynamics", "test_time_regression", "matrix_mixer"]
)
def test_an_accepted_program_says_that_it_is_proved(desk, framework):
    report = desk.check(desk.initial_source(framework), framework)
    assert report.evidence["causality"]["method"] == "proved"


@pytest.mark.parametrize(
    "mechanism",
    [
        pytest.param(m, id=f"{m.framework}-{m.name}", marks=() if i % 13 == 0 else pytest.mark.slow)
        for i, m in enumerate(mechanisms())
    ],
)
def test_every_published_mechanism_but_local_linear_attention_is_proved(desk, mechanism):
    traced = desk.trace(mechanism.source, mechanism.framework).sizes["16x2"]
    assert proves_causality(traced) == (mechanism.name != "local_linear")


def test_a_causal_program_that_cannot_be_followed_is_accepted_as_tested(desk):
    body = """
    kernel = torch.exp(-0.1 * torch.arange(q.shape[2], device=q.device, dtype=q.dtype))
    length = 2 * q.shape[2]
    taps = torch.fft.rfft(kernel, n=length)
    v = torch.fft.irfft(torch.fft.rfft(v, n=length, dim=2) * taps[:, None], n=length, dim=2)
    return v[:, :, : q.shape[2]] + q * k
    """
    report = desk.check(desk.program(body, "test_time_regression"), "test_time_regression")
    assert report.evidence["causality"]["method"] == "tested"
    assert report.evidence["causality"]["proof_covers"] == "nothing"


def test_a_proof_speaks_for_every_seed_that_will_be_trained(desk):
    """A constant may open a leak at one training seed and not at another."""
    body = """
    s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
    a = s.masked_fill(~mask, float("-inf")).softmax(-1)
    return a + self.is_open * torch.ones_like(s).triu(1)
    """
    members = "self.register_buffer('is_open', (torch.rand(()) > THRESHOLD).float())"
    layers = range(desk.sizes[0].num_layers)
    highest = {seed: max(_first_draw(seed, layer) for layer in layers) for seed in desk.seeds}
    threshold = sum(highest.values()) / 2
    source = desk.program(body, members=members.replace("THRESHOLD", str(threshold)))
    traced = desk.trace(source, "coefficient_dynamics").sizes["16x2"]
    closed, opened = sorted(desk.seeds, key=lambda seed: highest[seed])
    assert proves_causality(dataclasses.replace(traced, seeds=(closed,)))
    assert not proves_causality(dataclasses.replace(traced, seeds=(closed, opened)))


def _first_draw(seed, layer):
    """What ``torch.rand(())`` gives after the base's own initial values."""
    torch.manual_seed(initial_seed(seed, layer))
    CoefficientDynamics(16, 2)
    return float(torch.rand(()))
