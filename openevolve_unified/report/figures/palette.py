"""The colours of every figure, each under one name, for light and for dark paper.

The series are those of Okabe and Ito (2008, "Color Universal Design"), which readers with any
colour vision tell apart; no figure relies on them alone: each series has its own marker or line
too. Figures are drawn in the light ones; ``figure.svg`` replaces each by a CSS variable.
"""

from __future__ import annotations

LIGHT = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "grid": "#d1d9e0",
    "paper": "#fefefe",
    "band": "#eceff2",
    "baseline": "#0072b2",
    "best": "#d55e00",
    "third": "#009e73",
    "fourth": "#aa4499",
}
DARK = {
    "ink": "#e6edf3",
    "muted": "#9aa4af",
    "grid": "#3d444d",
    "paper": "#0d1117",
    "band": "#21262d",
    "baseline": "#56b4e9",
    "best": "#e69f00",
    "third": "#2bc79a",
    "fourth": "#e29bc9",
}
INK, MUTED, GRID, PAPER, BAND = (LIGHT[n] for n in ("ink", "muted", "grid", "paper", "band"))
BASELINE, BEST, THIRD, FOURTH = (LIGHT[n] for n in ("baseline", "best", "third", "fourth"))
SERIES = (BASELINE, BEST, THIRD, FOURTH)
MARKERS = ("o", "s", "D", "^")
LINES = ("-", "--", "-.", ":")
"""Of the series, in the same order."""
AMOUNTS = "cividis"
"""The colour map of amounts, whose lightness alone orders them."""
SIGNED = "PuOr_r"
"""The colour map of differences, of which white is zero."""


def variable(name: str) -> str:
    """The CSS variable of a colour."""
    return f"--figure-{name}"


def css(colors: dict[str, str]) -> str:
    """Declarations of the variables, for the body of a CSS rule."""
    return " ".join(f"{variable(name)}: {color};" for name, color in colors.items())
