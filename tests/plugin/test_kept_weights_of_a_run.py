"""``keep_weights: best``: after each verdict the best and the initial program keep theirs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from made_results import COUNTS, made_evaluation

from openevolve_unified import ScalingLawEvaluator

ROOT = Path(__file__).parents[2]
SCORES = {"first": 0.2, "worse": 0.1, "best": 0.9}


class Scored:
    """Stands in for the pipeline: every program leaves a file of weights and has a known score."""

    def __init__(self, pipeline):
        self.initial, self.context = pipeline.initial, pipeline.context
        self.config = pipeline.config

    def bounded(self):
        return self

    def evaluate(self, source, seeds=None, hurdle=None):
        name = "initial" if source == self.initial.source else source
        path = self.context.store.path("weights", name, ".safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        losses = [4.0 - SCORES.get(name, 0.05) * math.log(count) for count in COUNTS]
        result = made_evaluation(losses, source=source)
        if self.context.weights is not None:
            self.context.weights.claim(result.program.source_hash[:12], [name])
        return result


@pytest.mark.parametrize(
    ("setting", "is_claiming", "kept"),
    [
        ("best", True, ["best", "initial"]),
        ("all", True, ["best", "first", "initial", "worse"]),
        ("none", False, ["best", "first", "initial", "worse"]),
    ],
)
def test_after_each_verdict_only_what_is_asked_for_is_kept(tmp_path, setting, is_claiming, kept):
    mapping = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    program = ROOT / "initial_programs" / "coefficient_dynamics.py"
    mapping["scaling_law"].update(initial_program=str(program), output_dir="run")
    mapping["scaling_law"]["execution"]["keep_weights"] = setting
    mapping["scaling_law"]["noise"] = {"mode": "none"}
    mapping["prompt"]["template_dir"] = str(ROOT / "configs" / "prompts")
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(mapping))
    with ScalingLawEvaluator(config=path) as evaluator:
        evaluator.pipeline = Scored(evaluator.pipeline)
        evaluator.judge(program)
        for name in SCORES:
            candidate = tmp_path / f"{name}.py"
            candidate.write_text(name)
            evaluator.judge(candidate)
        store = evaluator.pipeline.context.store
    assert (evaluator.pipeline.context.weights is not None) == is_claiming
    assert sorted(file.stem for file in (store.root / "weights").rglob("*.safetensors")) == kept
