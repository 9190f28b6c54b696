"""OpenEvolve's visualiser reads our checkpoints: every program, edges by parent, finite numbers."""

from __future__ import annotations

import json

import pytest
from made_results import made_evaluation
from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase
from openevolve.population import PopulationStrategy
from visualiser import complaints, drawn

from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics, untrained_metrics
from openevolve_unified.plugin.checkpoints import latest_checkpoint, save_whole
from openevolve_unified.plugin.population import admit, evict, replaces

LOSSES = (2.40, 2.31, 2.25, 2.15)
FLAT = (2.0, 2.0, 2.0, 2.0)


@pytest.fixture
def run_path(tmp_path):
    """A run of two islands with real verdicts: trained, a flat line, and one that is not admitted;
    its later checkpoint was damaged and saved again."""
    config = DatabaseConfig(num_islands=2, feature_dimensions=["lookback", "log10_operators"])
    strategy = PopulationStrategy(admit=admit, replace_cell=replaces, evict=evict)
    database = ProgramDatabase(config, strategy)

    def add(name, parent, numbers, island, lookback):
        found = Program(
            id=name,
            code=f"{name} = 1\n",
            parent_id=parent,
            generation=0 if parent is None else 1,
            metrics={**numbers, "lookback": lookback},
            metadata={"parent_metrics": {} if parent is None else numbers},
        )
        if database.add(found, target_island=island) is not None:
            told = artifacts(made_evaluation(LOSSES, LOSSES))
            database.store_artifacts(name, told)

    initial = metrics(made_evaluation(LOSSES))
    add("initial", None, initial, 0, 0.1)
    add("better", "initial", metrics(made_evaluation((2.4, 2.3, 2.2, 2.0), LOSSES)), 0, 0.9)
    add("flat", "initial", metrics(made_evaluation(FLAT, LOSSES)), 1, 0.5)
    add("refused", "initial", untrained_metrics(False), 0, 0.3)
    add("elsewhere", "flat", metrics(made_evaluation(LOSSES, LOSSES)), 1, 0.2)

    def save(iteration):
        database.save(str(tmp_path / "checkpoints" / f"checkpoint_{iteration}"), iteration)

    for iteration in (1, 2):
        save_whole(save, tmp_path, iteration)
    (tmp_path / "checkpoints" / "checkpoint_2" / "metadata.json").write_text("{")
    latest_checkpoint(tmp_path)
    save_whole(save, tmp_path, 2)
    return tmp_path


def test_it_draws_every_program_in_its_island_with_edges_by_parent(run_path):
    assert complaints(run_path) == []
    page = drawn(run_path)
    islands = {name: node["island"] for name, node in page["nodes"].items()}
    assert islands == {"initial": 0, "better": 0, "flat": 1, "elsewhere": 1}
    assert sorted(page["edges"]) == [
        ("flat", "elsewhere"),
        ("initial", "better"),
        ("initial", "flat"),
    ]
    assert page["nodes"]["better"]["code"] == "better = 1\n"
    assert "verdict" in json.loads(page["nodes"]["better"]["artifacts_json"])


def test_a_copy_in_another_island_is_drawn_there_too(run_path):
    path = run_path / "checkpoints" / "checkpoint_2" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["islands"][1].append("better")
    path.write_text(json.dumps(metadata))
    nodes = drawn(run_path)["nodes"]
    assert (nodes["better"]["island"], nodes["better-copy1"]["island"]) == (0, 1)


def test_what_its_page_could_not_show_would_be_noticed(run_path):
    path = run_path / "checkpoints" / "checkpoint_2" / "programs" / "flat.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "metrics": {"error": "x"}, "generation": None}))
    assert len(complaints(run_path)) == 4
    path.write_text(json.dumps({**kept, "metrics": {"combined_score": float("nan")}}))
    with pytest.raises(ValueError, match="NaN, which no browser reads"):
        drawn(run_path)
