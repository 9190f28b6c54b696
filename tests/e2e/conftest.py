"""Small real experiments, the installed commands, and a server that speaks the OpenAI protocol."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

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
        # Other tests run beside: a second worker would only cost its start.
        "execution": {"device": "cpu", "deadline_s": 600, "num_workers": 1},
    },
}


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


class Place:
    """A folder in which experiments are written and the installed commands are run."""

    def __init__(self, folder, cache_home):
        self.folder = folder
        self._cache_home = cache_home

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
            env={**os.environ, "XDG_CACHE_HOME": str(self._cache_home), **(environment or {})},
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


class ScriptedModel:
    """A local server for ``/v1/chat/completions`` that gives its answers in order.

    An answer is text, or an int: the HTTP status of a failure. The last answer repeats.
    """

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                model.requests.append(json.loads(self.rfile.read(length)))
                position = min(len(model.requests), len(model.answers)) - 1
                answer = model.answers[position]
                status = answer if isinstance(answer, int) else 200
                body = {"error": {"message": "scripted failure"}}
                if status == 200:
                    message = {"role": "assistant", "content": answer}
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    body = {
                        "id": "x",
                        "object": "chat.completion",
                        "created": 0,
                        "model": "scripted",
                        "choices": [choice],
                    }
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def settings(self):
        """The ``llm`` section that talks to this server."""
        return {
            "api_base": self.url,
            "api_key": "${SCRIPTED_KEY}",
            "models": [{"name": "scripted"}],
            "retries": 0,
            "retry_delay": 0,
            "timeout": 30,
        }


@pytest.fixture
def scripted_model():
    models = []

    def start(*answers):
        models.append(ScriptedModel(answers))
        return models[-1]

    yield start
    for model in models:
        model.close()


def diff(search, replace):
    return f"An idea.\n\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


@pytest.fixture
def answers():
    """Scripted answers against the initial program of coefficient dynamics."""
    impulse = "        return k / math.sqrt(self.head_dim)"
    return {
        "good": diff(impulse, "        return 1.5 * k / math.sqrt(self.head_dim)"),
        "broken": diff(impulse, "        return k / math.sqrt(self.head_dim"),
        "outside": diff("import torch.nn as nn", "import torch.nn as nn\nimport os"),
        "leak": diff(
            "        return self.normaliser(self.readout(z), mask)",
            "        z = z * (1 + k.mean(dim=2).sum(dim=-1)[..., None, None])\n"
            "        return self.normaliser(self.readout(z), mask)",
        ),
        "malformed": "I would rather talk about the weather.",
        "failure": 500,
    }
