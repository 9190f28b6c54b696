"""The page as one HTML text: the template, its style, its few lines of script, and the figures.

Nothing outside is referred to, and a Content-Security-Policy forbids every request; the script is
allowed by its hash alone. The template escapes every text, because sources, names and reasons are a
language model's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from openevolve_unified import __version__
from openevolve_unified.report.dossier_markdown import told
from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.figure import Cell, Missing, svg
from openevolve_unified.report.page.blocks import Absent, Drawn, PageSection
from openevolve_unified.report.page.verdict import Verdict

_UNSAFE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters, which no browser shows, and halves of pairs, which no file can hold."""

_PLUS_MINUS = " \N{PLUS-MINUS SIGN} "
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is shown."""

    title: str
    subtitle: str
    verdict: Verdict
    sections: tuple[PageSection, ...]


def render(page: Page) -> str:
    """The HTML text; the same records give the same text."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup, escape

    environment = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0], "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        told=told,
        words=lambda text: Markup(_words(str(escape(text)))),
        cell=_cell,
        svg=lambda figure: Markup(svg(figure)),
        document=lambda text: Markup(_document(text)),
    )
    script, style = _own("report.js"), _own("report.css")
    text = environment.get_template("report.html").render(
        page=page,
        release=__version__,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        light=Markup(palette.css(palette.LIGHT)),
        dark=Markup(palette.css(palette.DARK)),
    )
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.strip()) + "\n"


def _own(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _words(escaped: str) -> str:
    """A sentence of ours, escaped, with what a terminal cannot show: a sign and code."""
    return _CODE.sub(r"<code>\1</code>", escaped.replace(" +- ", _PLUS_MINUS))


def _document(text: str) -> str:
    """Markdown of our own commands as HTML below a heading of the third level; no HTML of its own
    passes, and no link and no image."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["image", "link", "autolink", "html_inline", "html_block"])
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        for child in token.children or ():
            if child.type == "text":
                child.content = child.content.replace(" +- ", _PLUS_MINUS)
    found: str = parser.renderer.render(tokens, parser.options, {})
    for tag, what in (("table", "table"), ("pre", "text")):
        wide = f'<div class="wide" tabindex="0" role="region" aria-label="{what}"><{tag}>'
        found = found.replace(f"<{tag}>", wide).replace(f"</{tag}>", f"</{tag}></div>")
    return found


def missing_of(sections: Sequence[PageSection]) -> dict[str, str]:
    """What is said to be missing, by the name of the figure or the section."""
    found: dict[str, str] = {}
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Absent):
                found[section.name] = block.text
            elif isinstance(block, Drawn) and isinstance(block.figure, Missing):
                found[block.figure.name] = block.figure.sentence
    return found
