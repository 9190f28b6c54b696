"""Twenty candidates that are the initial program, by real training: none of them is called better.

Twelve differ in their text alone and are recognised by their fingerprint before anything is
trained; eight compute the same function by other roundings, and are trained.
"""

from __future__ import annotations

import dataclasses

import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.noise_floor import measure_noise_floor
from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.config.selection import SelectionConfig
from openevolve_unified.evaluation.confirmation import confirm_winner
from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.evaluation.selector import Known, Selector
from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.judges import judge
from openevolve_unified.plugin.tried import measured_baseline

IMPULSE = "        return k / math.sqrt(self.head_dim)\n"
READOUT = "        return z\n"
NORMALISER = '        return log_phi.masked_fill(~mask, float("-inf")).softmax(dim=-1)\n'
FILLED = 'log_phi.masked_fill(~mask, float("-inf"))'
COEFFICIENTS = INITIAL[
    INITIAL.index("    def coefficients") : INITIAL.index("\n\n# EVOLVE-BLOCK-END")
]
METHODS = INITIAL[INITIAL.index("    def readout") : INITIAL.index("    def coefficients")]
REORDERED = "".join(f"    def {part}" for part in reversed(METHODS.split("    def ")[1:]))

TEXTUAL = {
    "renamed": (COEFFICIENTS, COEFFICIENTS.replace("z", "answers")),
    "commented": (READOUT, "        # the identity\n        return z  # as it is\n"),
    "another docstring": ('"""b_j k_j, what token j sets off."""', '"""Keys."""'),
    "reformatted": (
        IMPULSE,
        "        return (\n            k\n            / math.sqrt(self.head_dim)\n        )\n",
    ),
    "reordered": (METHODS, REORDERED),
    "a name between": (READOUT, "        other = z\n        return other\n"),
    "a name for the scale": (
        IMPULSE,
        "        scale = math.sqrt(self.head_dim)\n        return k / scale\n",
    ),
    "a method between": (
        READOUT,
        "        return self.same(z)\n\n    def same(self, z):\n        return z\n",
    ),
    "another minus infinity": ('float("-inf")', "-math.inf"),
    "a function for a method": (NORMALISER, f"        return torch.softmax({FILLED}, dim=-1)\n"),
    "a constant branch": (READOUT, "        if True:\n            return z\n"),
    "a number that nobody reads": (READOUT, "        nothing = 2.0\n        return z\n"),
}
ROUNDING = {
    "times and by three": (READOUT, "        return 3.0 * (z / 3.0)\n"),
    "by and times": (READOUT, "        return (z * 0.7) / 0.7\n"),
    "a third and two thirds": (READOUT, "        return z / 3.0 + 2.0 * z / 3.0\n"),
    "times the reciprocal": (IMPULSE, "        return k * (1.0 / math.sqrt(self.head_dim))\n"),
    "scaled in two steps": (
        IMPULSE,
        "        return k / self.head_dim**0.25 / self.head_dim**0.25\n",
    ),
    "exponential over its sum": (
        NORMALISER,
        f"        filled = {FILLED}\n"
        "        e = torch.exp(filled - filled.amax(dim=-1, keepdim=True))\n"
        "        return e / e.sum(dim=-1, keepdim=True)\n",
    ),
    "exponential of the logarithm": (
        NORMALISER,
        f"        return torch.exp(F.log_softmax({FILLED}, dim=-1)).masked_fill(~mask, 0.0)\n",
    ),
    "shifted": (NORMALISER, f"        return ({FILLED} + 0.3).softmax(dim=-1)\n"),
}


def edited(before, after):
    assert INITIAL.count(before) == 1, before
    return INITIAL.replace(before, after)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("equal")
    config = dataclasses.replace(
        tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=600), training_steps=60),
        selection=SelectionConfig(max_seeds=2, num_confirmation_seeds=2),
        noise=NoiseConfig(mode="measure", num_seeds=4, twin=True),
    )
    built, _ = build_pipeline(config, folder, "store")
    measure_noise_floor(built, seeds_of(config).noise, True, lambda text: None)
    yield built
    built.context.machine.close()


def num_trained(pipeline):
    return len(list((pipeline.context.base_dir / "store").rglob("runs/**/*.json")))


@pytest.mark.slow
def test_of_twenty_equal_candidates_none_is_called_better(pipeline):
    noise = measured_baseline(pipeline)
    selector = Selector(pipeline, noise)
    initial = selector.judge_initial()
    baseline = Standing.of_evaluation(initial)
    known, before = {}, num_trained(pipeline)
    verdicts = {}
    for name, (old, new) in {**TEXTUAL, **ROUNDING}.items():
        source = edited(old, new)
        result = selector.judge(source, known, lambda evaluation: None, lambda evaluation: None)
        assert not hasattr(result, "stage"), f"{name}: {getattr(result, 'reason', '')}"
        is_same = result.fingerprint == initial.fingerprint
        assert is_same is (name in TEXTUAL), name
        if name in TEXTUAL:
            assert num_trained(pipeline) == before, f"{name}: recognised before training"
        scores = dict(zip(seeds_of(pipeline.config).search, result.score.by_seed, strict=False))
        known[result.program.source_hash[:12]] = Known(source=source, scores=scores)
        found = compare(Standing.of_evaluation(result), baseline).verdict
        verdicts[name] = (found, judge(result, noise.floor).dominance == "better")
    assert verdicts == dict.fromkeys(verdicts, ("equal", False))
    assert len(verdicts) == 20
    assert num_trained(pipeline) >= before + 3 * len(ROUNDING), "they were trained"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a third and two thirds", "exponential over its sum"])
def test_an_equal_winner_is_not_called_improved_at_fresh_seeds(name, pipeline):
    source, noise = edited(*ROUNDING[name]), measured_baseline(pipeline)
    selected = compare(Standing(value=1.0, stderr=0.1), Standing(value=0.0, stderr=0.1)).estimate
    found = confirm_winner(pipeline, source, selected, noise.floor)
    assert found.winner_scores != found.initial_scores, "they round differently"
    assert found.verdict == "not told apart"
