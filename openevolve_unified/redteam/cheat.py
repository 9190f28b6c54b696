"""A cheat, and how its evolve block becomes a complete program.

A cheat is only the text between the two markers, because everything else must be the initial
program's, byte for byte. The few that attack exactly that rule carry a replacement of text.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from typing import Literal

from openevolve_unified.notations import CD, MM, TTR

_CLASSES = {
    CD: ("CoefficientDynamics", "coefficients(self, q, k, x, mask)"),
    TTR: ("TestTimeRegression", "regress(self, q, k, v, x, mask)"),
    MM: ("MatrixMixer", "mixing_matrix(self, q, k, x, mask)"),
}
_START, _END = "EVOLVE-BLOCK-START", "EVOLVE-BLOCK-END"

SCORES = "s = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)\n"
SOFTMAX = 'return s.masked_fill(~mask, float("-inf")).softmax(dim=-1)\n'
WEIGHTS = 'a = s.masked_fill(~mask, float("-inf")).softmax(dim=-1)\n'
PUT = "put = torch.sys.modules['operator'].attrgetter('setattr')(torch.sys.modules['builtins'])\n"
"""An assignment to an attribute that the policy does not see: ``put(owner, name, value)``."""

NEUTRALISED = "neutralised"
"""Accepted, and what reached the trainer is operator by operator the program without the attack."""
GUARD = "guard"
"""Trained, and the score lies below the initial program's."""

Depth = Literal["check", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Cheat:
    """One cheating or broken program and how it must end."""

    name: str
    framework: str
    family: str
    block: str
    """The text between the markers."""
    stages: tuple[str, ...]
    """Stages that may refuse it, or ``NEUTRALISED`` or ``GUARD``."""
    reason: str
    """Words that the reason must contain, so that it is caught for what it is."""
    depth: Depth = "check"
    """``evaluate``: only training can show it."""
    twin: str = ""
    """The block of what a neutralised program must equal; empty: softmax attention."""
    damage: tuple[str, str] = ("", "")
    """Text of the assembled program and what replaces its first occurrence."""

    def source(self, initial_source: str) -> str:
        """The complete program file: the header and footer of ``initial_source``."""
        lines = initial_source.splitlines(keepends=True)
        start = next(i for i, line in enumerate(lines) if _START in line)
        end = next(i for i, line in enumerate(lines) if _END in line)
        block = self.block if "policy" in self.stages else _out_of_sight(self.block)
        text = "".join(lines[: start + 1]) + block + "".join(lines[end:])
        old, new = self.damage
        if old not in text:
            raise ValueError(f"{self.name}: the program does not contain {old!r}")
        return text.replace(old, new, 1) if old else text


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the cheats of one family share; makes them from their essential lines."""

    name: str
    stages: tuple[str, ...]
    reason: str
    depth: Depth = "check"

    def cheat(
        self,
        name: str,
        framework: str,
        *body: str,
        members: str = "",
        preamble: str = "",
        stages: tuple[str, ...] | None = None,
        reason: str | None = None,
        twin: tuple[str, ...] = (),
    ) -> Cheat:
        """A cheat whose evolvable method has the lines ``body``, one part after the other.

        Args:
            members: lines at the end of ``__init__``.
            preamble: lines before the class, inside the block.
            stages, reason: where they differ from the family's.
            twin: lines of the method that a neutralised program must equal, if not softmax.
        """
        return Cheat(
            name=name,
            framework=framework,
            family=self.name,
            block=attention_block(framework, joined(*body), members, preamble),
            stages=self.stages if stages is None else stages,
            reason=self.reason if reason is None else reason,
            depth=self.depth,
            twin=attention_block(framework, joined(*twin)) if twin else "",
        )


def attention_block(framework: str, body: str, members: str = "", preamble: str = "") -> str:
    """A block with ``class EvolvableAttention`` whose evolvable method has the lines ``body``."""
    base, signature = _CLASSES[framework]
    lines = [
        f"class EvolvableAttention({base}):",
        "    def __init__(self, hidden_dim, num_heads, dropout=0.1):",
        "        super().__init__(hidden_dim, num_heads, dropout)",
        _indented(members, 8),
        f"    def {signature}:",
        _indented(body, 8),
    ]
    text = textwrap.dedent(preamble).strip("\n")
    preamble_lines = [text] if text else []
    return "\n".join([*preamble_lines, *(line for line in lines if line)]) + "\n"


def joined(*parts: str) -> str:
    """Pieces of code that are indented differently, one after the other."""
    return "\n".join(textwrap.dedent(part).strip("\n") for part in parts)


def honest_twin(cheat: Cheat) -> Cheat:
    """What is left of a neutralised cheat: its twin, or softmax written like the cheats are."""
    tail = "return a @ v" if cheat.framework == TTR else "return a"
    block = attention_block(cheat.framework, SCORES + WEIGHTS + tail)
    return replace(cheat, name="honest twin", block=cheat.twin or block, damage=("", ""))


_MODULES = re.compile(r"\btorch\.(?!(?:nn|linalg|fft|special)\b)(?=[a-z_]+\.)")


def _out_of_sight(block: str) -> str:
    """Reach torch's modules in a way that the policy does not see: it is not the defence."""
    hidden, count = _MODULES.subn("next(iter(HELD)).", block)
    return "HELD = (torch,)\n" + hidden if count else block


def _indented(text: str, columns: int) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * columns)
