"""A recording holds what the mechanism computes, and refuses what a program cannot hold."""

from __future__ import annotations

import json
import textwrap
import types
from pathlib import Path

import pytest
import torch
from assembled_programs import build_program
from safetensors.torch import load

from openevolve_unified.candidate.program.file_layout import METADATA_KEY
from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.candidate.tracing.inside.capture import CaptureRequest, capture
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.mechanisms.catalog import mechanisms
from openevolve_unified.notations import NOTATIONS

CD = "coefficient_dynamics"
SIZES = tuple(SizeConfig(hidden_dim=d, num_layers=1, num_heads=h) for d, h in ((8, 2), (12, 3)))
TIME = 9
SOFTMAX = "return s.masked_fill(~mask, -torch.inf).softmax(-1)"
SCORES = "s = q @ k.mT\n"


def request_for(source, framework=CD, **changes):
    settings = {
        "sizes": SIZES,
        "seq_len": TIME,
        "seeds": (3,),
        "gates": GatesConfig(),
        "batch_size": 4,
        **changes,
    }
    return CaptureRequest(source=source, framework=framework, **settings)


def description_of(traced: bytes):
    header = json.loads(traced[8 : 8 + int.from_bytes(traced[:8], "little")])
    return json.loads(header["__metadata__"][METADATA_KEY])


def operators_of(traced: bytes):
    (program, *_) = description_of(traced)["sizes"][0]["programs"]
    return {node[0].split(".")[1] for node in program["program"]["nodes"]}


def refusal_of(body, members="", **changes):
    with pytest.raises(CandidateError) as caught:
        capture(request_for(build_program(body, CD, members), **changes))
    return caught.value


def result_and_gradients(run, tensors, mask):
    """The result, and the gradients of a weighted sum of it with respect to ``tensors``."""
    leaves = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
    result = run(*leaves, mask)
    if not result.requires_grad:
        return result, ()
    weights = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype).view_as(result)
    gradients = torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True)
    return result, gradients


def assert_traced_as_it_is_run(source, framework, folder):
    """In float64: the module's own method against the traced program, values and gradients."""
    path = folder / "traced.safetensors"
    path.write_bytes(capture(request_for(source, framework)))
    size = SIZES[1]
    traced = load_traced(path, GatesConfig()).sizes[size.name]
    module = types.ModuleType("direct")
    exec(source, module.__dict__)
    attention = module.EvolvableAttention(size.hidden_dim, size.num_heads).double()
    own = dict(attention.named_parameters())
    for name, value in zip(traced.parameter_names, traced.initial_parameters(3, 0), strict=True):
        own[name].data = value.double()
    method = getattr(attention, attention.evolvable_method)
    if framework == "test_time_regression":
        direct = method
    else:
        direct = lambda q, k, v, x, mask: method(q, k, x, mask)  # noqa: E731
    generator = torch.Generator().manual_seed(5)
    heads = (3, size.num_heads, TIME, size.head_dim)
    shapes = (heads, heads, heads, (3, TIME, size.hidden_dim))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    mask = torch.ones(TIME, TIME, dtype=torch.bool).tril()
    mechanism = traced.double_mechanism(TIME, traced.initial_parameters(3, 0), 3)
    found, found_gradients = result_and_gradients(mechanism, tensors, mask)
    torch.set_default_dtype(torch.float64)
    try:
        wanted, wanted_gradients = result_and_gradients(direct, tensors, mask)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, equal_nan=True)
    for one, other in zip(found_gradients, wanted_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12, equal_nan=True)


def sampled(items):
    return [
        item if position % 6 == 0 else pytest.param(item, marks=pytest.mark.slow)
        for position, item in enumerate(items)
    ]


@pytest.mark.parametrize(
    "mechanism", sampled(mechanisms()), ids=lambda m: f"{m.framework}-{m.name}"
)
def test_a_published_mechanism_is_traced_as_it_is_run(mechanism, tmp_path):
    assert_traced_as_it_is_run(mechanism.source, mechanism.framework, tmp_path)


