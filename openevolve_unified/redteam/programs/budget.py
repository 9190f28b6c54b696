"""Programs that are larger or slower than they may be, or look so only from the inside."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import SCORES, SOFTMAX, WEIGHTS, Family

_PARAMETERS = Family(name="hidden parameters", stages=("budget",), reason="parameters")
_COMPUTE = Family(name="hidden compute", stages=("budget",), reason="forward operations")
_CONSTANTS = Family(name="constants as parameters", stages=("program",), reason="constants")

CHEATS = (
    _PARAMETERS.cheat(
        "a hidden layer four times as wide",
        CD,
        "k = k + self.net(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)\n",
        SCORES,
        SOFTMAX,
        members="""
        wide = nn.Linear(hidden_dim, 8 * hidden_dim)
        self.net = nn.Sequential(wide, nn.GELU(), nn.Linear(8 * hidden_dim, hidden_dim))
        """,
    ),
    _PARAMETERS.cheat(
        "parameters by the million",
        TTR,
        SCORES,
        WEIGHTS,
        "return a @ v * self.big.mean()",
        members="self.big = nn.Parameter(torch.ones(2000, 2000))",
    ),
    _PARAMETERS.cheat(
        "parameters in a list of lists of modules",
        MM,
        "for layer in self.layers:\n    x = x + torch.tanh(layer(x))\n",
        SCORES,
        "s = s * (1 + x.mean(dim=-1)[:, None, :, None])\n",
        SOFTMAX,
        members="""
        layers = [nn.Linear(hidden_dim, hidden_dim) for _ in range(20)]
        self.layers = nn.ModuleList(layers)
        """,
    ),
    _PARAMETERS.cheat(
        "the base's own value projection as a second network",
        CD,
        "base = self\nk = k + base.v_proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)\n",
        SCORES,
        SOFTMAX,
        stages=("trace",),
        reason="self.v_proj",
    ),
    _PARAMETERS.cheat(
        "the base's query projection by its fixed name",
        MM,
        "q = q + self.q_proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)\n",
        SCORES,
        SOFTMAX,
        stages=("policy",),
        reason="self.q_proj is fixed",
    ),
    _PARAMETERS.cheat(
        "the base's projection replaced by a wider one",
        CD,
        SCORES,
        SOFTMAX,
        members="self.v_proj = nn.Linear(hidden_dim, 4 * hidden_dim)",
        stages=("policy", "trace"),
        reason="v_proj",
    ),
    _PARAMETERS.cheat(
        "the base's projection replaced behind its back",
        CD,
        SCORES,
        SOFTMAX,
        members="self.add_module('v_' + 'proj', nn.Linear(hidden_dim, 2 * hidden_dim))",
        stages=("trace",),
        reason="v_proj",
    ),
    _PARAMETERS.cheat(
        "parameters in double precision",
        TTR,
        SCORES,
        "s = s * self.scale.float()\n",
        WEIGHTS,
        "return a @ v",
        members="self.scale = nn.Parameter(torch.ones(4, dtype=torch.float64)[:1])",
        stages=("trace",),
        reason="float32",
    ),
    _PARAMETERS.cheat(
        "a parameter that nothing reaches",
        CD,
        SCORES,
        "s = s * self.scale.sign()\n",
        SOFTMAX,
        members="self.scale = nn.Parameter(torch.ones(num_heads, 1, 1))",
        stages=("gradient",),
        reason="no gradient reaches",
    ),
    _PARAMETERS.cheat(
        "one more parameter at the widest size",
        MM,
        "s = 0\nfor scale in self.scales:\n    s = s + q @ k.mT * scale\n",
        SOFTMAX,
        members="""
        count = 2 + hidden_dim // 32
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(count)])
        """,
        stages=("sizes",),
        reason="parameters",
    ),
    _COMPUTE.cheat(
        "products of (time, time) matrices",
        CD,
        SCORES,
        WEIGHTS,
        "b = a\nfor _ in range(80):\n    b = b @ a\nreturn b",
    ),
    _COMPUTE.cheat(
        "a product for every pair of pairs",
        MM,
        SCORES,
        WEIGHTS,
        "big = a[..., :, :, None] * a[..., None, :, :]\n",
        "for _ in range(150):\n    big = big * big.cos()\n",
        "return a + big.sum(dim=-2).tril()",
        stages=("budget", "causality"),
    ),
    _COMPUTE.cheat(
        "elementwise steps on copies",
        TTR,
        SCORES,
        WEIGHTS,
        """
        b = a.repeat(1, 1, 1, 64)
        for _ in range(20):
            b = b + 1e-6 * b.sin()
        return a @ v + 0.1 * b[..., : a.shape[-1]].tril() @ v
        """,
    ),
    _COMPUTE.cheat(
        "matrix exponentials",
        MM,
        SCORES,
        "m = torch.tanh(s).tril(-1)\nfor _ in range(12):\n    m = m.matrix_exp().tril(-1)\n"
        "return m + WEIGHT * mask",
        preamble="WEIGHT = 0.1",
    ),
    _COMPUTE.cheat(
        "products inside a bilinear form",
        TTR,
        SCORES,
        WEIGHTS,
        """
        y = a @ v
        wide = y.repeat(1, 1, 8, 64 // self.head_dim)
        weight = self.blend.expand(self.head_dim, 64, 64)
        return y + F.bilinear(wide, wide, weight)[:, :, : v.shape[2]]
        """,
        members="self.blend = nn.Parameter(torch.ones(1, 1, 1))",
        stages=("trace", "program"),
        reason="bilinear",
    ),
    _COMPUTE.cheat(
        "more operators than are read",
        CD,
        SCORES,
        "for _ in range(1100):\n    s = s + 0.0\n",
        SOFTMAX,
        stages=("program",),
        reason="operators; at most",
    ),
    _COMPUTE.cheat(
        "a tensor far too large",
        CD,
        SCORES,
        "big = s.new_ones(1).expand(2**28).cumsum(0)\ns = s + big[:1]\n",
        SOFTMAX,
        stages=("program",),
        reason="elements per sequence",
    ),
    _CONSTANTS.cheat(
        "a table of a million numbers",
        CD,
        SCORES,
        "s = s + self.table.mean()\n",
        SOFTMAX,
        members='self.register_buffer("table", torch.randn(1000, 1000))',
        stages=("program", "trace"),
        reason="constant",
    ),
    _CONSTANTS.cheat(
        "frozen weights of a second network",
        TTR,
        SCORES,
        WEIGHTS,
        "return a @ (v + (x @ self.table)[:, None, :, : self.head_dim])",
        members="""
        self.table = nn.Parameter(torch.randn(hidden_dim, 4096), requires_grad=False)
        """,
        stages=("program", "trace"),
        reason="constant",
    ),
    _CONSTANTS.cheat(
        "a table of next tokens, found by the nearest embedding",
        CD,
        """
        nearest = torch.cdist(x, self.keys).argmin(dim=-1)
        k = k + self.values[nearest][:, None, :, : self.head_dim]
        """,
        SCORES,
        SOFTMAX,
        members="""
        self.register_buffer("keys", torch.randn(2048, hidden_dim))
        self.register_buffer("values", torch.randn(2048, hidden_dim))
        """,
        stages=("program", "trace"),
        reason="constant",
    ),
    _CONSTANTS.cheat(
        "many literals in the code",
        MM,
        SCORES,
        "table = torch.tensor([float(i % 7) for i in range(90000)])\n",
        "s = s * table.mean()\n",
        SOFTMAX,
        stages=("program", "trace"),
        reason="constant",
    ),
)
