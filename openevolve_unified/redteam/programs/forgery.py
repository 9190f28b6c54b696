"""Programs that forge what the tracing child reports.

A child that ran candidate code may send anything. What it gains is nothing: the answer is parsed
and validated as data, and whatever program it holds is held to every check.
"""

from __future__ import annotations

import textwrap

from openevolve_unified.notations import CD, MM
from openevolve_unified.redteam.cheat import SCORES, SOFTMAX, WEIGHTS, Cheat, Family, joined

_FORGED = Family(name="forged result", stages=("trace",), reason="before its trace was complete")
_HONEST = SCORES + WEIGHTS + "return a"
_CAPTURE = 'room = torch.sys.modules["openevolve_unified.candidate.tracing.inside.capture"]\n'
_UNCOMPARED = f"{_CAPTURE}room._require_same_when_run\nroom._require_same_when_run = print\n"
"""The comparison with a run on real tensors stands beside the cheat, which removes it first."""
_LEAK = """
class Leak(nn.Module):
    def forward(self, q, k, v, x, mask):
        return (q @ k.mT).softmax(-1)
"""
_ALL_FRAMES = """
for number in range(64):
    try:
        torch.os.write(number, FRAME)
    except OSError:
        pass
"""


def _another_program(
    name: str, framework: str, operator: str, arguments: str, reason: str
) -> Cheat:
    """The encoding replaced by one that always gives a single call."""
    forged = f"""
        room.program_to_json = lambda program: {{
            "nodes": [["{operator}", {arguments}, {{}}]], "output": {{"n": 0}}, "num_literals": 0
        }}
        """
    members = joined(_CAPTURE, forged)
    return _FORGED.cheat(
        f"encoding replaced: {name}",
        framework,
        _HONEST,
        members=members,
        stages=("program",),
        reason=reason,
    )


def _edited_program(name: str, edit: str, stage: str, reason: str) -> Cheat:
    """The encoding replaced by one that edits ``data``, the honest program."""
    before = """
        old = torch.sys.modules["openevolve_unified.candidate.program.graph"].program_to_json
        def forged(program):
            data = old(program)
        """
    after = "    return data\nroom.program_to_json = forged\n"
    body = textwrap.indent(textwrap.dedent(edit).strip("\n"), " " * 4)
    return _FORGED.cheat(
        f"encoding replaced: {name}",
        CD,
        _HONEST,
        members=joined(_CAPTURE, before) + "\n" + body + "\n" + after,
        stages=(stage,),
        reason=reason,
    )


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
        reason="malformed",
    ),
    _FORGED.cheat(
        "a frame that claims terabytes",
        MM,
        _ALL_FRAMES,
        "torch.os._exit(0)\n",
        _HONEST,
        preamble="FRAME = b'\\xff' * 64",
    ),
    _another_program(
        "random operators in the program",
        CD,
        "aten.randn.default",
        '[[{"b": 1}, 2, 16, 16]]',
        "random numbers",
    ),
    _another_program(
        "an operator that writes in place", CD, "aten.add_.Tensor", '[{"i": "q"}, 1]', "in-place"
    ),
    _another_program(
        "the values, which the framework does not give",
        MM,
        "aten.matmul.default",
        '[{"i": "v"}, {"i": "v"}]',
        "does not give",
    ),
    _edited_program(
        "honest at short lengths, unmasked at the long one",
        """
        if torch.sys._getframe(1).f_locals["time"] == 16:
            for node in data["nodes"]:
                if node[0].startswith("aten.masked_fill"):
                    node[0], node[1], node[2] = "aten.mul.Tensor", [node[1][0], 1.0], {}
        """,
        "causality",
        "position",
    ),
    _edited_program(
        "a norm that updates its running mean, a view of the input",
        """
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
        """,
        "program",
        "aten.instance_norm",
    ),
    _FORGED.cheat(
        "the module to trace replaced by a leak",
        CD,
        _HONEST,
        members=joined(
            _UNCOMPARED,
            _LEAK,
            """
            old = room._SizeTracer.trace
            def forged(tracer, *arguments, **options):
                tracer.module = Leak()
                return old(tracer, *arguments, **options)
            room._SizeTracer.trace = forged
            """,
        ),
        stages=("causality",),
        reason="position",
    ),
    _FORGED.cheat(
        "the recording replaced by one of a leak",
        CD,
        _HONEST,
        members=joined(
            _UNCOMPARED,
            _LEAK,
            """
            old = room.record
            def forged(module, *arguments):
                return old(Leak(), *arguments)
            room.record = forged
            """,
        ),
        stages=("causality",),
        reason="position",
    ),
    _FORGED.cheat(
        "a write in place recorded as none",
        CD,
        SCORES,
        "s[..., ~mask] = -torch.inf\nreturn s.softmax(-1)",
        members=joined(
            _UNCOMPARED,
            """
            room = torch.sys.modules["openevolve_unified.candidate.tracing.inside.writes"]
            room.write = lambda place, value, nodes: None
            """,
        ),
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
        stages=("budget",),
        reason="parameters",
    ),
)