WRITES = {
    "a row in a loop": "s = torch.zeros_like(q @ k.mT)\nfor i in range(q.shape[2]):\n"
    "    s[:, :, i] = (q[:, :, i, None] * k).sum(-1)\n",
    "a row added to in a loop": "s = torch.zeros_like(q @ k.mT)\nfor i in range(q.shape[2]):\n"
    "    s[:, :, i] += (q[:, :, i, None] * k).sum(-1)\n    s[..., i, :i] -= s[..., :i, i]\n",
    "an element of a fresh tensor": SCORES + "s[..., 0, 0] = 1.5\ns[:, 1] *= 2\n",
    "a mask": SCORES + "s[..., ~mask] = -1e9\n",
    "a mask of the full shape": SCORES + "s[(~mask).expand_as(s)] = float('-inf')\n",
    "a list of positions": SCORES + "s[..., [0, 2]] = k[..., :2]\n",
    "positions that repeat": SCORES
    + "at = torch.tensor([0, 0])\ns.index_put_((at,), (q @ q.mT)[:2], accumulate=True)\n",
    "named methods": SCORES + "s.mul_(0.5).add_(1.0).masked_fill_(~mask, -5.0)\n",
    "an operator of Python": SCORES + "s += 1.0\ns /= 2\ns **= 2\n",
    "bool operators": SCORES
    + "m = mask.clone()\nm |= m.T.clone()\nm &= mask\nm ^= ~mask\ns = s * m\n",
    "filling": SCORES + "t = torch.empty_like(s)\nt.fill_(2.0)\nt[..., 0].zero_()\ns = s * t\n",
    "filling with a tensor": SCORES + "s[..., 1].fill_(q.mean())\n",
    "indices": SCORES + "at = torch.tensor([0, 3])\ns.index_fill_(-1, at, 0.25)\n"
    "s.index_add_(-1, at, k[..., :2])\ns.index_copy_(-2, at, s[..., :2, :] * 2)\n",
    "scatter": SCORES + "at = torch.zeros_like(s, dtype=torch.long)[..., :1]\n"
    "s.scatter_(-1, at, k[..., :1])\ns.scatter_add_(-1, at, q[..., :1])\n",
    "a copy of other shape and type": SCORES + "t = torch.zeros_like(s)\n"
    "t.copy_(torch.arange(q.shape[2]))\ns = s * t\n",
    "through a transpose": SCORES
    + "s.mT[..., 0, :] = 3.0\ns.transpose(0, 1)[1] += q[:, 0, :1].sum()\n",
    "through a permutation and movedim": SCORES + "s.permute(2, 3, 0, 1)[0, 1] = 2.0\n"
    "s.movedim(-1, 0)[2] = 4.0\n",
    "through a reshape": SCORES + "s.view(-1)[0] = 2.0\ns.flatten(2)[..., 1] = 3.0\n"
    "s.unsqueeze(0)[0, 0] += 1.0\ns[:, :, None].squeeze(2)[..., 0] -= 1.0\n",
    "through a diagonal": SCORES + "s.diagonal(dim1=-2, dim2=-1).copy_(q.sum(-1))\n"
    "s.diagonal(-1, -2, -1).add_(1.0)\n",
    "through pieces": SCORES + "t = torch.ones_like(s)\na, b = t.split([4, t.shape[-1] - 4], -1)\n"
    "b.mul_(2.0)\nc = t.chunk(3, -2)\nc[1].add_(1.0)\nr = t.unbind(1)\nr[1].mul_(0.5)\n"
    "s = s * t\ns.narrow(-1, 1, 2).neg_()\ns.narrow(-1, -2, 2).neg_()\n",
    "a view that was taken before": SCORES + "row = s[..., 1, :]\ns[..., 1, 0] = 7.0\n"
    "s = s + row[..., None, :]\n",
    "a whole that is read through after its view is written": SCORES
    + "row = s[:, 0]\nt = s * 2\nrow.add_(t[:, 0])\ns = s + t\n",
    "a clone of an input": "z = q.clone()\nz[..., 0] = 0.0\ns = z @ k.mT\n",
    "a relu in place": SCORES
    + "F.relu(s, inplace=True)\ns = F.leaky_relu(s - 1, 0.1, inplace=True)\n",
    "a literal": SCORES + "t = torch.tensor([1.0, 2.0, 3.0])\nt[1] = 5.0\ns = s * t.sum()\n",
    "a step of two": SCORES + "s[..., ::2] = 0.5\ns[..., 1:-1:3] += k.mean()\n",
    "a number written into whole numbers": SCORES
    + "n = torch.arange(q.shape[2])\nn[0] = 5\nn += 2\ns = s * n\n",
    "an accumulation that keeps what it was": SCORES
    + "state = torch.zeros_like(s[..., 0, :])\nrows = []\nfor i in range(q.shape[2]):\n"
    "    state.mul_(0.5).add_(s[..., i, :])\n    rows.append(state.clone())\n"
    "s = torch.stack(rows, -2)\n",
}


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES.keys())
def test_a_write_in_place_is_traced_as_it_is_run(body, tmp_path):
    long = f"{SCORES}if q.shape[2] == {TIME}:\n{textwrap.indent(body, '    ')}"
    source = build_program(long + SOFTMAX, CD, "")
    assert_traced_as_it_is_run(source, CD, tmp_path)


