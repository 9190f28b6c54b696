"""The calls for notebooks, by the example that the documentation shows."""

from __future__ import annotations

import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from documented import ROOT
from made_run import MadeRun

import openevolve_unified as unified
from openevolve_unified.errors import ConfigError


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """What is left after the example: its names, by name."""
    folder = tmp_path_factory.mktemp("notebook")
    for name in ("configs", "initial_programs"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return runpy.run_path(str(ROOT / "docs" / "notebook.py"))


def test_a_class_is_evaluated_as_a_program_of_its_text(example):
    forgetting = example["forgetting"]
    assert forgetting.is_trained
    assert "self.forget = nn.Linear" in forgetting.evaluation.program.source
    assert str(forgetting).startswith("Attention with a forget gate.: score ")
    assert "[pilot, 40 of 100,000 steps]" in str(forgetting)
    assert [row.split()[0] for row in str(forgetting).splitlines()[1:]] == [
        "size",
        *("16x1", "24x1", "32x1"),
    ]


def test_a_comparison_is_of_the_same_seeds(example):
    first, second = example["forgetting"].evaluation, example["softmax"].evaluation
    paired = example["difference"].paired
    assert paired.sizes[0].value == pytest.approx(
        first.sizes[0].mean_loss_nats - second.sizes[0].mean_loss_nats
    )
    assert "one seed: unknown error" in str(example["difference"])


def test_what_is_returned_is_well_formed_and_escaped_in_html(example):
    from dataclasses import replace

    hostile = replace(example["forgetting"], name="<script>alert(1)</script>")
    for shown in (hostile, example["difference"], example["law"]):
        text = shown._repr_html_()
        ET.fromstring(f"<div>{text}</div>")
        assert "<script" not in text


def test_the_plot_has_a_line_and_points_for_each_program(example):
    (axes,) = example["figure"].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "Attention with a forget gate.",
        "coefficient_dynamics.py",
    ]
    assert len(axes.lines) == 2 * (1 + 3)


def test_a_law_is_fitted_to_losses_of_one_or_several_seeds():
    counts = np.array([5e5, 1e6, 2e6, 4e6])
    losses = 3.0 - 0.15 * np.log(counts)
    for given in (losses, np.stack([losses - 0.01, losses + 0.01])):
        assert unified.fit_law(counts, given).line.slope == pytest.approx(-0.15)
    assert "too few sizes" in str(unified.fit_law(counts[:3], losses[:3]))


def test_a_run_is_read_and_shows_its_programs(tmp_path):
    run = unified.read_run(MadeRun(tmp_path / "run").folder)
    assert len(run.programs) == len(str(run).splitlines()) - 2
    assert "EVOLVE-BLOCK" in run.source(run.programs[0])
    with pytest.raises(ConfigError, match="no folder of a run"):
        unified.read_run(tmp_path / "nowhere")


def test_a_class_without_a_text_is_told():
    made = type("EvolvableAttention", (), {})
    with pytest.raises(ConfigError, match="its text is not to be found"):
        unified.evaluate(made, config=ROOT / "configs" / "quickstart.yaml")


def test_the_package_stays_light_until_it_is_asked():
    code = "import sys, openevolve_unified; print('torch' in sys.modules, 'numpy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]
