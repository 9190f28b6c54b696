"""A figure of a report: what it shows in words, its data as a table, and how it is drawn.

``figures_of`` (``report.figures.catalog``) makes the figures of a run without matplotlib; only
drawing needs it (the extra ``plot``). ``draw`` gets an empty matplotlib figure of ``WIDTH_IN``
inches, whose height it may set; narrow, so that its letters stay readable on a telephone. Nothing
touches pyplot: a figure is an object that is drawn and dropped.
"""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from openevolve_unified.report.figures import palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WIDTH_IN, HEIGHT_IN = 5.8, 3.4
PNG_DPI = 200
NO_MATPLOTLIB = "no figure: matplotlib is not installed; pip install 'openevolve-unified[plot]'"

Cell = str | int | float | None

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONT = re.compile(r"'DejaVu Sans'[^;]*")
_INLINE_FONT = "var(--figure-font, system-ui, sans-serif)"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Args:
        name: a word for files and ids, ``[a-z_]+``.
        title: what it is, a few words.
        caption: what to see in it, with the numbers.
        alternative_text: what is drawn, for who cannot see it.
        columns: the head of its data as a table.
        rows: the data that are drawn; numbers unrounded, None where there is none.
        records: the files, as the run's folder knows them, that the numbers came from.
        draw: onto an empty matplotlib figure.
    """

    name: str
    title: str
    caption: str
    alternative_text: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    records: tuple[str, ...]
    draw: Callable[[Canvas], None]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A figure without its records; ``sentence`` says what is not there and what makes it."""

    name: str
    title: str
    sentence: str


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def svg(figure: Figure) -> str:
    """An ``<svg>`` element for a page: as wide as its place, in the page's colours, text as text.

    The same figure gives the same bytes; ids begin with its name; it refers to nothing outside.
    """
    root = ElementTree.fromstring(svg_file(figure))
    for tag in ("metadata", "defs"):
        # The first of the definitions is a style sheet, which would reach all of the page.
        root.remove(root.findall(f"{{{_SVG}}}{tag}")[0])
    _rename_ids(root, figure.name)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        _restyle(element)
    size = root.attrib["viewBox"]
    title, description = f"{figure.name}-title", f"{figure.name}-description"
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": size,
            "role": "img",
            "aria-labelledby": f"{title} {description}",
            "style": "width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt",
        }
    )
    for place, (tag, name, text) in enumerate(
        (("title", title, figure.title), ("desc", description, figure.alternative_text))
    ):
        said = ElementTree.Element(tag, id=name)
        said.text = text
        root.insert(place, said)
    return ElementTree.tostring(root, encoding="unicode")


def svg_file(figure: Figure) -> bytes:
    """An SVG file for a paper, in the light colours; the same figure gives the same bytes."""
    with _drawn(figure) as canvas:
        return _as_svg(canvas)


def files_of(figure: Figure) -> dict[str, bytes]:
    """``NAME.svg`` and ``NAME.png`` in the light colours, for papers: contents by file name."""
    with _drawn(figure) as canvas:
        return {f"{figure.name}.svg": _as_svg(canvas), f"{figure.name}.png": _as_png(canvas)}


@contextmanager
def _drawn(figure: Figure) -> Iterator[Canvas]:
    """The figure as a matplotlib object, and the settings to save it with."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": figure.name}):
        canvas = Canvas(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        figure.draw(canvas)
        yield canvas


def _as_svg(canvas: Canvas) -> bytes:
    file = io.BytesIO()
    canvas.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
    return file.getvalue()


def _as_png(canvas: Canvas) -> bytes:
    file = io.BytesIO()
    canvas.savefig(file, format="png", facecolor="white", dpi=PNG_DPI, metadata={"Software": None})
    return file.getvalue()


def _rename_ids(root: ElementTree.Element, name: str) -> None:
    """Prefix the ids that something refers to, and drop the others."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    for element in root.iter():
        target = element.attrib.pop(f"{{{_XLINK}}}href", None)
        if target is not None:
            element.set("href", f"#{name}-{target[1:]}" if target.startswith("#") else target)
        for key, value in element.items():
            element.set(key, value.replace("url(#", f"url(#{name}-"))
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{name}-{own}")


def _restyle(element: ElementTree.Element) -> None:
    """Name the page's colours and letters, which an attribute other than ``style`` cannot."""
    own = [name for name in ("fill", "stroke") if name in element.attrib]
    style = [f"{name}: {element.attrib.pop(name)}" for name in own]
    style += filter(None, [element.attrib.get("style")])
    if style:
        text = _FONT.sub(_INLINE_FONT, "; ".join(style))
        for name, color in palette.LIGHT.items():
            text = text.replace(color, f"var({palette.variable(name)}, {color})")
        element.set("style", text)


_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": palette.MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.6,
    "axes.labelcolor": palette.INK,
    "axes.titlecolor": palette.INK,
    "text.color": palette.INK,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "xtick.labelcolor": palette.INK,
    "ytick.labelcolor": palette.INK,
    "lines.markersize": 5,
    "axes.formatter.useoffset": False,
}
