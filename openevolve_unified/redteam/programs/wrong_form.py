"""Programs of a wrong form: not what the framework asks for, or edited outside the block."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import (
    NEUTRALISED,
    PUT,
    SCORES,
    SOFTMAX,
    WEIGHTS,
    Cheat,
    Family,
    attention_block,
)

_FORM = Family(name="wrong form", stages=("program",), reason="shape")
_BLOCK = attention_block(CD, SCORES + WEIGHTS + "return a")
_SUPER = "super().__init__(hidden_dim, num_heads, dropout)"


def _damaged(name: str, old: str, new: str, reason: str) -> Cheat:
    return Cheat(
        name=name,
        framework=CD,
        family="edit outside the block",
        block=_BLOCK,
        stages=("block",),
        reason=reason,
        damage=(old, new),
    )


def _form(name: str, block: str, reason: str, stages: tuple[str, ...] = ("policy",)) -> Cheat:
    return Cheat(
        name=name,
        framework=CD,
        family="wrong form",
        block=block,
        stages=stages,
        reason=reason,
    )


def _patched(name: str, line: str) -> Cheat:
    """A class whose ``__init__`` changes what is fixed."""
    block = _BLOCK.replace(_SUPER, f"{_SUPER}\n        {PUT}        {line}")
    return _form(name, block, "without the attack", (NEUTRALISED,))


CHEATS = (
    _form(
        "another framework's class",
        attention_block(MM, SCORES + WEIGHTS + "return a"),
        "MatrixMixer",
    ),
    _form("not Python", "class EvolvableAttention(CoefficientDynamics:\n", "not valid Python"),
    _form("no class", "def coefficients(q, k):\n    return q\n", "must define one class"),
    _form(
        "nothing overridden",
        "class EvolvableAttention(CoefficientDynamics):\n    pass\n",
        "overrides none",
    ),
    _form(
        "forward overridden",
        _BLOCK + "\n    def forward(self, x, mask=None):\n        return x\n",
        "forward is fixed",
    ),
    _form(
        "__call__ overridden",
        _BLOCK + "\n    def __call__(self, x):\n        return x\n",
        "__call__",
    ),
    _form(
        "__getattr__ overridden",
        _BLOCK + "\n    def __getattr__(self, name):\n        return 0\n",
        "__getattr__",
    ),
    _form(
        "a metaclass",
        "class Meta(type):\n    pass\n\n\n"
        + _BLOCK.replace("(CoefficientDynamics)", "(CoefficientDynamics, metaclass=Meta)"),
        "nothing else",
    ),
    _form(
        "a mixin beside the base",
        "class Mixin:\n    pass\n\n\n" + _BLOCK.replace("(Coeff", "(Mixin, Coeff"),
        "nothing else",
    ),
    _patched(
        "forward put on the class from a method",
        "put(EvolvableAttention, 'forward', lambda self, x: x)",
    ),
    _patched(
        "mix put on the base class",
        "put(CoefficientDynamics, 'mix', lambda self, q, k, v, x, mask: v.roll(-1, 2))",
    ),
    _FORM.cheat("wrong shape", CD, "return q @ k.mT[..., :1]"),
    _FORM.cheat(
        "head dimension forgotten",
        TTR,
        SCORES,
        WEIGHTS,
        "return a",
    ),
    _FORM.cheat(
        "wrong type",
        MM,
        SCORES,
        WEIGHTS,
        "return a.to(torch.float64)",
        reason="float32",
    ),
    _FORM.cheat(
        "complex result",
        CD,
        SCORES,
        WEIGHTS,
        "return torch.complex(a, a)",
        reason="float32",
    ),
    _FORM.cheat(
        "two results", CD, SCORES, WEIGHTS, "return a, a", stages=("trace",), reason="one tensor"
    ),
    _FORM.cheat(
        "no result",
        CD,
        SCORES,
        "s.softmax(-1)",
        stages=("trace",),
        reason="one tensor",
    ),
    _FORM.cheat(
        "branch on tensor values",
        CD,
        SCORES,
        "if s.mean() > 0:\n    s = 2 * s\n",
        SOFTMAX,
        stages=("trace",),
        reason="torch.where",
    ),
    _FORM.cheat(
        "a number read from a tensor",
        CD,
        SCORES,
        "s = s * float(s.std())\n",
        SOFTMAX,
        stages=("trace",),
        reason="torch.where",
    ),
    _FORM.cheat(
        "a shape that depends on data",
        TTR,
        "kept = v[:, :, v.sum(dim=(0, 1, 3)) > 0]\n",
        SCORES,
        WEIGHTS,
        "return a @ kept",
        stages=("trace",),
        reason="torch.where",
    ),
    _damaged("import added to the header", "import math\n", "import math\nimport os\n", "changed"),
    _damaged(
        "base class redefined after the block",
        "# EVOLVE-BLOCK-END\n",
        "# EVOLVE-BLOCK-END\nEvolvableAttention.x = 1\n",
        "changed",
    ),
    _damaged("no markers", "# EVOLVE-BLOCK-START\n", "", "missing"),
    _damaged(
        "two blocks",
        "# EVOLVE-BLOCK-END",
        "# EVOLVE-BLOCK-END\n# EVOLVE-BLOCK-START\nimport os\n# EVOLVE-BLOCK-END",
        "exactly one",
    ),
    _damaged("a marker in a string", "# EVOLVE-BLOCK-START", "x = '# EVOLVE-BLOCK-START'", "line"),
)
