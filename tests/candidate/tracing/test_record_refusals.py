"""What the recorder refuses, where and with which words; and each refusal's accepted twin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from assembled_programs import build_program
from recorded_programs import (
    CD,
    SCORES,
    SOFTMAX,
    description_of,
    refusal_of,
    request_for,
)
from safetensors.torch import load

from openevolve_unified.candidate.tracing.inside.capture import capture
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.notations import NOTATIONS

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
