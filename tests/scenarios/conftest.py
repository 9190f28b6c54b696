"""Small real experiments, the installed commands, and answers for their language model."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scripted_model import diff

from openevolve_unified.cli import app

ROOT = Path(__file__).parents[2]
LADDER = [
    {"hidden_dim": 16, "num_layers": 1, "num_heads": 2},
    {"hidden_dim": 24, "num_layers": 1, "num_heads": 3},
    {"hidden_dim": 32, "num_layers": 1, "num_heads": 4},
]
TINY = {
    "max_iterations": 2,
    "checkpoint_interval": 1,
    "max_code_length": 60_000,
    "llm": {"provider": "grammar", "api_key": "not-needed", "models": [{"name": "grammar"}]},
    "prompt": {"num_top_programs": 2, "num_diverse_programs": 1},
    "database": {"num_islands": 1, "feature_dimensions": ["lookback", "log10_operators"]},
    "evaluator": {"timeout": 700, "cascade_evaluation": False, "max_retries": 0},
    "scaling_law": {
        "framework": "coefficient_dynamics",
        "initial_program": str(ROOT / "initial_programs" / "coefficient_dynamics.py"),
        "output_dir": "run",
        "ladder": LADDER,
        "data": {
            "source": "stories",
            "num_documents": 600,
            "vocab_size": 300,
            "seq_len": 16,
            "validation_sequences": 32,
            "test_sequences": 32,
        },
        "training": {
            "training_steps": 20,
            "batch_size": 8,
            "eval_frequency": 10,
            "warmup_steps": 5,
            "learning_rate": 0.003,
            "dropout": 0.0,
        },
        # A winner's own tests turn its confirmation on.
        "selection": {"max_seeds": 1, "num_confirmation_seeds": 0},
        # Other tests run beside: a second worker would only cost its start.
        # A report takes seconds; the test of one turns it on.
        "execution": {"device": "cpu", "deadline_s": 600, "num_workers": 1, "report": False},
    },
}


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


class Place:
    """A folder in which experiments are written and the installed commands are run."""

    def __init__(self, folder, cache_home):
        self.folder = folder
        self.environment = {"XDG_CACHE_HOME": str(cache_home)}

    def tiny(self, changes=None, name="tiny.yaml"):
        """Write a tiny experiment; ``changes`` maps dotted keys to values."""
        mapping = copy.deepcopy(TINY)
        for dotted, value in (changes or {}).items():
            *parents, last = dotted.split(".")
            section = mapping
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        path = self.folder / name
        path.write_text(yaml.safe_dump(mapping))
        return path

    def start(self, *arguments, environment=None, prefix=()):
        """Start one of the installed commands; ``prefix`` is a command that runs it."""
        script = Path(sys.executable).with_name(arguments[0])
        return subprocess.Popen(
            [*prefix, str(script), *map(str, arguments[1:])],
            cwd=self.folder,
            env={**os.environ, **self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=obey_interrupts,
        )

    def run(self, *arguments, environment=None, prefix=()):
        """Run one of the installed commands: (status, standard output, standard error)."""
        process = self.start(*arguments, environment=environment, prefix=prefix)
        output, errors = process.communicate(timeout=300)
        return process.returncode, output, errors


def obey_interrupts():
    """A shell starts its background jobs, and so their children, with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def place(tmp_path, cache_home):
    return Place(tmp_path, cache_home)


@pytest.fixture(scope="session")
def new_place(tmp_path_factory, cache_home):
    """Places for runs whose outcome several tests read."""
    return lambda: Place(tmp_path_factory.mktemp("place"), cache_home)


@pytest.fixture
def tiny(place):
    return place.tiny


@pytest.fixture
def command(place):
    return place.start


@pytest.fixture
def run(place):
    return place.run


@pytest.fixture
def call(place, monkeypatch, capsys):
    """Like ``run``, in this process: for what ends before anything is started."""
    monkeypatch.chdir(place.folder)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)

    def call(command, *arguments, environment=None):
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        main = {"openevolve": app.evolve_main, "openevolve-unified": app.main}[command]
        capsys.readouterr()
        try:
            status = main([*map(str, arguments)])
        except SystemExit as error:  # of argparse
            status = error.code
        output, errors = capsys.readouterr()
        return status, output, errors

    return call


@pytest.fixture
def answers():
    """Scripted answers against the initial program of coefficient dynamics."""
    impulse = "        return k / math.sqrt(self.head_dim)"
    good = diff(impulse, "        return 1.5 * k / math.sqrt(self.head_dim)")
    better = diff(impulse, "        return 1.25 * k / math.sqrt(self.head_dim)")
    call = {"id": "1", "type": "function", "function": {"name": "edit", "arguments": "{}"}}
    return {
        "good": good,
        "steeper": diff(
            "        return self.normaliser(self.readout(z), mask)",
            "        return self.normaliser(self.readout(1.1 * z), mask)",
        ),
        "reasoned": f"<think>\n{good.replace('1.5', '2.5')}No.</think>\n{better}"
        + diff("        return k / 3", "        return k / 4"),
        "broken": diff(impulse, "        return k / math.sqrt(self.head_dim"),
        "outside": diff("import torch.nn as nn", "import torch.nn as nn\nimport os"),
        "leak": diff(
            "        return self.normaliser(self.readout(z), mask)",
            "        z = z * (1 + k.mean(dim=2).sum(dim=-1)[..., None, None])\n"
            "        return self.normaliser(self.readout(z), mask)",
        ),
        "malformed": "I would rather talk about the weather.",
        "null": {"content": None},
        "tools": {"content": None, "tool_calls": [call]},
        "elsewhere": diff("        return k / 3", "        return k / 4"),
        "page": b"<!doctype html><html>Log in</html>",
        "failure": 500,
    }
