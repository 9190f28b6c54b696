"""The API of scripts and notebooks: what it takes, what it says, and how it shows itself."""

from __future__ import annotations

import importlib.util
import linecache
import math
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from made_run import runs_in

from openevolve_unified import api
from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.errors import ConfigError
from openevolve_unified.frameworks import CoefficientDynamics

ROOT = Path(__file__).parents[1]
INITIAL = (ROOT / "initial_programs" / "coefficient_dynamics.py").read_text()


class Mine(CoefficientDynamics):
    """Another temperature."""

    def impulse(self, k, x):
        return 1.5 * k / self.head_dim**0.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = runs_in(tmp_path_factory.mktemp("runs"))("made")
    return api.read(folder)


class Cells(HTMLParser):
    """The texts of the cells of a table; a tag that is left open is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td"}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


def test_a_class_takes_the_place_of_the_block_whatever_its_name():
    parts, found = split_block(INITIAL), split_block(api.source_of(Mine, INITIAL))
    assert (found.before, found.after) == (parts.before, parts.after)
    assert found.block.startswith(f"class {api.CLASS_NAME}(CoefficientDynamics):\n")
    assert "1.5 * k" in found.block
    namespace = {}
    exec(found.block, {"CoefficientDynamics": CoefficientDynamics}, namespace)
    with pytest.raises(ConfigError, match="its text is not known"):
        api.source_of(namespace[api.CLASS_NAME], INITIAL)


def test_a_file_and_a_text_are_programs_too(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(INITIAL)
    assert {api.source_of(one, "") for one in (path, str(path), INITIAL)} == {INITIAL}
    with pytest.raises(ConfigError, match="cannot be read as a program"):
        api.source_of(tmp_path / "none.py", "")


def test_a_law_is_fitted_to_losses_of_one_seed_or_several():
    counts = [1e5, 1e6, 1e7]
    line = [5 - 0.2 * math.log(count) for count in counts]
    law = api.fit(counts, line)
    assert law.slope.value == pytest.approx(-0.2)
    assert "one seed" in str(law)
    law = api.fit(counts, [[loss, loss + 0.1] for loss in line], name="mine", horizon="a pilot")
    assert law.fit.slope == pytest.approx(-0.2)
    assert law.slope.stderr == pytest.approx(0.0, abs=1e-12)
    assert str(law).startswith("scaling law of mine [a pilot]\n")
    with pytest.raises(ValueError, match="at least 3 distinct sizes"):
        api.fit(counts[:2], line[:2])
    for ragged, told in (([[3.0], [2.9, 2.8], [2.7]], "1, 2, 1"), ([[], [], []], "0, 0, 0")):
        with pytest.raises(ValueError, match=rf"got \[{told}\] seeds by size, wanted as many"):
            api.fit(counts, ragged)


def test_a_run_is_read_with_its_programs_laws_and_confirmation(run):
    assert [one.is_trained for one in run.programs] == [True, True, True, True, False]
    assert run.best.name == run.folder.best["program"] == run.confirmation["program"]
    assert run.programs[-1].law is None
    assert "causality" in run.programs[-1].verdict
    assert "# program 3" in run.best.source
    law = run.best.law
    assert law.horizon == run.best.entry["horizon"]
    assert law.fit.slope < run.baseline.law.fit.slope
    lines = str(run).splitlines()
    assert len(lines) == len(run.programs) + 2


def test_two_programs_are_compared_by_the_rule_of_a_search(run):
    found = api.compare(run.best, run.baseline)
    assert found.comparison.gain == pytest.approx(0.05, abs=0.01)
    assert found.comparison.verdict in str(found)
    assert api.NOT_CONFIRMED in str(found)
    with pytest.raises(ConfigError, match="has no score: rejected at 'causality'"):
        api.compare(run.programs[-1], run.baseline)
    longer = api.Judged(
        entry={**run.best.entry, "horizon": "100,000 steps"}, source="", law=run.best.law
    )
    with pytest.raises(ConfigError, match="wanted the same"):
        api.compare(longer, run.baseline)


def test_everything_shows_itself_escaped_in_a_notebook(run):
    for one in (run, run.best, run.best.law, api.compare(run.best, run.baseline)):
        cells = Cells(one._repr_html_()).cells
        assert cells[0] == one.table.title
        assert f"[{run.best.law.horizon}]" in cells[0], "what is a pilot says so"
        for row in one.table.rows:
            assert all(cell in cells for cell in row if cell)
    hostile = {**run.programs[-1].entry, "reason": "<script>alert(1)</script> & more"}
    shown = api.Judged(entry=hostile, source="", law=None)._repr_html_()
    assert "<script" not in shown
    assert hostile["reason"] in "".join(Cells(shown).cells)


def test_laws_are_drawn_with_every_seed(run):
    pytest.importorskip("matplotlib")
    law = api.fit([1e5, 1e6, 1e7], [[3.1, 3.2], [2.6, 2.7], [2.2, 2.1]], name="mine")
    (axes,) = api.plot(run.best.law, law).axes
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert sum(len(line.get_ydata()) for line in dots) == len(run.best.law.losses) + 6
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == [run.best.name, "mine"]
    assert run.best.law.horizon in axes.get_ylabel()


def test_without_matplotlib_a_plot_says_what_is_missing(run, monkeypatch):
    monkeypatch.setattr("openevolve_unified.report.figures.figure.can_draw", lambda: False)
    with pytest.raises(ConfigError, match="matplotlib is not installed"):
        api.plot(run.best.law)


def test_importing_it_imports_nothing_heavy():
    heavy = "{'torch', 'openevolve', 'numpy', 'scipy', 'rich'}"
    code = f"import sys, openevolve_unified.api; print({heavy} & {{*sys.modules}})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "set()", output.stderr


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path, monkeypatch, capsys):
    """On a tiny ladder, beside a run that nobody trained."""
    short = ("training_steps=20", "warmup_steps=5", "eval_frequency=10")
    overrides = [f"scaling_law.training.{setting}" for setting in short]
    runs_in(tmp_path / "experiments")("quickstart", overrides=overrides)
    mapping = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    law = mapping["scaling_law"]
    law["initial_program"] = str(ROOT / "initial_programs" / "coefficient_dynamics.py")
    law["ladder"] = [
        {"hidden_dim": dim, "num_layers": 1, "num_heads": dim // 8} for dim in (16, 24, 32)
    ]
    law["data"].update(num_documents=600, vocab_size=300, seq_len=16)
    law["data"].update(validation_sequences=32, test_sequences=32, cache_dir=str(tmp_path))
    law["training"].update(training_steps=20, batch_size=8, eval_frequency=10, warmup_steps=5)
    law["noise"] = {"mode": "none"}
    law["validation"] = {}
    mapping["prompt"]["template_dir"] = str(ROOT / "configs" / "prompts")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(mapping))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs" / "notebook.py"))
    output = capsys.readouterr().out
    assert "pilot, 20 of 100,000 steps" in output
    assert "run quickstart" in output
    assert api.NOT_CONFIRMED in output
    assert output.splitlines()[-1].startswith("  slope")
    assert (tmp_path / "experiments" / "notebook" / "fitness_history.json").exists()
    assert (tmp_path / "laws.svg").exists() is (importlib.util.find_spec("matplotlib") is not None)


def test_a_class_of_a_notebooks_cell_is_found():
    cell = "<ipython-input-7>"
    text = "class Own(CoefficientDynamics):\n    def readout(self, z):\n        return 2.0 * z\n"
    names = {"CoefficientDynamics": CoefficientDynamics, "__name__": "__main__"}
    linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
    exec(compile(text, cell, "exec"), names)  # as a notebook does
    block = split_block(api.source_of(names["Own"], INITIAL)).block
    assert block.startswith(f"class {api.CLASS_NAME}(CoefficientDynamics):\n")
    assert block.rstrip().endswith("return 2.0 * z")
