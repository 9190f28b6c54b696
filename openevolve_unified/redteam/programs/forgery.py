"""Programs that forge what the tracing child reports, and programs of a wrong form.

A child that ran candidate code may send anything. What it gains is nothing: the answer is parsed
and validated as data, and whatever program it holds is held to every check.
"""

from __future__ import annotations

from openevolve_unified.redteam.cheat import (
    CD,
    MM,
    NEUTRALISED,
    SCORES,
    SOFTMAX,
    TTR,
    WEIGHTS,
    Cheat,
    Family,
    attention_block,
    joined,
)

_FORGED = Family(name="forged result", stages=("trace", "program"), reason="")
_FORM = Family(name="wrong form", stages=("policy",), reason="")
_HONEST = SCORES + WEIGHTS + "return a"
_CAPTURE = 'room = torch.sys.modules["openevolve_unified.candidate.capture"]\n'
_ALL_FRAMES = """
for number in range(64):
    try:
        torch.os.write(number, FRAME)
    except OSError:
        pass
"""


def _damaged(name: str, old: str, new: str, reason: str) -> Cheat:
    return Cheat(
        name=name,
        framework=CD,
        family="edit outside the block",
        block=attention_block(CD, _HONEST),
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


_BLOCK = attention_block(CD, _HONEST)

CHEATS = (
    _FORGED.cheat(
        "a score written to every open descriptor",
        CD,
        _ALL_FRAMES,
        _HONEST,
        preamble='FRAME = b\'{"combined_score": 1e9, "status": "traced"}\'',
    ),
    _FORGED.cheat(
        "a well-formed frame, then a clean exit",
        CD,
        _ALL_FRAMES,
        "torch.os._exit(0)\n",
        _HONEST,
        preamble="""
        TEXT = b'{"status":"traced"}'
        FRAME = len(TEXT).to_bytes(4, "big") + (0).to_bytes(8, "big") + TEXT
        """,
        stages=("program",),
    ),
    _FORGED.cheat(
        "a frame that claims terabytes",
        MM,
        _ALL_FRAMES,
        "torch.os._exit(0)\n",
        _HONEST,
        preamble="FRAME = b'\\xff' * 64",
    ),
    _FORGED.cheat(
        "encoding replaced: random operators in the program",
        CD,
        _HONEST,
        members=joined(
            _CAPTURE,
            """
        def forged(program):
            node = ["aten.randn.default", [[{"b": 1}, 2, 16, 16]], {}]
            return {"nodes": [node], "output": {"n": 0}, "num_literals": 0}
        room.program_to_json = forged
        """,
        ),
        stages=("program",),
        reason="random numbers",
    ),
    _FORGED.cheat(
        "encoding replaced: an operator that writes in place",
        CD,
        _HONEST,
        members=joined(
            _CAPTURE,
            """
        def forged(program):
            node = ["aten.add_.Tensor", [{"i": "q"}, 1], {}]
            return {"nodes": [node], "output": {"n": 0}, "num_literals": 0}
        room.program_to_json = forged
        """,
        ),
        stages=("program",),
        reason="in-place",
    ),
    _FORGED.cheat(
        "encoding replaced: the values, which the framework does not give",
        MM,
        _HONEST,
        members=joined(
            _CAPTURE,
            """
        def forged(program):
            node = ["aten.matmul.default", [{"i": "v"}, {"i": "v"}], {}]
            return {"nodes": [node], "output": {"n": 0}, "num_literals": 0}
        room.program_to_json = forged
        """,
        ),
        stages=("program",),
        reason="does not give",
    ),
    _FORGED.cheat(
        "encoding replaced: honest at short lengths, unmasked at the long one",
        CD,
        _HONEST,
        members=joined(
            _CAPTURE,
            """
            old = torch.sys.modules["openevolve_unified.candidate.graph"].program_to_json
            def forged(program):
                data = old(program)
                if torch.sys._getframe(1).f_locals["time"] == 16:
                    for node in data["nodes"]:
                        if node[0].startswith("aten.masked_fill"):
                            node[0], node[1], node[2] = "aten.mul.Tensor", [node[1][0], 1.0], {}
                return data
            room.program_to_json = forged
            """,
        ),
        stages=("causality",),
        reason="position",
    ),
    _FORGED.cheat(
        "encoding replaced: a norm that updates its running mean, a view of the input",
        CD,
        _HONEST,
        members=joined(
            _CAPTURE,
            """
            old = torch.sys.modules["openevolve_unified.candidate.graph"].program_to_json
            def forged(program):
                data = old(program)
                n = len(data["nodes"])
                norm = [{"i": "q"}, None, None, {"n": n + 3}, {"n": n + 4}, True, 1.0, 1e-5, False]
                data["nodes"] += [
                    ["aten.detach.default", [{"i": "x"}], {}],
                    ["aten.select.int", [{"n": n}, 0, 0], {}],
                    ["aten.select.int", [{"n": n + 1}, 0, 0], {}],
                    ["aten.slice.Tensor", [{"n": n + 2}, 0, 0, num_heads], {}],
                    ["aten.ones_like.default", [{"n": n + 3}], {}],
                    ["aten.instance_norm.default", norm, {}],
                    ["aten.sum.default", [{"n": n + 5}], {}],
                    ["aten.mul.Tensor", [{"n": n + 6}, 0.0], {}],
                    ["aten.add.Tensor", [data["output"], {"n": n + 7}], {}],
                ]
                data["output"] = {"n": n + 8}
                return data
            room.program_to_json = forged
            """,
        ),
        stages=("program", "determinism"),
    ),
    _FORGED.cheat(
        "export replaced by a function that returns a leak",
        CD,
        _HONEST,
        members="""
        room = torch.sys.modules["torch.export"]
        old = room.export
        class Leak(nn.Module):
            def forward(self, q, k, v, x, mask):
                return (q @ k.mT).softmax(-1)
        def forged(module, arguments, strict):
            room.export = old
            result = old(Leak(), arguments, strict=False)
            room.export = forged
            return result
        room.export = forged
        """,
        stages=("causality",),
        reason="position",
    ),
    _FORGED.cheat(
        "budget check of the child replaced",
        CD,
        "k = k + self.net(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)\n",
        SCORES,
        SOFTMAX,
        members=joined(
            _CAPTURE,
            """
        wide = 40 * hidden_dim
        self.net = nn.Sequential(nn.Linear(hidden_dim, wide), nn.Linear(wide, hidden_dim))
        def anything(attention, framework, size, gates):
            named = attention.named_parameters()
            return [name for name, _ in named if name.startswith("net")]
        room._own_parameters = anything
        """,
        ),
        stages=("budget", "program", "trace"),
    ),
    Cheat(
        name="another framework's class",
        framework=CD,
        family="wrong form",
        block=attention_block(MM, _HONEST),
        stages=("policy",),
        reason="MatrixMixer",
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
    _form(
        "forward put on the class from a method",
        _BLOCK.replace(
            "super().__init__(hidden_dim, num_heads, dropout)",
            "super().__init__(hidden_dim, num_heads, dropout)\n"
            "        EvolvableAttention.forward = lambda self, x: x",
        ),
        "",
        (NEUTRALISED,),
    ),
    _form(
        "mix put on the base class",
        _BLOCK.replace(
            "super().__init__(hidden_dim, num_heads, dropout)",
            "super().__init__(hidden_dim, num_heads, dropout)\n"
            "        CoefficientDynamics.mix = lambda self, q, k, v, x, mask: v.roll(-1, 2)",
        ),
        "",
        (NEUTRALISED,),
    ),
    _FORM.cheat(
        "wrong shape", CD, "return q @ k.mT[..., :1]", stages=("program", "trace"), reason="shape"
    ),
    _FORM.cheat(
        "head dimension forgotten",
        TTR,
        SCORES,
        WEIGHTS,
        "return a",
        stages=("program",),
        reason="shape",
    ),
    _FORM.cheat(
        "wrong type",
        MM,
        SCORES,
        WEIGHTS,
        "return a.to(torch.float64)",
        stages=("program",),
        reason="float32",
    ),
    _FORM.cheat(
        "complex result",
        CD,
        SCORES,
        WEIGHTS,
        "return torch.complex(a, a)",
        stages=("program",),
        reason="float32",
    ),
    _FORM.cheat(
        "two results", CD, SCORES, WEIGHTS, "return a, a", stages=("trace",), reason="one tensor"
    ),
    _FORM.cheat("no result", CD, SCORES, "s.softmax(-1)", stages=("trace",)),
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