ORDINARY = {
    "a literal": "s = q @ k.mT * torch.tensor(0.5)\n",
    "a literal on the inputs' device": "s = q @ k.mT * torch.tensor(0.5, device=q.device)\n"
    "s = s * q.new_tensor([2.0]) + torch.as_tensor([1.0], device=q.device)\n",
    "a list as an index": "s = q[..., [0, 1]] @ k[..., [1, 0]].mT\n",
    "new tensors without a device": "s = q @ k.mT + torch.arange(q.shape[2]) * 0.1\n",
    "several results": "a, b = q.chunk(2, -1)\ns = a @ k.chunk(2, -1)[0].mT + b.amax()\n",
    "a size that is the batch": "s = q.reshape(q.shape[0] * 2, -1, q.shape[3]).cos()\n"
    "s = s.view(q.shape) @ k.mT\n",
    "a complex number": SCORES + "s = s + torch.exp(1j * s).real + (s * (2 - 1j)).imag\n",
    "a function mapped over the heads": "def one(a, b, m):\n    return (a @ b.mT) * m\n"
    "s = torch.vmap(one, in_dims=(1, 1, None), out_dims=1)(q, k, mask)\n",
    "a function with two results, mapped": "def one(a, b):\n    return a + b, a * b\n"
    "a, b = torch.vmap(one, in_dims=1, out_dims=(1, 1))(q, k)\ns = a @ b.mT\n",
    "autocast switched off": "with torch.autocast(device_type=q.device.type, enabled=False):\n"
    "    s = q @ k.mT\nwith torch.amp.autocast('cuda', torch.bfloat16, False):\n    s = s * 2\n",
    "a constant table": "s = q @ k.mT * self.table[0] + self.tables[1]\n",
}
TABLES = "self.table = torch.ones(2, 1)\nself.tables = [torch.ones(1), torch.full((1,), 2.0)]\n"


