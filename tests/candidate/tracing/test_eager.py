"""What a mechanism computes on real tensors is what was recorded of it."""

from __future__ import annotations

import pytest
from assembled_programs import build_program

from openevolve_unified.candidate.tracing.inside.capture import CaptureRequest, capture
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError

CD = "coefficient_dynamics"
SIZES = tuple(
    SizeConfig(hidden_dim=d, num_layers=1, num_heads=h) for d, h in ((8, 2), (12, 3), (16, 4))
)
SOFTMAX = "return s.masked_fill(~mask, -torch.inf).softmax(-1)"
SCORES = "s = q @ k.mT\n"
LOOKS = (
    "q.device.type == 'meta'",
    "q.is_meta",
    "'meta' in str(q.device)",
    "not q.requires_grad",
    "not q.is_cpu",
    "q.data_ptr() == 0",
    "'meta' in repr(q)",
    "'meta' in f'{q}'",
    "q.is_meta and self.num_heads == 2",
    "q.is_meta and self.num_heads == 3",
    "q.is_meta and self.num_heads == 4",
)


def trace(body, members=""):
    capture(
        CaptureRequest(
            source=build_program(body, CD, members),
            framework=CD,
            sizes=SIZES,
            seq_len=16,
            seeds=(3,),
            gates=GatesConfig(),
            batch_size=4,
        )
    )


def refusal_of(body, members=""):
    with pytest.raises(CandidateError) as caught:
        trace(body, members)
    return caught.value


@pytest.mark.parametrize("look", LOOKS)
def test_a_mechanism_that_is_another_one_while_it_is_traced_is_refused(look):
    trace(f"{SCORES}if {look}:\n    s = s.mul(2.0) * 0.5\n{SOFTMAX}")
    refusal = refusal_of(f"{SCORES}if {look}:\n    {SOFTMAX}\nreturn s.softmax(-1)")
    assert refusal.stage == "trace"
    assert refusal.reason.startswith("at ")
    assert "computes something else than while it is traced" in refusal.reason


def test_the_size_is_named():
    body = f"{SCORES}if q.is_meta and self.num_heads == 4:\n    s = 2 * s\n{SOFTMAX}"
    assert refusal_of(body).reason.startswith("at 16x1, with 4 heads: run on real tensors")


def test_a_difference_behind_a_gate_that_starts_at_zero_is_refused():
    gate = "self.gate = nn.Parameter(torch.zeros(1))"
    trace(f"s = q @ k.mT + self.gate * x.mean()\n{SOFTMAX}", gate)
    body = f"s = q @ k.mT\nif not q.requires_grad:\n    s = s * (1 + self.gate)\n{SOFTMAX}"
    assert "something else than while it is traced" in refusal_of(body, gate).reason


def test_what_runs_only_without_data_is_refused_with_its_line():
    body = f"{SCORES}s = s + torch.zeros(q.shape[2], device={{device}})\n{SOFTMAX}"
    trace(body.format(device="q.device"))
    refusal = refusal_of(body.format(device="'meta'"))
    assert refusal.stage == "trace"
    assert "can be traced, but not run on real tensors: line" in refusal.reason


def test_a_write_that_autograd_dislikes_is_recorded_as_what_it_is_without_gradients():
    gate = "self.gate = nn.Parameter(torch.zeros(1))"
    body = "s = (q @ k.mT).unbind(1)\ns[0].mul_(2.0)\ns = torch.stack(s, 1)\n"
    trace(body + SOFTMAX, gate)
    refusal = refusal_of(f"{body}if q.is_meta:\n    s = s * (1 + self.gate)\n{SOFTMAX}", gate)
    assert "something else than while it is traced" in refusal.reason


def test_memory_that_nobody_wrote_is_zeros_on_both_sides():
    empty = "torch.empty(1) + torch.empty_like(s) + q.new_empty(1)"
    trace(f"{SCORES}s = s + {empty}\n{SOFTMAX}")


def test_rows_that_are_not_a_number_are_equal_where_both_have_them():
    trace(f"{SCORES}return s.masked_fill(mask, -torch.inf).softmax(-1) / 0.0")
