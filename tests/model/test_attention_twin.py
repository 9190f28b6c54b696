"""The model's attention against the base classes that programs are written against."""

from __future__ import annotations

import pytest
import torch
import torch.nn as nn

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.frameworks import CoefficientDynamics, MatrixMixer, TestTimeRegression
from openevolve_unified.model.attention import Attention, apply_mechanism

SIZE = SizeConfig(hidden_dim=48, num_layers=1, num_heads=3)
BASES = {
    "coefficient_dynamics": CoefficientDynamics,
    "test_time_regression": TestTimeRegression,
    "matrix_mixer": MatrixMixer,
}


class _Method(nn.Module):
    """The evolvable method of ``base`` as the trainer sees a mechanism."""

    def __init__(self, base: nn.Module, framework: str):
        super().__init__()
        self.base = base
        self.framework = framework

    def forward(self, q, k, v, x, mask):
        if self.framework == "coefficient_dynamics":
            return self.base.coefficients(q, k, x, mask)
        if self.framework == "matrix_mixer":
            return self.base.mixing_matrix(q, k, x, mask)
        return self.base.regress(q, k, v, x, mask)


def _twins(framework: str, dtype: torch.dtype) -> tuple[nn.Module, Attention]:
    torch.manual_seed(0)
    base = BASES[framework](SIZE.hidden_dim, SIZE.num_heads, 0.1).to(dtype).eval()
    attention = Attention(SIZE, framework, _Method(base, framework)).to(dtype)
    with torch.no_grad():
        inputs = (base.q_proj, base.k_proj, base.v_proj)
        attention.qkv_proj.weight.copy_(torch.cat([p.weight for p in inputs]))
        attention.qkv_proj.bias.copy_(torch.cat([p.bias for p in inputs]))
        attention.out_proj.load_state_dict(base.out_proj.state_dict())
    return base, attention


@pytest.mark.parametrize("framework", BASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@torch.no_grad()
def test_equal_weights_give_the_output_of_the_base_class(framework, dtype, tolerance):
    # Rounding only: a library may sum one product of three times the width in another order.
    base, attention = _twins(framework, dtype)
    x = torch.randn(4, 32, SIZE.hidden_dim, dtype=dtype)
    mask = torch.ones(32, 32, dtype=torch.bool).tril()
    torch.testing.assert_close(attention(x, mask), base(x, mask), rtol=0, atol=tolerance)


@pytest.mark.parametrize("framework", BASES)
def test_equal_weights_give_the_gradients_of_the_base_class(framework):
    base, attention = _twins(framework, torch.float64)
    x = torch.randn(2, 16, SIZE.hidden_dim, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(16, 16, dtype=torch.bool).tril()
    (ours,) = torch.autograd.grad(attention(x, mask).square().sum(), x)
    (theirs,) = torch.autograd.grad(base(x, mask).square().sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_matrix_mixer_loses_what_stands_above_the_diagonal_and_coefficients_do_not():
    matrix = torch.ones(1, 1, 3, 3)
    v = torch.tensor([1.0, 10.0, 100.0]).view(1, 1, 3, 1)
    mixed = apply_mechanism("matrix_mixer", matrix, v).flatten().tolist()
    assert mixed == [1.0, 11.0, 111.0]
    assert apply_mechanism("coefficient_dynamics", matrix, v).flatten().tolist() == [111.0] * 3


def test_an_unknown_framework_is_refused():
    v = torch.ones(1, 1, 2, 2)
    assert apply_mechanism("test_time_regression", v, v) is v
    with pytest.raises(ValueError, match="framework: got 'other'"):
        apply_mechanism("other", v, v)