@pytest.mark.parametrize("body", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_code_is_traced_as_it_is_run(body, tmp_path):
    # With two heads only: a size that is the batch is written for those.
    body = body.replace("q.shape[0] * 2", "q.shape[0] * self.num_heads")
    assert_traced_as_it_is_run(build_program(body + SOFTMAX, CD, TABLES), CD, tmp_path)


def test_autocast_switched_off_by_an_older_name_changes_nothing():
    body = f"with torch.cuda.amp.autocast(enabled=False):\n    {SCORES}{SOFTMAX}"
    assert operators_of(capture(request_for(build_program(body, CD, "")))) == operators_of(
        capture(request_for(build_program(SCORES + SOFTMAX, CD, "")))
    )


def test_uninitialised_memory_is_zeros():
    traced = capture(
        request_for(build_program(f"s = q @ k.mT + torch.empty(1)\n{SOFTMAX}", CD, ""))
    )
    assert "zeros" in operators_of(traced)
    assert not any(name.startswith("empty") for name in operators_of(traced))


def test_a_traced_write_has_functional_operators_only():
    body = SCORES + "s[..., 0] = 1.0\ns.add_(1.0)\ns[..., ~mask] = -1e9\nreturn s.softmax(-1)"
    traced = capture(request_for(build_program(body, CD, "")))
    assert {"select_scatter", "masked_fill"} <= operators_of(traced)
    assert not any(name.endswith("_") for name in operators_of(traced))


BY_WRITES = """
y = torch.zeros_like(q @ k.mT)
for i in range(q.shape[2]):
    y[:, :, i, : i + 1] = s[..., i, : i + 1]
    if i:
        y[:, :, i] += 0.5 * y[:, :, i - 1]
return y
"""
BY_STACK = """
rows = []
for i in range(q.shape[2]):
    row = F.pad(s[..., i, : i + 1], (0, q.shape[2] - 1 - i))
    if i:
        row = row + 0.5 * rows[-1]
    rows.append(row)
return torch.stack(rows, -2)
"""


def test_a_loop_that_writes_rows_has_at_most_twice_the_operators_of_one_that_stacks_them():
    """Each operator takes the same time to record, to check and to train, so this bounds all."""
    lengths = []
    for body in (BY_WRITES, BY_STACK):
        traced = capture(request_for(build_program(SCORES + body, CD, ""), seq_len=32))
        (program, *_) = description_of(traced)["sizes"][0]["programs"]
        lengths.append(len(program["program"]["nodes"]))
    assert lengths[0] <= 2 * lengths[1]


REFUSED = {
    "no gradient inside": ("with torch.no_grad():\n    s = q @ k.mT\n", "torch.no_grad"),
    "another precision inside": (
        "with torch.autocast('cpu', torch.bfloat16):\n    s = q @ k.mT\n",
        "no autocast: the mechanism runs in the float32 that it is checked in",
    ),
    "another precision on another device": (
        "with torch.autocast('cuda', dtype=torch.bfloat16):\n    s = q @ k.mT\n",
        "no autocast",
    ),
    "another precision by an older name": (
        "with torch.cuda.amp.autocast():\n    s = q @ k.mT\n",
        "no autocast",
    ),
    "a branch on a value": (SCORES + "if s.mean() > 0:\n    s = 2 * s\n", "torch.where"),
    "a number read": (SCORES + "s = s * float(s.mean())\n", "torch.where"),
    "numbers read as a list": (SCORES + "s = s * s.tolist()[0]\n", "torch.where"),
    "a selection by a condition": (SCORES + "s[s > 0] *= 2\n", "shape depends on tensor values"),
    "the base's projection": (
        "s = self.q_proj(x)[:, None, :, :1] + q @ k.mT\n",
        "self.q_proj.weight, which is fixed",
    ),
    "a detach in place": (SCORES + "s.detach_()\n", "detach_"),
    "a backward of its own": (
        "class Twice(torch.autograd.Function):\n"
        "    @staticmethod\n    def forward(ctx, z):\n        return z.sin()\n"
        "s = Twice.apply(q @ k.mT)\n",
        "backward of its own",
    ),
    "an input written": (SCORES + "q *= 2\n", "writes into its input 'q'"),
    "an input written through a view": (
        SCORES + "x.view(-1)[0] = 1.0\n",
        "writes into its input 'x'",
    ),
    "a parameter written": (SCORES + "self.p.data.add_(1.0)\n", "state between calls"),
    "a buffer written": (SCORES + "self.c.mul_(0.5)\n", "writes into its member 'c'"),
    "an expanded tensor written": (
        SCORES + "t = s[..., :1].expand(s.shape)\nt[..., 0] = 1.0\ns = s + t\n",
        ".clone()",
    ),
    "a window written": (SCORES + "s.unfold(-1, 1, 1)[..., 0].add_(1.0)\n", ".clone()"),
    "a given result": (SCORES + "torch.add(s, 1.0, out=s)\n", "write the functional form"),
    "a recurrent layer": (SCORES + "s = s + self.rnn(x)[0].sum()\n", "cumsum"),
    "a complex number as a plain one": (
        SCORES + "s = torch.full_like(s, 1j, dtype=torch.complex64).real\n",
        "torch.polar",
    ),
    "a function mapped over no tensor": (
        "s = torch.vmap(lambda d: d['q'] @ k.mT, in_dims=({'q': 1},))({'q': q})\n",
        "broadcast over the head dimension",
    ),
    "a gradient inside": (
        "s = q @ k.mT + torch.func.grad(lambda z: (z * z).sum())(q).mean()\n",
        "torch.func",
    ),
    "an unknown operator": (SCORES + "s = F.bilinear(s, s, s[0, :1, :1])\n", "bilinear"),
    "a wrong shape": (SCORES + "s = s.view(3, -1, 7)\n", "RuntimeError"),
}
MEMBERS = (
    "self.p = nn.Parameter(torch.randn(1))\nself.register_buffer('c', torch.ones(1))\n"
    "self.rnn = nn.GRU(hidden_dim, num_heads, batch_first=True)\n"
)


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_names_the_line_the_size_and_what_to_write(body, words):
    refusal = refusal_of(body + SOFTMAX, MEMBERS)
    assert refusal.stage == "trace"
    assert words in refusal.reason
    assert "at 8x1, with 2 heads: " in refusal.reason
    number, _, code = refusal.reason.partition("line ")[2].partition(" (`")
    source = build_program(body + SOFTMAX, CD, MEMBERS).splitlines()
    assert source[int(number) - 1].strip().startswith(code.partition("`)")[0])
    assert len(refusal.reason) < 600


def test_a_map_over_the_batch_is_refused_by_name():
    mapped = "s = torch.vmap(lambda a, b: a @ b.mT, in_dims={0}, out_dims={0})(q, k)\n{1}"
    assert "no loop or vmap over the batch" in refusal_of(mapped.format(0, SOFTMAX)).reason
    assert capture(request_for(build_program(mapped.format(1, SOFTMAX), CD, "")))


def test_autocast_that_is_switched_on_without_a_region_is_refused():
    try:
        refusal = refusal_of(f"torch.set_autocast_enabled('cuda', True)\n{SCORES}{SOFTMAX}")
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert "line" in refusal.reason
    assert "no autocast" in refusal.reason


def test_two_results_are_refused():
    assert "exactly one tensor" in refusal_of("return q, k").reason


def test_a_refusal_stands_where_the_program_catches_it():
    body = f"{SCORES}try:\n    s = s * float(s.mean())\nexcept Exception:\n    pass\n{SOFTMAX}"
    assert "reads tensor values" in refusal_of(body).reason


def test_a_shape_that_wants_pairs_of_heads_is_refused_at_the_size_with_an_odd_number_of_them():
    body = SCORES + "s = s.view(s.shape[0], self.num_heads // 2, 2, *s.shape[2:]).flatten(1, 2)\n"
    refusal = refusal_of(body + SOFTMAX)
    assert "at 12x1, with 3 heads: line" in refusal.reason
    assert "the number of heads may be odd, as here" in refusal.reason
    halved = body.replace("self.num_heads // 2, 2", "self.num_heads, 1")
    assert capture(request_for(build_program(halved + SOFTMAX, CD, "")))


BRANCHES = {
    "the training batch": ("if q.shape[0] >= 16:\n    s = s + k.mean()\n", "at batch 16 than"),
    "a batch of one": ("if q.shape[0] == 1:\n    s = s + k.mean()\n", "at batch 1 than"),
    "a batch of three": ("if q.shape[0] == 3:\n    s = s + k.mean()\n", "at batch 3 than"),
    "a number from it": ("s = s / q.shape[0]\n", "at batch 3 than"),
    "a branch at the widest size only": (
        "if q.shape[0] >= 16 and self.num_heads == 3:\n    s = s + k.mean()\n",
        "at 12x1, with 3 heads: the mechanism depends on the batch size",
    ),
}


@pytest.mark.parametrize(("body", "words"), BRANCHES.values(), ids=BRANCHES.keys())
def test_a_mechanism_that_looks_at_the_batch_size_is_refused(body, words):
    refusal = refusal_of(SCORES + body + SOFTMAX, batch_size=16)
    assert "depends on the batch size" in refusal.reason
    assert words in refusal.reason
    unread = (SCORES + body + SOFTMAX).replace("s + k.mean()", "s").replace("/ q.shape[0]", "/ 2")
    assert capture(request_for(build_program(unread, CD, ""), batch_size=16))


def test_only_the_batch_that_is_trained_is_traced():
    branch = "if q.shape[0] >= 16:\n    s = s + k.mean()\n"
    assert capture(request_for(build_program(SCORES + branch + SOFTMAX, CD, ""), batch_size=8))


def test_what_fails_in_a_batch_of_one_only_is_refused_with_that_batch():
    body = f"{SCORES}s = s + s.squeeze()[:, :, :, :1].mean()\n{SOFTMAX}"
    assert "in a batch of 1 (but not in one of 2): line 16" in refusal_of(body).reason
    assert capture(request_for(build_program(body.replace(".squeeze()", ""), CD, "")))


STATE = {
    "a tensor kept on self": (
        "last = getattr(self, 'last', k)\nself.last = k\ns = q @ (k + last).mT\n",
        "",
    ),
    "a counter on self": ("self.calls += 1\ns = q @ k.mT * self.calls\n", "self.calls = 0"),
    "a list of the class": (
        "type(self).seen.append(1)\ns = q @ k.mT * len(type(self).seen)\n",
        "type(self).seen = []",
    ),
}


@pytest.mark.parametrize(("body", "members"), STATE.values(), ids=STATE.keys())
def test_state_between_calls_is_refused(body, members):
    assert "state between calls" in refusal_of(body + SOFTMAX, members).reason


def test_a_mode_that_matters_is_refused():
    refusal = refusal_of(f"{SCORES}s = s if self.training else 2 * s\n{SOFTMAX}")
    assert "train and eval mode" in refusal.reason


def test_too_many_operators_are_refused_with_the_line_that_makes_them():
    body = SCORES + "for _ in range(50):\n    s = s.cos()\n" + SOFTMAX
    refusal = refusal_of(body, gates=GatesConfig(max_nodes=40))
    assert refusal.stage == "program"
    assert "(`s = s.cos()`)" in refusal.reason
    assert "at most 40 are allowed, and 50 come from this line" in refusal.reason
    assert capture(request_for(build_program(body, CD, ""), gates=GatesConfig(max_nodes=60)))


def test_an_endless_loop_of_operators_ends_early():
    body = SCORES + "while True:\n    s = s.cos()\n" + SOFTMAX
    refusal = refusal_of(body, gates=GatesConfig(max_nodes=40))
    assert "calls more than 320 operators" in refusal.reason


def test_lines_of_the_source_travel_with_the_program():
    source = build_program(f"s = q @ k.mT\ns = s.cos()\n{SOFTMAX}", CD, "")
    (program, *_) = description_of(capture(request_for(source)))["sizes"][0]["programs"]
    line = source.splitlines().index("        s = s.cos()") + 1
    assert program["lines"] == [line - 1, line - 1, line, *[line + 1] * 3]


def test_tensors_that_are_no_members_are_literals():
    body = f"Store.seen.append(1)\ns = q @ k.mT * Store.table\n{SOFTMAX}"
    source = build_program(body, CD, "").replace(
        "class Evolv", "class Store:\n    seen = []\n    table = torch.ones(1)\n\n\nclass Evolv"
    )
    traced = capture(request_for(source))
    assert all("/l0/" in name for name in load(traced))
    assert len(load(traced)) == len(description_of(traced)["sizes"][0]["programs"]) + 2


CASES = Path(__file__).parents[4] / "shared" / "cases" / "programs"
OUTCOMES = {
    "branch_on_batch_size": "depends on the batch size (it is another one at batch 16 than at",
    "complex_literal": None,
    "gru_gate": "line 19 (`g, _ = self.rnn(x)`): a recurrent layer",
    "no_grad_in_init": None,
    "orthogonal_to_own_value": None,
    "paired_heads": "at 48x1, with 3 heads: line 20",
    "rows_written_in_place": None,
    "vmap_over_heads": None,
}


@pytest.mark.skipif(not CASES.exists(), reason="the collected cases are not here")
@pytest.mark.parametrize("name", OUTCOMES)
def test_a_program_from_use_is_traced_or_refused_with_its_place(name):
    source = (CASES / f"{name}.py").read_text()
    framework = next(
        n for n, notation in NOTATIONS.items() if f"import {notation.base_class}\n" in source
    )
    sizes = tuple(SizeConfig(hidden_dim=d, num_layers=1, num_heads=d // 16) for d in (32, 48))
    request = request_for(source, framework, sizes=sizes, seq_len=32, batch_size=16)
    if OUTCOMES[name] is None:
        assert capture(request)
    else:
        with pytest.raises(CandidateError) as caught:
            capture(request)
        assert OUTCOMES[name] in caught.value.reason
