"""Programs that exhaust or end the process that traces them, or that do not stay finite."""

from __future__ import annotations

from openevolve_unified.notations import CD, MM, TTR
from openevolve_unified.redteam.cheat import SCORES, SOFTMAX, WEIGHTS, Family

_ABUSE = Family(name="resource abuse", stages=("trace",), reason="longer than")
_FINITE = Family(name="not finite", stages=("numerics",), reason="finite")
_HONEST = SCORES + WEIGHTS + "return a"

CHEATS = (
    _ABUSE.cheat("endless loop", CD, "while True:\n    pass\n", _HONEST),
    _ABUSE.cheat(
        "endless loop at import",
        MM,
        _HONEST,
        preamble="""
        def spin():
            while True:
                try:
                    sum(range(1000))
                except BaseException:
                    pass
        EVER = spin()
        """,
    ),
    _ABUSE.cheat(
        "recursion without end",
        CD,
        "return self.coefficients(q, k, x, mask)",
        reason="calls itself too deeply",
    ),
    _ABUSE.cheat(
        "memory without end",
        CD,
        "kept = []\nwhile True:\n    kept.append(bytes(2**24))\n",
        _HONEST,
        reason="memory",
    ),
    _ABUSE.cheat(
        "a string without end",
        MM,
        "text = 'x'\nwhile True:\n    text = text * 2\n",
        _HONEST,
        reason="memory",
    ),
    _ABUSE.cheat(
        "exit with success",
        CD,
        "torch.os._exit(0)\n",
        _HONEST,
        reason="before its trace was complete",
    ),
    _ABUSE.cheat("sys.exit", CD, "torch.sys.exit(0)\n", _HONEST, reason="exit"),
    _ABUSE.cheat(
        "abort",
        TTR,
        "torch.os.abort()\n",
        SCORES,
        WEIGHTS,
        "return a @ v",
        reason="crashed the tracing process",
    ),
    _ABUSE.cheat(
        "a crash of the interpreter",
        CD,
        "torch.ctypes.string_at(0)\n",
        _HONEST,
        reason="SIGSEGV",
    ),
    _ABUSE.cheat(
        "an exception that hides as an interrupt",
        CD,
        "raise KeyboardInterrupt\n",
        _HONEST,
        reason="KeyboardInterrupt",
    ),
    _ABUSE.cheat(
        "an exception whose text explodes",
        CD,
        "raise Bomb()\n",
        _HONEST,
        preamble="""
        class Bomb(Exception):
            def _text(self):
                raise Bomb()
        Bomb.args = property(lambda self: self._text())
        """,
        reason="Bomb",
    ),
    _ABUSE.cheat(
        "an attribute that bombs whoever copies or prints it",
        MM,
        _HONEST,
        members="self.bomb = Bomb()",
        preamble="""
        def burst(*arguments):
            raise SystemExit
        Bomb = type("Bomb", (), {"__reduce__": burst, "__repr__": burst, "__hash__": burst})
        """,
        stages=("neutralised",),
        reason="without the attack",
    ),
    _ABUSE.cheat(
        "a flood of output",
        CD,
        "while True:\n    torch.os.write(1, b'x' * 2**20)\n",
        _HONEST,
    ),
    _ABUSE.cheat(
        "a flood into the answer",
        CD,
        """
        while True:
            for name in torch.os.listdir("/proc/self/fd"):
                try:
                    torch.os.write(int(name), b"x" * 2**20)
                except OSError:
                    pass
        """,
        _HONEST,
        reason="Permission",
    ),
    _ABUSE.cheat(
        "a flood of small files",
        TTR,
        """
        place = torch.os.environ["TMPDIR"]
        for number in range(10**9):
            with torch.builtins.open(f"{place}/{number}", "wb") as file:
                file.write(b"x" * 2**20)
        """,
        SCORES,
        WEIGHTS,
        "return a @ v",
        reason="Permission",
    ),
    _ABUSE.cheat(
        "index beyond the end",
        CD,
        "k = k[:, :, torch.arange(1, k.shape[2] + 1)]\n",
        SCORES,
        SOFTMAX,
        stages=("numerics",),
        reason="out of bounds",
    ),
    _ABUSE.cheat(
        "an index that wraps around as an integer overflows",
        TTR,
        """
        far = torch.arange(v.shape[2], device=v.device) + (2**62)
        index = (far + far + far + far + 1) % v.shape[2]
        return v.index_select(2, index)
        """,
        stages=("causality",),
        reason="position",
    ),
    _FINITE.cheat(
        "a whole row masked",
        CD,
        SCORES,
        'return s.masked_fill(~mask.tril(-1), float("-inf")).softmax(-1)',
    ),
    _FINITE.cheat(
        "exp without a maximum", MM, SCORES, "e = (8 * s).exp() * mask\nreturn e / e.sum(-1, True)"
    ),
    _FINITE.cheat(
        "division by a sum that vanishes",
        CD,
        "a = (q @ k.mT) * mask\nreturn a / (a - a).sum(-1, True)",
    ),
    _FINITE.cheat(
        "infinity times zero in the backward",
        CD,
        SCORES,
        "e = torch.where(mask, (s * 0).sqrt() + s, 0.0)\nreturn torch.tanh(e) * mask",
    ),
    _FINITE.cheat(
        "NaN for large inputs",
        TTR,
        SCORES,
        "a = ((5 - s).sqrt() * 0 + s).masked_fill(~mask, -torch.inf).softmax(-1)\nreturn a @ v",
    ),
    _FINITE.cheat(
        "inverse of a singular matrix",
        TTR,
        "ones = torch.ones(self.head_dim, self.head_dim, device=v.device, dtype=v.dtype)\n"
        "return v @ torch.linalg.inv(ones)",
        reason="linalg.inv",
    ),
    _FINITE.cheat(
        "initial values that are not finite",
        CD,
        SCORES,
        "s = s + self.bias.clamp(max=0)\n",
        SOFTMAX,
        members="self.bias = nn.Parameter(torch.full((1,), float('nan')))",
    ),
)
