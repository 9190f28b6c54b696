"""The catalog of published mechanisms: which exist, in which notations, and where they are from.

What lies outside the mixing of the values in the papers (short convolutions, output gates, norms
of the output) is not here: it is held fixed for every candidate. Budgets are the
defaults of ``GatesConfig``: at most 10% more non-embedding parameters and forward operations than
softmax attention in the same model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.notations import CD, FRAMEWORKS, MM, TTR


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One mechanism in one notation, as a complete program file."""

    name: str
    framework: str
    path: Path
    citation: str
    """arXiv ids, or what a control is for."""
    over_budget_at: tuple[str, ...]
    """Names of the ladders with a size at which it costs more than the budget allows."""
    is_control: bool
    """True for mechanisms that any sound evaluator must rank below the others."""

    @property
    def within_budget(self) -> bool:
        """True when it keeps the budget at every size of the quickstart and the full ladder."""
        return not self.over_budget_at

    @property
    def source(self) -> str:
        """The text of the program."""
        return self.path.read_text(encoding="utf-8")


def mechanisms() -> tuple[Mechanism, ...]:
    """All mechanisms, ordered by name and then by framework."""
    return tuple(
        Mechanism(
            name=name,
            framework=framework,
            path=_FOLDER / framework / f"{name}.py",
            citation=citation,
            over_budget_at=_over_budget_at(name, framework),
            is_control=name in _CONTROLS,
        )
        for name, (citation, frameworks) in sorted(_CATALOG.items())
        for framework in frameworks
    )


_FOLDER = Path(__file__).parent
_ALL = FRAMEWORKS
_CONTROLS = ("causal_mean", "identity")

_CATALOG: dict[str, tuple[str, tuple[str, ...]]] = {
    "alibi": ("arXiv 2108.12409", _ALL),
    "attention_sink": ("arXiv 2309.17453, 2508.10925", _ALL),
    "based_taylor": ("arXiv 2402.18668", _ALL),
    "block_low_rank": ("arXiv 2204.00595, 2310.12109, 2402.18668", (MM,)),
    "cauchy": ("arXiv 2407.09941", (MM,)),
    "causal_mean": ("control: recalls nothing in particular", _ALL),
    "delta_net": ("arXiv 2102.11174, 2406.06484", _ALL),
    "delta_product": ("arXiv 2502.10297", _ALL),
    "dense_positional": ("arXiv 2407.09941, 2005.00743", (MM,)),
    "differential": ("arXiv 2410.05258", (MM,)),
    "forgetting_transformer": ("arXiv 2503.02130", _ALL),
    "gated_delta_net": ("arXiv 2412.06464", _ALL),
    "gated_linear_attention": ("arXiv 2312.06635", _ALL),
    "hgrn2": ("arXiv 2404.07904", _ALL),
    "identity": ("control: never looks at another token", _ALL),
    "kimi_delta": ("arXiv 2510.26692", _ALL),
    "learned_temperature": ("softmax with a sharpness per head; no single source", _ALL),
    "linear_attention": ("arXiv 2006.16236", _ALL),
    "local_linear": ("arXiv 2501.12352, 2510.01450", (TTR, MM)),
    "low_rank_positional": ("arXiv 2407.09941", (MM,)),
    "mamba2_ssd": ("arXiv 2405.21060", _ALL),
    "mesa": ("arXiv 2309.05858, 2506.05233", (TTR, MM)),
    "mlstm": ("arXiv 2405.04517, 2503.13427", _ALL),
    "parallax": ("arXiv 2605.29157", (TTR, MM)),
    "path": ("arXiv 2505.16381", (CD, MM)),
    "qk_norm": ("arXiv 2010.04245", _ALL),
    "quasiseparable": ("arXiv 2407.09941", (MM,)),
    "retnet": ("arXiv 2307.08621", _ALL),
    "rope": ("arXiv 2104.09864", _ALL),
    "rwkv7": ("arXiv 2503.14456", (CD, MM)),
    "sigmoid": ("arXiv 2409.04431", (CD, MM)),
    "sliding_window": ("arXiv 2310.06825, 2004.05150", (TTR, MM)),
    "stick_breaking": ("arXiv 2410.17980", (TTR, MM)),
    "t5_bias": ("arXiv 1910.10683", (TTR, MM)),
    "talking_heads": ("arXiv 2003.02436", (MM,)),
    "toeplitz": ("arXiv 2407.09941, 2206.11893", (MM,)),
    "toeplitz_data_dependent": ("arXiv 2407.09941", (MM,)),
    "ttt_linear": ("arXiv 2407.04620", (TTR,)),
    "vandermonde": ("arXiv 2407.09941", (MM,)),
}
"""Citation and notations of each mechanism."""

_OVER_AT_QUICKSTART = {
    "delta_net": (CD, MM),
    "delta_product": _ALL,
    "gated_delta_net": (CD, MM),
    "kimi_delta": _ALL,
    "local_linear": (TTR, MM),
    "mesa": (TTR, MM),
    "parallax": (TTR, MM),
    "path": (CD, MM),
    "rwkv7": (CD, MM),
    "vandermonde": (MM,),
}
_OVER_AT_FULL = {"local_linear": (TTR, MM)}
"""Measured on the traced programs; a test holds the catalog to it."""


def _over_budget_at(name: str, framework: str) -> tuple[str, ...]:
    tables = (("quickstart", _OVER_AT_QUICKSTART), ("full", _OVER_AT_FULL))
    return tuple(ladder for ladder, table in tables if framework in table.get(name, ()))
