"""Every shipped mechanism traces, is causal, and is the same function in all its notations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exported_methods import exported_method

from openevolve_unified.mechanisms import catalog

HIDDEN_DIM, NUM_HEADS, HEAD_DIM = 24, 3, 8
EVERY = [pytest.param(m, id=f"{m.framework}-{m.name}") for m in catalog.mechanisms()]
EVERY_THIRD = [
    pytest.param(m, id=f"{m.framework}-{m.name}", marks=() if i % 3 == 2 else pytest.mark.slow)
    for i, m in enumerate(catalog.mechanisms())
]
"""A third by default, all of them with ``-m slow``: exporting a mechanism takes seconds."""
INITIAL_PROGRAMS = Path(__file__).parents[2] / "initial_programs"


def build(mechanism, dtype=torch.float64, seed=0):
    """The program's attention, with its own parameters moved away from their initial values."""
    scope = {"__name__": mechanism.name}
    exec(compile(mechanism.source, str(mechanism.path), "exec"), scope)
    torch.manual_seed(seed)
    attention = scope["EvolvableAttention"](HIDDEN_DIM, NUM_HEADS, 0.0)
    generator = torch.Generator().manual_seed(seed)
    for parameter in attention.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return attention.to(dtype).requires_grad_(True)


def own_parameters(attention):
    fixed = ("q_proj.", "k_proj.", "v_proj.", "out_proj.")
    return {n: p for n, p in attention.named_parameters() if not n.startswith(fixed)}


def causal_mask(time):
    return torch.ones(time, time, dtype=torch.bool).tril()


def traced(attention, batch, time=16):
    q, k, v = torch.randn(3, batch, NUM_HEADS, time, HEAD_DIM)
    inputs = (q, k, v, torch.randn(batch, time, HIDDEN_DIM), causal_mask(time))
    return exported_method(attention, inputs), inputs


@pytest.mark.parametrize("mechanism", EVERY_THIRD)
def test_it_traces_to_pure_operators_that_do_not_depend_on_the_batch(mechanism):
    attention = build(mechanism, torch.float32)
    programs = []
    for batch in (2, 3):
        exported, inputs = traced(attention, batch)
        nodes = [node for node in exported.graph.nodes if node.op == "call_function"]
        programs.append([str(node.target) for node in nodes])
        expected = attention.mix(*inputs)
        out = exported.module()(*inputs)
        if attention.evolvable_method != "regress":
            out = out.tril() @ inputs[2]
        torch.testing.assert_close(out, expected)
        for node in nodes:
            schema = getattr(node.target, "_schema", None)
            is_mutable = schema is not None and schema.is_mutable
            tags = getattr(node.target, "tags", ())
            assert not is_mutable, f"{node.target} writes in place"
            assert torch.Tag.nondeterministic_seeded not in tags, f"{node.target} is random"
    assert programs[0] == programs[1]
    # The longest loop runs over the tokens of one chunk, 8 here; none runs over all of time.
    assert len(programs[0]) < 250


@pytest.mark.parametrize("mechanism", EVERY)
def test_it_is_causal_prefix_extendable_and_free_of_batch_mixing(mechanism):
    attention = build(mechanism)
    x = torch.randn(2, 19, HIDDEN_DIM, dtype=torch.float64, requires_grad=True)
    y = attention(x)
    changed = torch.cat((x[:, :7], torch.randn(2, 12, HIDDEN_DIM, dtype=torch.float64)), dim=1)
    torch.testing.assert_close(attention(changed)[:, :7], y[:, :7], rtol=0, atol=1e-11)
    (gradient,) = torch.autograd.grad(y[:, :7].sum(), x)
    assert torch.count_nonzero(gradient[:, 7:]) == 0
    for time in (1, 6, 18):
        torch.testing.assert_close(attention(x[:, :time]), y[:, :time], rtol=0, atol=1e-10)
    torch.testing.assert_close(attention(x[1:]), y[1:], rtol=0, atol=1e-11)


@pytest.mark.parametrize("mechanism", EVERY)
def test_it_is_linear_in_the_values(mechanism):
    attention = build(mechanism)
    q, k, v, w = torch.randn(4, 2, NUM_HEADS, 9, HEAD_DIM, dtype=torch.float64)
    x, mask = torch.randn(2, 9, HIDDEN_DIM, dtype=torch.float64), causal_mask(9)
    joint = attention.mix(q, k, 2.0 * v + w, x, mask)
    parts = 2.0 * attention.mix(q, k, v, x, mask) + attention.mix(q, k, w, x, mask)
    torch.testing.assert_close(joint, parts, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mechanism", EVERY)
def test_it_stays_finite_in_float32(mechanism):
    """At every scale: random keys, constant keys, duplicate keys, as rows of one batch."""
    attention = build(mechanism, torch.float32)
    scales = torch.tensor([1e-3, 1.0, 30.0]).repeat(3)
    q, k, v = torch.randn(3, 9, NUM_HEADS, 32, HEAD_DIM) * scales.view(9, 1, 1, 1)
    k[3:6] = scales[3:6].view(3, 1, 1, 1)
    k[6:9] = k[6:9, :, :1].clone()
    x = (scales.view(9, 1, 1) * torch.randn(9, 32, HIDDEN_DIM)).requires_grad_()
    inputs = [q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), x]
    y = attention.mix(q, k, v, x, causal_mask(32))
    wanted = [*inputs, *own_parameters(attention).values()]
    gradients = torch.autograd.grad(y.sum(), wanted, allow_unused=True)
    assert y.isfinite().all()
    assert all(g.isfinite().all() for g in gradients if g is not None)


@pytest.mark.parametrize("mechanism", EVERY)
def test_the_gradient_reaches_every_parameter_of_its_own(mechanism):
    attention = build(mechanism)
    own = own_parameters(attention)
    if own:
        x = torch.randn(2, 16, HIDDEN_DIM, dtype=torch.float64)
        gradients = torch.autograd.grad(attention(x).square().sum(), list(own.values()))
        assert all(g.abs().max() > 0 for g in gradients)


@pytest.mark.parametrize("name", sorted({m.name for m in catalog.mechanisms()}))
def test_all_notations_of_a_mechanism_are_the_same_function(name):
    first, *others = [m for m in catalog.mechanisms() if m.name == name]
    attention = build(first)
    x = torch.randn(2, 21, HIDDEN_DIM, dtype=torch.float64)
    for other in others:
        twin = build(other)
        twin.load_state_dict(attention.state_dict())
        torch.testing.assert_close(twin(x), attention(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mechanism", EVERY)
def test_outside_the_block_it_equals_the_initial_program(mechanism):
    initial = (INITIAL_PROGRAMS / f"{mechanism.framework}.py").read_text(encoding="utf-8")
    for marker, part in (("# EVOLVE-BLOCK-START", 0), ("# EVOLVE-BLOCK-END", 1)):
        assert mechanism.source.split(marker)[part] == initial.split(marker)[part]


def test_the_catalog_lists_every_file_and_every_file_is_there():
    listed = {m.path for m in catalog.mechanisms()}
    folder = Path(catalog.__file__).parent
    assert listed == {p for p in folder.glob("*/*.py") if p.name != "__init__.py"}
    assert len({m.name for m in catalog.mechanisms()}) >= 20


def test_the_catalog_does_not_import_torch():
    code = "import sys, openevolve_unified.mechanisms.catalog; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
