"""A recording holds what the mechanism computes, and refuses what a program cannot hold."""

from __future__ import annotations

import textwrap

import pytest
from assembled_programs import build_program
from recorded_programs import (
    CD,
    SCORES,
    SOFTMAX,
    TIME,
    assert_traced_as_it_is_run,
    description_of,
    operators_of,
    request_for,
)

from openevolve_unified.candidate.tracing.inside.capture import capture
from openevolve_unified.mechanisms.catalog import mechanisms


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
