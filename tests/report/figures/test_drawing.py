"""Figures as they are drawn: sound SVG that goes into any page, the same bytes each time."""

from __future__ import annotations

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from made_ablation import made_report as made_ablation

from openevolve_unified.report.figures import palette
from openevolve_unified.report.figures.ablation import ablation_figure
from openevolve_unified.report.figures.coefficients import coefficients_figure
from openevolve_unified.report.figures.figure import (
    NO_MATPLOTLIB,
    Figure,
    Missing,
    can_draw,
    files_of,
    svg,
)
from openevolve_unified.report.figures.fitness import fitness_figure
from openevolve_unified.report.figures.scaling import scaling_figure

pytest.importorskip("matplotlib", reason=NO_MATPLOTLIB)
WITH_PIXELS = {"coefficients"}
"""Figures that hold a raster, as data in the file."""


def made_example(num_layers=2, num_heads=3, num_tokens=6):
    """Matrices as ``diagnostics.ExampleMatrices`` has them: each token reads itself twice as much
    as any before it."""
    weights = np.tri(num_tokens) + np.eye(num_tokens)
    rows = weights / weights.sum(1, keepdims=True)
    return SimpleNamespace(
        tokens=("Once", "Ġupon", "Ġa", "Ġtime", "Ġ$5", "Ġ<b>")[:num_tokens],
        layers=tuple(range(num_layers)),
        heads=tuple(range(num_heads)),
        matrices=np.broadcast_to(rows, (num_layers, num_heads, num_tokens, num_tokens)),
    )


@pytest.fixture(scope="module")
def matrices():
    return coefficients_figure(made_example(), SimpleNamespace(job_key="0123456789abcdef"))


@pytest.fixture(scope="module")
def every(figures, matrices):
    """What the made run can draw, and the matrices."""
    drawable = {name: one for name, one in figures.items() if isinstance(one, Figure)}
    return {**drawable, "coefficients": matrices}


@pytest.fixture(scope="module")
def drawn(every):
    return {name: svg(figure) for name, figure in every.items()}


def test_every_figure_of_the_run_is_drawn(figures, drawn):
    assert can_draw()
    missing = {name for name, one in figures.items() if isinstance(one, Missing)}
    assert missing == {"coefficients"}  # nothing was trained that they could be of
    assert len(drawn) == 15
    for text in drawn.values():
        ElementTree.fromstring(text)


def test_two_figures_on_a_page_share_no_id_and_refer_to_their_own(drawn):
    seen = set()
    for name, text in drawn.items():
        ids = set(re.findall(r'\bid="([^"]+)"', text))
        targets = set(re.findall(r'href="#([^"]+)"', text))
        targets |= set(re.findall(r"url\(#([^)]+)\)", text))
        assert all(one.startswith(f"{name}-") for one in ids)
        assert targets <= ids
        assert not ids & seen
        seen |= ids


def test_nothing_outside_is_referred_to_and_only_matrices_are_pixels(drawn):
    for name, text in drawn.items():
        assert "http" not in text
        assert "<style" not in text
        for target in re.findall(r'href="([^#"][^"]{0,30})', text):
            assert target.startswith("data:image/png;base64,")
        assert ("<image" in text) == (name in WITH_PIXELS)


def test_a_figure_is_as_wide_as_its_place_and_is_told_to_who_cannot_see_it(every, drawn):
    for name, text in drawn.items():
        root = ElementTree.fromstring(text)
        assert "width" not in root.attrib
        assert root.get("viewBox").startswith("0 0 417.6 ")
        assert root.get("role") == "img"
        title, description = list(root)[:2]
        assert root.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
        assert title.text == every[name].title
        assert description.text == every[name].alternative_text


def test_text_is_text_and_colours_are_those_of_the_page(drawn):
    assert "iteration (0: initial program)" in drawn["fitness"]
    for name, text in drawn.items():
        assert "<text" in text
        for color in palette.LIGHT.values():
            bare = re.sub(rf"var\(--figure-[a-z]+, {color}\)", "", text)
            assert color not in bare, name
    assert "DejaVu" not in "".join(drawn.values())


@pytest.mark.parametrize(
    "names",
    [
        ("coefficients", "cost", "fitness"),  # pixels, hatching, markers
        pytest.param(None, marks=pytest.mark.slow),
    ],
)
def test_the_same_figure_gives_the_same_bytes(every, drawn, names):
    for name in names or every:
        assert svg(every[name]) == drawn[name]


def test_both_palettes_name_the_same_colours_once():
    assert palette.LIGHT.keys() == palette.DARK.keys()
    assert len(set(palette.LIGHT.values())) == len(palette.LIGHT)
    assert palette.css(palette.DARK).startswith("--figure-ink: #e6edf3;")


def test_a_paper_gets_its_files_in_light_colours(every):
    files = files_of(every["rejections"])
    assert list(files) == ["rejections.svg", "rejections.png"]
    text = files["rejections.svg"].decode()
    assert text.startswith("<?xml")
    assert "var(" not in text
    assert "<dc:date>" not in text
    assert files["rejections.png"].startswith(b"\x89PNG")


def test_a_token_of_any_text_is_shown_as_it_is(drawn):
    assert "·$5" in drawn["coefficients"]
    assert "·&lt;b&gt;" in drawn["coefficients"]


def test_matrices_are_told_by_layer_and_head(matrices):
    assert len(matrices.rows) == 6
    layer, head, largest, distance, on_itself, _ = matrices.rows[0]
    assert (layer, head, largest) == (1, 1, 1.0)
    reach = [sum(t - j for j in range(t)) / (t + 2) for t in range(6)]
    assert distance == pytest.approx(sum(reach) / 6)
    assert on_itself == pytest.approx(sum(2 / (t + 2) for t in range(6)) / 6)
    assert "'Once upon a time $5 <b>'" in matrices.caption


def test_a_run_without_a_candidate_has_its_one_point(made_records):
    records = made_records(gains=(), parents=(), num_confirmed=0, has_reports=False)
    for make in (fitness_figure, scaling_figure):
        text = svg(make(records))
        ElementTree.fromstring(text)
        assert "initial program" in text


@pytest.mark.parametrize("changes", [{"num_seeds": 1}, {"failed": ("+hunk 2",)}])
def test_an_ablation_of_one_seed_or_with_a_failure_is_drawn(changes):
    text = svg(ablation_figure(made_ablation(**changes)))
    assert ("did not train" in text) == ("failed" in changes)
