"""A change is judged against the whole output, and no tolerance hides more for it."""

from __future__ import annotations

import pytest
import torch

from openevolve_unified.candidate.checks.causality import relative_change, require_causal
from openevolve_unified.errors import CandidateError

SCORES = "s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)\n"
WEIGHTS = "a = s.masked_fill(~mask, -torch.inf).softmax(-1)\n"
TRANSFORM = "w = torch.fft.irfft(torch.fft.rfft(v, dim=-1), n=v.shape[-1], dim=-1)\n"
"""An honest operator for which changes are compared with a tolerance."""
REGRESSION = "test_time_regression"


def test_a_row_that_is_zero_but_for_rounding_is_accepted(desk):
    body = SCORES + WEIGHTS + "y = a @ v\nu = F.normalize(v, dim=-1)\n"
    body += "return y - (y * u).sum(-1, keepdim=True) * u"
    evidence = desk.check(desk.program(body, REGRESSION), REGRESSION).evidence
    prefix = [size["max_prefix_difference"] for size in evidence["causality"]["sizes"].values()]
    assert max(prefix) < 1e-12


LEAKS = {
    "every row scaled down": "return 1e-9 * (a @ w + leak @ v)",
    "half of the rows scaled down": (
        "row = torch.arange(1, mask.shape[0] + 1, device=v.device)[:, None]\n"
        "is_late = (row > 8).to(v.dtype)\n"
        "return (is_late + 1e-9) * (a @ w) + 1e-9 * (leak @ v)"
    ),
    "other rows scaled up": (
        "is_even = 1 - torch.arange(mask.shape[0], device=v.device)[:, None] % 2\n"
        "return (1 + 1e12 * is_even) * (a @ w) + (1 - is_even) * (leak @ v)"
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_beside_a_transform_is_refused_however_rows_are_scaled(desk, name):
    body = SCORES + WEIGHTS + TRANSFORM + "leak = torch.ones_like(s).tril(1).triu(1)\n"
    refusal = desk.refusal(desk.program(body + LEAKS[name], REGRESSION), REGRESSION)
    assert refusal.stage == "causality"
    assert "when the input from position" in refusal.reason


@pytest.mark.parametrize("name", LEAKS)
def test_the_same_rows_without_the_leak_are_accepted(desk, name):
    body = SCORES + WEIGHTS + TRANSFORM + "leak = torch.zeros_like(s)\n" + LEAKS[name]
    evidence = desk.check(desk.program(body, REGRESSION), REGRESSION).evidence
    assert evidence["causality"]["tolerance"] > 0


def test_no_row_is_measured_by_more_than_the_residual_stream_or_by_less_than_itself():
    one = torch.tensor([1e-16, 1e-3, 2.0, 1e12], dtype=torch.float64).view(1, 4, 1)
    other = one + torch.tensor([1e-16, 1e-9, 1e-9, 1e3], dtype=torch.float64).view(1, 4, 1)
    change = relative_change(one, other, one).flatten()
    wanted = torch.tensor([1e-16, 1e-9, 5e-10, 1e-9], dtype=torch.float64)
    torch.testing.assert_close(change, wanted, rtol=1e-6, atol=0)
    faint = 1e-9 * one[:, :2]
    assert float(relative_change(faint, 2 * faint, faint).max()) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_difference_is_a_difference(dtype):
    tiny = torch.finfo(dtype).tiny
    one = torch.zeros(1, 2, 1, dtype=dtype)
    one[0, 1] = 1e30
    other = one + tiny * torch.tensor([1.0, 0.0], dtype=dtype).view(1, 2, 1)
    assert (relative_change(one, other, one) > 0).flatten().tolist() == [True, False]


def test_a_shift_by_a_maximum_of_the_future_is_told_that_it_cancels(desk):
    body = SCORES + "e = torch.exp(s - s.amax(dim=-1, keepdim=True)) * mask\n"
    refusal = desk.refusal(
        desk.program(body + "return e / e.sum(-1, keepdim=True).clamp(min=1e-30)")
    )
    assert refusal.stage == "causality"
    assert "it cancels except for rounding (and underflow)" in refusal.reason
    assert "take the maximum over positions that the row may read" in refusal.reason


def test_the_same_shift_over_masked_scores_is_accepted(desk):
    body = SCORES + "top = s.masked_fill(~mask, -torch.inf).amax(dim=-1, keepdim=True)\n"
    body += "e = torch.exp((s - top).masked_fill(~mask, -torch.inf))\n"
    body += "return e / e.sum(-1, keepdim=True)"
    assert desk.check(desk.program(body), "coefficient_dynamics")


def test_a_leak_that_is_larger_than_rounding_is_not_said_to_cancel():
    x = torch.randn(2, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(CandidateError) as caught:
        require_causal(lambda z: z + 1e-6 * z.roll(-1, 1), x, [4], 0.0, "a leak")
    assert "cancels" not in caught.value.reason
