"""A tiny experiment for the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SIZES = [{"hidden_dim": d, "num_layers": 1, "num_heads": d // 8} for d in (16, 24, 32)]


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    mapping = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    mapping["prompt"]["template_dir"] = str(ROOT / "configs" / "prompts")
    law = mapping["scaling_law"]
    law.update(
        initial_program=str(ROOT / "initial_programs" / "coefficient_dynamics.py"),
        output_dir="run",
        ladder=SIZES,
    )
    law["data"].update(
        num_documents=600,
        vocab_size=300,
        seq_len=16,
        validation_sequences=32,
        test_sequences=32,
        cache_dir=str(folder / "cache"),
    )
    law["training"].update(training_steps=40, batch_size=8, eval_frequency=20, warmup_steps=5)
    law["execution"].update(device="cpu", num_workers=2, deadline_s=300)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path
