"""The base classes: what is fixed, what the defaults compute, and the properties they keep."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from exported_methods import exported_method

from openevolve_unified.frameworks import CoefficientDynamics, MatrixMixer, TestTimeRegression
from openevolve_unified.frameworks.attention import CausalAttention

FRAMEWORKS = {
    "coefficient_dynamics": CoefficientDynamics,
    "test_time_regression": TestTimeRegression,
    "matrix_mixer": MatrixMixer,
}
PROGRAMS = Path(__file__).parents[2] / "initial_programs"
HIDDEN_DIM, NUM_HEADS, HEAD_DIM = 24, 3, 8


def load_program(name):
    spec = importlib.util.spec_from_file_location(f"initial_{name}", PROGRAMS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EvolvableAttention


def build(cls, dtype=torch.float64):
    torch.manual_seed(0)
    return cls(HIDDEN_DIM, NUM_HEADS, dropout=0.0).to(dtype)


def causal_mask(time):
    return torch.ones(time, time, dtype=torch.bool).tril()


@pytest.fixture(params=[*FRAMEWORKS, *(f"initial {name}" for name in FRAMEWORKS)])
def attention(request):
    name = request.param.removeprefix("initial ")
    return build(FRAMEWORKS[name] if name == request.param else load_program(name))


def reference(attention, x):
    """Softmax attention by torch's own kernel, with the same weights."""
    B, T, _ = x.shape
    q, k, v = (
        projection(x).view(B, T, NUM_HEADS, HEAD_DIM).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return attention.out_proj(y.transpose(1, 2).reshape(B, T, HIDDEN_DIM))


def test_every_default_and_initial_program_is_softmax_attention(attention):
    x = torch.randn(2, 17, HIDDEN_DIM, dtype=torch.float64)
    torch.testing.assert_close(attention(x), reference(attention, x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(attention(x, causal_mask(17)), attention(x), rtol=0, atol=0)


def test_the_three_initial_programs_compute_the_same_function():
    x = torch.randn(2, 17, HIDDEN_DIM, dtype=torch.float64)
    first, *others = [build(load_program(name))(x) for name in FRAMEWORKS]
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_initial_programs_add_no_parameters(name):
    names = {n for n, _ in build(load_program(name)).named_parameters()}
    assert names == {n for n, _ in build(FRAMEWORKS[name]).named_parameters()}
    assert names == {f"{p}_proj.{w}" for p in ("q", "k", "v", "out") for w in ("weight", "bias")}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_initial_programs_trace_to_the_product_the_mask_and_the_softmax_only(name):
    targets = traced_operators(load_program(name)(HIDDEN_DIM, NUM_HEADS))
    allowed = {"div", "transpose", "matmul", "bitwise_not", "masked_fill", "softmax"}
    assert {target.split(".")[1] for target in targets} <= allowed
    num_products = 2 if name == "test_time_regression" else 1
    assert sum(target.startswith("aten.matmul") for target in targets) == num_products


def traced_operators(attention):
    q, k, v = torch.randn(3, 2, NUM_HEADS, 16, HEAD_DIM)
    x = torch.randn(2, 16, HIDDEN_DIM)
    graph = exported_method(attention, (q, k, v, x, causal_mask(16))).graph
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


def test_the_future_never_reaches_the_past(attention):
    x = torch.randn(2, 12, HIDDEN_DIM, dtype=torch.float64, requires_grad=True)
    changed = torch.cat((x[:, :5], torch.randn(2, 7, HIDDEN_DIM, dtype=torch.float64)), dim=1)
    torch.testing.assert_close(attention(changed)[:, :5], attention(x)[:, :5], rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(attention(x)[:, :5].sum(), x)
    assert torch.count_nonzero(gradient[:, 5:]) == 0
    assert torch.count_nonzero(gradient[:, :5]) > 0


def test_a_shorter_input_gives_the_leading_rows(attention):
    x = torch.randn(2, 12, HIDDEN_DIM, dtype=torch.float64)
    for time in (1, 5, 11):
        torch.testing.assert_close(
            attention(x[:, :time]), attention(x)[:, :time], rtol=0, atol=1e-12
        )


def test_rows_of_the_batch_do_not_mix(attention):
    x = torch.randn(3, 9, HIDDEN_DIM, dtype=torch.float64)
    torch.testing.assert_close(attention(x[1:2]), attention(x)[1:2], rtol=0, atol=1e-12)


def test_the_result_is_linear_in_the_values(attention):
    q, k, v, w = torch.randn(4, 2, NUM_HEADS, 9, HEAD_DIM, dtype=torch.float64)
    x, mask = torch.randn(2, 9, HIDDEN_DIM, dtype=torch.float64), causal_mask(9)
    joint = attention.mix(q, k, 2.0 * v + w, x, mask)
    parts = 2.0 * attention.mix(q, k, v, x, mask) + attention.mix(q, k, w, x, mask)
    torch.testing.assert_close(joint, parts, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("keys", ["random", "constant", "duplicate"])
def test_outputs_and_gradients_stay_finite_in_float32(attention, scale, keys):
    attention = attention.float()
    q, k, v = (scale * torch.randn(3, 2, NUM_HEADS, 16, HEAD_DIM)).unbind(0)
    if keys == "constant":
        k = torch.ones_like(k) * scale
    elif keys == "duplicate":
        k = k[..., :1, :].expand_as(k).clone()
    x = torch.randn(2, 16, HIDDEN_DIM)
    inputs = [tensor.requires_grad_() for tensor in (q, k, v)]
    y = attention.mix(q, k, v, x, causal_mask(16))
    gradients = torch.autograd.grad(y.square().sum(), inputs)
    assert y.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_float32_agrees_with_float64(attention):
    x = torch.randn(2, 16, HIDDEN_DIM, dtype=torch.float64)
    double = attention(x)
    torch.testing.assert_close(attention.float()(x.float()).double(), double, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["forward", "mix", "__call__", "q_proj", "dropout", "evolvable_method"]
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_overriding_a_fixed_member_is_refused_and_overriding_a_part_is_not(framework, name):
    base = FRAMEWORKS[framework]
    with pytest.raises(TypeError, match=rf"Evolved\.{name} is fixed: .*{base.evolvable_method}"):
        type("Evolved", (base,), {name: lambda self, x: x})
    accepted = type("Evolved", (base,), {"scale": lambda self, z: z})
    assert issubclass(accepted, base)


def test_replacing_a_projection_is_refused_and_adding_a_gate_is_not():
    class Replaces(MatrixMixer):
        def __init__(self):
            super().__init__(HIDDEN_DIM, NUM_HEADS)
            self.v_proj = nn.Linear(HIDDEN_DIM, HIDDEN_DIM)

    class Adds(MatrixMixer):
        def __init__(self):
            super().__init__(HIDDEN_DIM, NUM_HEADS)
            self.gate = nn.Linear(HIDDEN_DIM, NUM_HEADS)

    with pytest.raises(TypeError, match=r"self\.v_proj is fixed: .*mixing_matrix"):
        Replaces()
    assert Adds()(torch.randn(1, 3, HIDDEN_DIM)).shape == (1, 3, HIDDEN_DIM)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="got 24, wanted a multiple of 5"):
        CoefficientDynamics(24, 5)
    assert CoefficientDynamics(24, 4).head_dim == 6


def test_the_base_of_the_frameworks_mixes_nothing_by_itself():
    x = torch.randn(1, 4, 6)
    with pytest.raises(NotImplementedError, match="subclass one of the frameworks"):
        CausalAttention(6, 2)(x)
    assert MatrixMixer(6, 2)(x).shape == x.shape


def test_dropout_acts_on_the_result_alone():
    attention = load_program("matrix_mixer")(HIDDEN_DIM, NUM_HEADS, 0.5)
    x = torch.randn(1, 8, HIDDEN_DIM)
    kept = attention.train()(x)
    expected = attention.eval()(x)
    is_dropped = kept == 0
    assert is_dropped.any()
    torch.testing.assert_close(kept[~is_dropped], 2.0 * expected[~is_dropped])


class LinearReadout(CoefficientDynamics):
    """A new readout and normaliser, through the parts alone."""

    def impulse(self, k, x):
        return F.elu(k) + 1

    def readout(self, z):
        return z

    def normaliser(self, phi, mask):
        return self.row_normalise(phi, mask)

    def coefficients(self, q, k, x, mask):
        return super().coefficients(F.elu(q) + 1, k, x, mask)


class RidgeSolver(TestTimeRegression):
    """An exact solver, through the parts alone."""

    def features(self, z):
        return F.normalize(z, dim=-1)

    def solver(self, q, k, v, log_weights, x, mask):
        return self.ridge(q, k, v, None, 0.25, mask)


class DecayedMixer(MatrixMixer):
    """Two factors and their product, through the parts alone."""

    def factors(self, q, k, x, mask):
        log_decay = q.new_full(q.shape[:-1], math.log(0.9))
        return self.low_rank(q, k), self.decay_matrix(log_decay, mask)

    def combine(self, factors, mask):
        low_rank, decay = factors
        return low_rank * decay


@pytest.mark.parametrize("cls", [LinearReadout, RidgeSolver, DecayedMixer])
def test_a_changed_part_changes_the_mechanism_and_keeps_it_causal(cls):
    attention = build(cls)
    x = torch.randn(2, 12, HIDDEN_DIM, dtype=torch.float64)
    y = attention(x)
    assert (y - reference(attention, x)).abs().max() > 1e-3
    torch.testing.assert_close(attention(x[:, :7]), y[:, :7], rtol=0, atol=1e-10)
    assert traced_operators(attention.float())


def test_importing_the_frameworks_imports_nothing_heavy_beyond_torch():
    code = (
        "import sys, openevolve_unified.frameworks;"
        "print([m for m in ('scipy', 'datasets', 'openevolve') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
