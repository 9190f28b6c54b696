"""The folder in the shape of OpenEvolve's examples: complete, and the quickstart itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin import native
from openevolve_unified.plugin.example import COMMAND, write_example

ROOT = Path(__file__).parents[2]
TINY = [
    "scaling_law.ladder=[{hidden_dim: 16, num_layers: 1, num_heads: 2}, "
    "{hidden_dim: 24, num_layers: 1, num_heads: 3}, {hidden_dim: 32, num_layers: 1, num_heads: 4}]",
    "scaling_law.data={source: stories, num_documents: 600, vocab_size: 300, seq_len: 16, "
    "validation_sequences: 32, test_sequences: 32}",
    "scaling_law.training={training_steps: 20, batch_size: 8, eval_frequency: 10, warmup_steps: 5}",
    "scaling_law.selection={max_seeds: 1, num_confirmation_seeds: 0}",
    "scaling_law.noise={mode: none}",
    "scaling_law.execution.num_workers=1",
]


@pytest.fixture
def example(tmp_path):
    folder = tmp_path / "example"
    write_example(folder)
    return folder


def evaluation_file(folder):
    """The evaluation file as OpenEvolve loads it."""
    spec = importlib.util.spec_from_file_location("example_evaluator", folder / "evaluator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_the_files_of_openevolves_examples_and_its_readme_names_them(example):
    names = {path.name for path in example.iterdir()}
    assert names == {*COMMAND.split()[1:3], COMMAND.split()[-1], "README.md", "prompts"}
    readme = (example / "README.md").read_text()
    assert COMMAND in readme
    assert all(f"`{name}" in readme for name in names - {"README.md"})


def test_it_is_the_quickstart_under_other_paths(example):
    shipped = load_experiment(ROOT / "configs" / "quickstart.yaml")
    here = load_experiment(example / "config.yaml")
    for experiment in (shipped, here):
        for place in ("initial_program", "output_dir"):
            experiment.mapping["scaling_law"].pop(place)
    assert here.mapping == shipped.mapping
    assert here.initial_program == example / "initial_program.py"
    assert (here.output_dir, here.store_dir) == (example / "openevolve_output", example / "store")
    assert not re.search(r"\.\./|--set", (example / "config.yaml").read_text())
    shared = (ROOT / "configs" / "prompts").iterdir()
    assert {path.name for path in (example / "prompts").iterdir()} == {p.name for p in shared}


def test_its_evaluation_file_finds_the_config_beside_it(example, monkeypatch, tmp_path):
    monkeypatch.setenv(native.OVERRIDES_VARIABLE, json.dumps(TINY))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = example / "initial_program.py"
    wrong = example / "wrong.py"
    wrong.write_text(program.read_text().replace("import math", "import os"))
    module = evaluation_file(example)
    assert module.evaluate_stage1(str(wrong)).metrics["combined_score"] == -1000
    (example / "config.yaml").rename(example / "other.yaml")
    with pytest.raises(ConfigError, match="--config: got none"):
        evaluation_file(example)
    monkeypatch.setenv(native.CONFIG_VARIABLE, str(example / "other.yaml"))
    told = evaluation_file(example).evaluate_stage1(str(wrong)).artifacts
    assert "import os" in told["rejected_because"]


def test_what_is_there_is_kept(example):
    (example / "config.yaml").write_text("mine")
    (example / "README.md").unlink()
    written, kept = write_example(example)
    assert [path.name for path in written] == ["README.md"]
    assert example / "config.yaml" in kept
    assert (example / "config.yaml").read_text() == "mine"
    with pytest.raises(ConfigError, match="cannot write here"):
        write_example(example / "config.yaml")


@pytest.mark.slow
def test_its_command_runs_as_it_stands(example, run_native):
    status, errors = run_native(example, TINY)
    assert status == 0, errors
    best = example / "openevolve_output" / "best" / "best_program_info.json"
    assert json.loads(best.read_text())["metrics"]["combined_score"] > -100


@pytest.fixture
def run_native(tmp_path):
    """Run openevolve-run in a folder, as its README says, with other settings."""

    def run(folder, overrides):
        command = COMMAND.split()
        command[0] = str(Path(sys.executable).with_name(command[0]))
        variables = {
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            native.OVERRIDES_VARIABLE: json.dumps(overrides),
        }
        done = subprocess.run(
            [*command, "--iterations", "1"],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    return run
