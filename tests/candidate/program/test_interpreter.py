"""Interpreting the operators is running the module: same bits, same gradients, any batch."""

from __future__ import annotations

import types

import pytest
import torch

from openevolve_unified.candidate.program import file_layout as layout

CASES = {
    "coefficient_dynamics": (
        "self.gate = nn.Linear(hidden_dim, num_heads)\n"
        'self.register_buffer("slope", torch.rand(num_heads, 1, 1))',
        """
t = torch.arange(q.shape[2], device=q.device)
c = F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(-1)
s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim) + c[..., None] - c[..., None, :]
s = s - self.slope * (t[:, None] - t) * 0.1 + torch.tensor([0.25])
bias = torch.zeros(q.shape[0], q.shape[1], q.shape[2], q.shape[2], device=q.device)
bias[..., 0] = 0.5
return (s + bias).masked_fill(~mask, float("-inf")).softmax(dim=-1)
""",
    ),
    "test_time_regression": (
        "self.beta = nn.Linear(hidden_dim, num_heads)",
        """
k = F.normalize(k, dim=-1)
step = torch.sigmoid(self.beta(x)).transpose(1, 2)
return self.online_gradient(q, k, v, step, None) + v.float()
""",
    ),
    "matrix_mixer": (
        "self.scale = nn.Parameter(torch.randn(num_heads, 1, 1))",
        "return F.layer_norm(q, (self.head_dim,)) @ k.mT * self.scale * mask",
    ),
}


def direct(source: str, size, seed: int, layer: int):
    """The candidate's own class and its evolvable method, run as ordinary Python."""
    module = types.ModuleType("direct_program")
    exec(source, module.__dict__)
    torch.manual_seed(layout.initial_seed(seed, layer))
    return module.__dict__["EvolvableAttention"](size.hidden_dim, size.num_heads)


def arguments(size, time: int, batch: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(3)
    shape = (batch, size.num_heads, time, size.head_dim)
    q, k, v = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(3))
    x = torch.randn(batch, time, size.hidden_dim, generator=generator, dtype=dtype)
    leaves = [tensor.requires_grad_(True) for tensor in (q, k, v, x)]
    return (*leaves, torch.ones(time, time, dtype=torch.bool).tril())


def run(attention, framework: str, q, k, v, x, mask):
    method = getattr(attention, attention.evolvable_method)
    return (
        method(q, k, v, x, mask) if framework == "test_time_regression" else method(q, k, x, mask)
    )


@pytest.mark.parametrize("framework", CASES)
@pytest.mark.parametrize("batch", [1, 5])
def test_the_interpreter_gives_the_modules_bits_and_gradients(desk, framework, batch):
    members, body = CASES[framework]
    source = desk.program(body, framework, members)
    traced = desk.trace(source, framework).sizes[desk.sizes[1].name]
    for layer in range(2):
        attention = direct(source, desk.sizes[1], desk.seeds[1], layer)
        mechanism = traced.mechanism(desk.seeds[1], layer)
        inputs, same = (arguments(desk.sizes[1], desk.seq_len, batch) for _ in range(2))
        wanted = run(attention, framework, *inputs)
        found = mechanism(*same)
        assert torch.equal(wanted, found)
        wanted.square().sum().backward()
        found.square().sum().backward()
        for one, other in zip(inputs[:4], same[:4], strict=True):
            assert (one.grad is None) == (other.grad is None)
            assert one.grad is None or torch.equal(one.grad, other.grad)
        own = dict(attention.named_parameters())
        for name, parameter in zip(traced.parameter_names, mechanism.parameters(), strict=True):
            assert torch.equal(own[name], parameter)
            assert torch.equal(own[name].grad, parameter.grad)


def test_initial_values_differ_by_layer_and_seed(desk):
    members, body = CASES["matrix_mixer"]
    source = desk.program(body, "matrix_mixer", members)
    traced = desk.trace(source, "matrix_mixer").sizes[desk.sizes[0].name]
    values = [
        traced.initial_parameters(seed, layer)[0] for seed in desk.seeds for layer in range(2)
    ]
    for index, value in enumerate(values):
        assert all(not torch.equal(value, other) for other in values[index + 1 :])
    with pytest.raises(ValueError, match="traced for"):
        traced.mechanism(99, 0)


@pytest.mark.parametrize("framework", CASES)
def test_the_double_mechanism_computes_in_double(desk, framework):
    members, body = CASES[framework]
    source = desk.program(body.replace(".float()", ""), framework, members)
    traced = desk.trace(source, framework).sizes[desk.sizes[0].name]
    seed = desk.seeds[0]
    attention = direct(source, desk.sizes[0], seed, 0).double()
    inputs = arguments(desk.sizes[0], desk.seq_len, 2, torch.float64)
    mechanism = traced.double_mechanism(desk.seq_len, traced.initial_parameters(seed, 0), seed)
    before = torch.get_default_dtype()
    found = mechanism(*inputs)
    assert found.dtype == torch.float64
    assert torch.get_default_dtype() == before
    torch.set_default_dtype(torch.float64)
    try:
        wanted = run(attention, framework, *inputs)
    finally:
        torch.set_default_dtype(before)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_mechanism_runs_under_autocast_and_on_another_device(desk):
    members, body = CASES["coefficient_dynamics"]
    traced = desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    size = desk.sizes[0]
    mechanism = traced.sizes[size.name].mechanism(desk.seeds[0], 0)
    inputs = arguments(size, desk.seq_len, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mechanism(*inputs).isfinite().all()
    meta = [tensor.detach().to("meta") for tensor in inputs]
    assert mechanism.to("meta")(*meta).shape == (2, size.num_heads, desk.seq_len, desk.seq_len)


def test_the_state_dict_holds_parameters_only(desk):
    members, body = CASES["coefficient_dynamics"]
    traced = desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    mechanism = traced.sizes[desk.sizes[0].name].mechanism(desk.seeds[0], 0)
    assert list(mechanism.state_dict()) == ["p0", "p1"]
    # Torch before 2.15 makes a literal of the number that is written into a slice, too.
    assert {"c0", "l0"} <= set(dict(mechanism.named_buffers())) <= {"c0", "l0", "l1"}


@pytest.mark.slow
def test_the_mechanism_compiles_to_the_same_function(desk):
    members, body = CASES["coefficient_dynamics"]
    traced = desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    mechanism = traced.sizes[desk.sizes[0].name].mechanism(desk.seeds[0], 0)
    inputs = arguments(desk.sizes[0], desk.seq_len, 2)
    compiled = torch.compile(mechanism, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), mechanism(*inputs))


@pytest.mark.parametrize("framework", CASES)
def test_a_mechanism_for_checks_runs_the_trained_code_with_the_values_it_is_given(desk, framework):
    members, body = CASES[framework]
    traced = desk.trace(desk.program(body, framework, members), framework).sizes["16x2"]
    seed = desk.seeds[0]
    inputs = arguments(traced.size, desk.seq_len, 2)
    trained = traced.mechanism(seed, 0)
    initial = traced.initial_parameters(seed, 0)
    assert torch.equal(traced.mechanism_with(initial, seed)(*inputs), trained(*inputs))
    others = tuple(parameter + 0.5 for parameter in initial)
    checked = traced.mechanism_with(others, seed)
    trained.load_state_dict(checked.state_dict())
    assert torch.equal(checked(*inputs), trained(*inputs))
    moved, back = (traced.double_mechanism(desk.seq_len, p, seed) for p in (others, initial))
    doubles = arguments(traced.size, desk.seq_len, 2, torch.float64)
    assert not torch.equal(moved(*doubles), back(*doubles))
