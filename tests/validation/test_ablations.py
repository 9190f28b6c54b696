"""The ablation of a planted program on a tiny ladder, trained for real."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.noise_floor import measure_noise_floor
from openevolve_unified.candidate.source.block import split_block
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.validation.ablations import (
    ALL_CONSTANTS,
    EVOLVED,
    STANDARD,
    ablate,
    ablation_seeds,
)

SEEDS = (6042, 6043)


def edited(*changes, source=INITIAL):
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def scattered():
    """The standard program with something else on every other line of its block."""
    split = split_block(STANDARD_PROGRAM)
    lines = split.block.split("\n")
    lines[::2] = [f"{line} ~" if line else line for line in lines[::2]]
    return split.before + "\n".join(lines) + split.after


DECAY = ("        return {}\n", '        return {"log_bias": -self.rate(x).exp().mT}\n')
RATE = (
    "        super().__init__(hidden_dim, num_heads, dropout)\n",
    "        super().__init__(hidden_dim, num_heads, dropout)\n"
    "        self.rate = nn.Linear(hidden_dim, num_heads)\n",
)
RENAME = (
    "        z = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)\n"
    "        return self.normaliser(self.readout(z), mask)\n",
    "        score = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)\n"
    "        return self.normaliser(self.readout(score), mask)\n",
)
READOUT = ("        return z\n", "        return z - 0.5 * z.tanh()\n")
STANDARD_PROGRAM = edited(
    ("return k / math.sqrt(self.head_dim)", "return 1.0 * k / math.sqrt(self.head_dim)")
)
TUNED = edited(("return 1.0 * k", "return 2.5 * k"), source=STANDARD_PROGRAM)
DOCSTRING = ("Softmax attention as coefficient dynamics.", "Decayed attention.")
PLANTED = edited(DOCSTRING, DECAY, RATE, RENAME, READOUT, source=TUNED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ablation")


@pytest.fixture(scope="module")
def base(folder, one_worker):
    execution = ExecutionConfig(num_workers=1, deadline_s=240)
    config = tiny_config(folder, execution, training_steps=6, warmup_steps=2, eval_frequency=3)
    pipeline, events = build_pipeline(config, folder, "store", one_worker)
    return pipeline, events


def runs_in(folder, store="store"):
    return {
        path.stem: path.stat().st_mtime_ns for path in (folder / store / "runs").rglob("*.json")
    }


@pytest.fixture(scope="module")
def planted(base, folder):
    told = []
    report = ablate(base[0], STANDARD_PROGRAM, PLANTED, SEEDS, told.append)
    return report, told


def test_the_pair_that_is_legal_only_together_is_one_group(planted):
    report, _ = planted
    assert [group.name for group in report.groups] == ["hunks 2+3", "hunk 4", "hunk 5", "hunk 6"]
    assert "self.rate = nn.Linear" in report.groups[0].text
    assert "log_bias" in report.groups[0].text


def test_a_hunk_of_text_alone_is_no_part_of_the_ablation(planted):
    report, told = planted
    assert told[0] == "checking 5 hunks"
    assert report.text_only == (1,)
    assert not any("hunk 1" in name for name in [*report.losses, *report.same_as])


def test_constants_are_a_class_of_their_own_and_a_rename_is_inert(planted):
    report, _ = planted
    assert [group.kind for group in report.groups] == ["code", "constants", "code", "code"]
    assert [part.is_inert for part in report.judgement.parts] == [False, False, False, True]
    assert report.same_as == {
        "standard with hunk 6": STANDARD,
        "evolved without hunk 6": EVOLVED,
    }
    assert not report.judgement.unions, "one group of constants is its own union"


def test_every_distinct_program_is_trained_once_seed_by_seed_in_turn(planted, folder):
    report, told = planted
    assert len(report.losses) == 2 + 2 * 3
    assert len(runs_in(folder)) == len(report.losses) * 3 * len(SEEDS)
    turns = [title.partition(", ")[2] for title in told[1:]]
    assert turns == [*report.losses, *report.losses]


def test_the_effects_are_of_the_programs_named(planted):
    report, _ = planted
    losses = {name: np.array(rows) for name, rows in report.losses.items()}
    part = report.judgement.parts[1]
    alone = (losses["standard with hunk 4"] - losses[STANDARD]).mean(0)
    within = (losses[EVOLVED] - losses["evolved without hunk 4"]).mean(0)
    for effect, wanted in ((part.alone, alone), (part.within, within)):
        assert [size.value for size in effect.comparison.sizes] == pytest.approx(list(wanted))
    assert report.seeds == SEEDS
    assert not report.has_noise


def copied(base, folder, name):
    """A pipeline on a copy of the store."""
    shutil.copytree(folder / "store", folder / name)
    return build_pipeline(base[0].config, folder, name, base[0].context.machine)[0]


def stored_run(store, loss):
    """The key and the record of the run that ended with this loss."""
    (path,) = [
        path
        for path in (store.root / "runs").rglob("*.json")
        if store.get("runs", path.stem)["final_loss_nats"] == loss
    ]
    return path, store.get("runs", path.stem)


def test_what_was_lost_on_the_way_is_trained_again_and_nothing_else(planted, base, folder):
    report, _ = planted
    pipeline = copied(base, folder, "killed")
    lost = {
        stored_run(pipeline.context.store, report.losses[EVOLVED][1][size])[0] for size in (0, 2)
    }
    for path in lost:
        path.unlink()
    before = runs_in(folder, "killed")
    assert ablate(pipeline, STANDARD_PROGRAM, PLANTED, SEEDS, str) == report
    after = runs_in(folder, "killed")
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {path.stem for path in lost}


def test_a_program_that_diverges_is_told_and_the_others_are_judged(planted, base, folder):
    report, _ = planted
    pipeline = copied(base, folder, "diverged")
    name = "evolved without hunk 5"
    path, record = stored_run(pipeline.context.store, report.losses[name][1][0])
    diverged = {**record, "status": "diverged", "final_loss_nats": None}
    pipeline.context.store.put("runs", path.stem, diverged)
    found = ablate(pipeline, STANDARD_PROGRAM, PLANTED, SEEDS, str)
    assert found.failures.keys() == {name}
    assert found.failures[name].startswith("at seed 6043: diverged: the loss at size 16x1")
    assert found.judgement.parts[2].within is None
    assert found.judgement.parts[1].within.comparison == report.judgement.parts[1].within.comparison
    # Of the two programs that everything is compared with, none may fail.
    path, record = stored_run(pipeline.context.store, report.losses["standard with hunk 4"][0][1])
    pipeline.context.store.put("runs", path.stem, {**record, **{"status": "diverged"}})
    with pytest.raises(ConfigError, match="the evolved program is refused: at seed 6042: diverged"):
        ablate(pipeline, STANDARD_PROGRAM, TUNED, SEEDS, str)


def test_one_seed_is_unknown_until_a_noise_floor_is_stored(base, folder):
    constants = edited(("return z\n", "return 1.0 * z\n"), source=STANDARD_PROGRAM)
    evolved = edited(("1.0 * k", "2.5 * k"), ("1.0 * z", "1.5 * z"), source=constants)
    pipeline, _ = build_pipeline(base[0].config, folder, "noisy", base[0].context.machine)
    found = ablate(pipeline, constants, evolved, SEEDS[:1], str)
    assert [group.kind for group in found.groups] == ["constants", "constants"]
    assert {part.role for part in found.judgement.parts} == {"unknown: one seed has no error"}
    (union,) = found.judgement.unions
    assert (union.name, union.alone.pair, union.within.pair) == (
        ALL_CONSTANTS,
        (EVOLVED, STANDARD),
        (EVOLVED, STANDARD),
    ), "the constants are the whole difference"
    assert len(found.losses) == 4, "of two hunks, one reverted is the other kept"
    measure_noise_floor(pipeline, (42, 1042), False, str)
    known = ablate(pipeline, constants, evolved, SEEDS[:1], str)
    assert known.has_noise
    assert known.losses == found.losses
    assert known.judgement.parts[0].alone.comparison.largest_loss.degrees_of_freedom == 1


@pytest.mark.parametrize(
    ("evolved", "wanted"),
    [
        (edited(RENAME, source=STANDARD_PROGRAM), "only names, comments and layout differ"),
        (edited(("return z\n", "return z + float(z)\n")), r"the evolved program is refused: \w+"),
        (edited(("import math\n", "import math as m\n")), "the text before the evolve block"),
        (STANDARD_PROGRAM, "there is nothing to ablate"),
        (scattered(), r"got \d\d hunks, wanted at most 12: .* --group 1,2,3"),
    ],
)
def test_what_cannot_be_ablated_is_one_clear_line(evolved, wanted, base, planted, folder):
    before = runs_in(folder)
    with pytest.raises(ConfigError, match=wanted) as caught:
        ablate(base[0], STANDARD_PROGRAM, evolved, SEEDS, str)
    assert "\n" not in str(caught.value)
    assert runs_in(folder) == before, "nothing is trained for it"


def test_seeds_are_fresh_ones():
    config = tiny_config(Path("-"), ExecutionConfig(), seeds=(42, 43))
    assert ablation_seeds(config, 3) == (6042, 6043, 6044)
    with pytest.raises(ConfigError, match="--seeds: got 0, wanted 1 or more"):
        ablation_seeds(config, 0)
