"""Honest mechanisms of many kinds pass everything."""

from __future__ import annotations

import pytest

from openevolve_unified.candidate.source.block import require_same_outside
from openevolve_unified.candidate.source.policy import check_source

SCORES = "s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)\n"
SOFTMAX = 'return s.masked_fill(~mask, float("-inf")).softmax(dim=-1)\n'
UNIT = "k = F.normalize(k, dim=-1)\nq = F.normalize(q, dim=-1)\n"

HONEST = {
    "learned temperature": (
        "coefficient_dynamics",
        "self.scale = nn.Parameter(torch.ones(num_heads, 1, 1))",
        SCORES + "s = s * self.scale\n" + SOFTMAX,
    ),
    "qk norm": (
        "coefficient_dynamics",
        "self.gain = nn.Parameter(torch.full((num_heads, 1, 1), 3.0))",
        UNIT + "s = (q @ k.mT) * self.gain\n" + SOFTMAX,
    ),
    "alibi from a buffer": (
        "coefficient_dynamics",
        'self.register_buffer("slope", 2.0 ** -torch.arange(1, num_heads + 1).float())',
        SCORES
        + """
t = torch.arange(q.shape[2], device=q.device)
s = s - self.slope[:, None, None] * (t[:, None] - t).abs()
"""
        + SOFTMAX,
    ),
    "forget gate": (
        "coefficient_dynamics",
        "self.gate = nn.Linear(hidden_dim, num_heads)",
        SCORES
        + """
c = F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(dim=-1)
s = s + c[..., :, None] - c[..., None, :]
"""
        + SOFTMAX,
    ),
    "sigmoid attention": (
        "coefficient_dynamics",
        "",
        SCORES
        + """
t = torch.arange(1, q.shape[2] + 1, device=q.device, dtype=q.dtype)
return torch.sigmoid(s - t.log()[:, None]) * mask
""",
    ),
    "zero-initialised gate over an honest branch": (
        "coefficient_dynamics",
        "self.blend = nn.Parameter(torch.zeros(num_heads, 1, 1))",
        SCORES
        + """
uniform = mask / mask.sum(dim=-1, keepdim=True)
a = s.masked_fill(~mask, float("-inf")).softmax(dim=-1)
return a + torch.tanh(self.blend) * (uniform - a)
""",
    ),
    "stick breaking": (
        "coefficient_dynamics",
        "",
        SCORES
        + """
strict = mask.tril(-1)
log_keep = F.logsigmoid(-s).masked_fill(~strict, 0.0)
after = log_keep.flip(-1).cumsum(-1).flip(-1) - log_keep
return (F.logsigmoid(s) + after).masked_fill(~strict, float("-inf")).exp()
""",
    ),
    "differential": (
        "coefficient_dynamics",
        "self.lam = nn.Parameter(torch.full((num_heads, 1, 1), 0.2))",
        """
q1, q2 = q.chunk(2, dim=-1)
k1, k2 = k.chunk(2, dim=-1)
a, b = ((u @ w.mT / math.sqrt(u.shape[-1])).masked_fill(~mask, float("-inf")).softmax(-1)
        for u, w in ((q1, k1), (q2, k2)))
return a - self.lam.clamp(0, 1) * b
""",
    ),
    "in-place writes on its own tensors": (
        "coefficient_dynamics",
        "",
        SCORES
        + """
out = torch.zeros_like(s)
out[..., 0] = 1.0
s.masked_fill_(~mask, float("-inf"))
a = s.softmax(-1)
a[:, :, 0] += 0.0
return a + 0.1 * out
""",
    ),
    "top-k of the past": (
        "coefficient_dynamics",
        "",
        SCORES
        + """
s = s.masked_fill(~mask, -1e4)
best = s.topk(min(4, q.shape[2]), dim=-1).values[..., -1:]
return s.masked_fill((s < best) | ~mask, float("-inf")).softmax(-1)
""",
    ),
    "linear attention": (
        "matrix_mixer",
        "",
        """
m = ((F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-2, -1)) * mask
return m / (m.sum(dim=-1, keepdim=True) + 1e-6)
""",
    ),
    "scalar decay (SSD)": (
        "matrix_mixer",
        "self.dt = nn.Linear(hidden_dim, num_heads)\nself.A = nn.Parameter(torch.zeros(num_heads))",
        """
log_a = -F.softplus(self.dt(x)).transpose(1, 2) * self.A.exp()[:, None]
return self.semiseparable(q / math.sqrt(self.head_dim), k, log_a, mask)
""",
    ),
    "delta rule by a triangular solve": (
        "matrix_mixer",
        "self.beta = nn.Linear(hidden_dim, num_heads)",
        UNIT
        + """
b = torch.sigmoid(self.beta(x)).transpose(1, 2)[..., None]
eye = torch.eye(q.shape[2], dtype=q.dtype, device=q.device)
lower = eye + (b * (k @ k.mT)).tril(-1)
inverse = torch.linalg.solve_triangular(lower, eye * b, upper=False)
return (q @ k.mT).tril() @ inverse
""",
    ),
    "toeplitz by a padded transform": (
        "matrix_mixer",
        "self.rate = nn.Parameter(torch.linspace(0.5, 2.0, num_heads))",
        """
T = q.shape[2]
t = torch.arange(T, device=q.device, dtype=q.dtype)
taps = torch.exp(-t * F.softplus(self.rate)[:, None])
column = torch.fft.rfft(taps, n=2 * T)
m = torch.fft.irfft(column[..., None] * torch.fft.rfft(torch.eye(T, device=q.device), n=2 * T,
                    dim=0), n=2 * T, dim=-2)[..., :T, :]
return m.expand(q.shape[0], -1, -1, -1) * torch.sigmoid((q * k).sum(-1))[:, :, None]
""",
    ),
    "short causal convolution of the keys": (
        "matrix_mixer",
        "self.conv = nn.Conv1d(hidden_dim, hidden_dim, 3, groups=hidden_dim)",
        """
B, H, T, D = k.shape
flat = k.transpose(-2, -1).reshape(B, H * D, T)
k = self.conv(F.pad(flat, (2, 0))).view(B, H, D, T).transpose(-2, -1)
s = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(D)
return s.masked_fill(~mask, float("-inf")).softmax(-1)
""",
    ),
    "ridge regression": (
        "test_time_regression",
        "self.log_ridge = nn.Parameter(torch.zeros(num_heads, 1))",
        UNIT + "w = mask.to(q.dtype).expand(q.shape[0], q.shape[1], -1, -1)\n"
        "return self.ridge(q, k, v, w, 0.25 + F.softplus(self.log_ridge), mask)\n",
    ),
    "recurrent delta rule in a loop": (
        "test_time_regression",
        "self.beta = nn.Linear(hidden_dim, num_heads)",
        UNIT
        + """
b = torch.sigmoid(self.beta(x)).transpose(1, 2)
state = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=q.dtype, device=q.device)
rows = []
for t in range(q.shape[2]):
    kt, vt = k[:, :, t, :, None], v[:, :, t, None, :]
    error = vt - kt.transpose(-2, -1) @ state
    state = state + b[:, :, t, None, None] * kt @ error
    rows.append(q[:, :, t, None, :] @ state)
return torch.cat(rows, dim=2)
""",
    ),
    "random features drawn once": (
        "test_time_regression",
        'self.register_buffer("w", torch.randn(num_heads, hidden_dim // num_heads, 8))',
        """
fq, fk = F.softplus(q @ self.w), F.softplus(k @ self.w)
m = (fq @ fk.transpose(-2, -1)) * mask
return (m / (m.sum(-1, keepdim=True) + 1e-6)) @ v
""",
    ),
}


@pytest.mark.parametrize(
    "framework", ["coefficient_dynamics", "test_time_regression", "matrix_mixer"]
)
def test_an_initial_program_is_accepted(desk, framework) -> None:
    source = desk.initial_source(framework)
    check_source(source, framework, desk.gates)
    require_same_outside(source, source)
    report = desk.check(source, framework)
    assert report.flops_ratio == report.params_ratio == 1.0
    assert report.evidence["causality"]["tolerance"] == 0.0


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_mechanism_is_accepted(desk, name) -> None:
    framework, members, body = HONEST[name]
    source = desk.program(body, framework, members)
    check_source(source, framework, desk.gates)
    require_same_outside(source, desk.initial_source(framework))
    report = desk.check(source, framework)
    assert 0 <= report.features["lookback"] <= 1
    assert report.features["log10_operators"] > 0
