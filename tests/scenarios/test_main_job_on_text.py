"""The main job on real text that lies beside the project, where it is present."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "num_candidates"),
    [("tinystories_sample.txt", 0), pytest.param("tinyshakespeare.txt", 1, marks=pytest.mark.slow)],
)
def test_a_text_file_takes_the_place_of_the_stories(name, num_candidates, tiny, run, tmp_path):
    text = SHARED / name
    if not text.exists():
        pytest.skip("no real text beside this checkout")
    status, output, errors = run(
        "openevolve",
        tiny(),
        "--set",
        f"scaling_law.data={{source: text, path: {text}, vocab_size: 300, seq_len: 16, "
        "validation_sequences: 64, test_sequences: 64}",
        "--set",
        f"max_iterations={num_candidates}",
    )
    assert status == 0, errors
    assert "data      text:" in output
    entries = json.loads((tmp_path / "run" / "fitness_history.json").read_text())["programs"]
    assert entries[0]["verdict"] == "trained"
    assert min(entries[0]["losses_nats"].values()) > 1.0
