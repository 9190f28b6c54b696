"""A program that got one more seed: everything that OpenEvolve keeps of it says so."""

from __future__ import annotations

from made_results import made_evaluation
from openevolve_release import database, program

from openevolve_unified.judgement.feedback import artifacts
from openevolve_unified.judgement.metrics import metrics
from openevolve_unified.plugin.cells import hash_of
from openevolve_unified.plugin.population import renew
from openevolve_unified.runs.events import Remeasured

BASELINE = ({0: 2.40, 1: 2.42}, {0: 2.31, 1: 2.30}, {0: 2.25, 1: 2.26}, {0: 2.15, 1: 2.16})
ONE_SEED = made_evaluation((2.35, 2.26, 2.18, 2.05), [size[0] for size in BASELINE])
TWO_SEEDS = made_evaluation(
    ({0: 2.35, 1: 2.39}, {0: 2.26, 1: 2.29}, {0: 2.18, 1: 2.23}, {0: 2.05, 1: 2.12}), BASELINE
)


def test_every_number_of_a_program_that_got_one_more_seed_is_renewed_and_nothing_else():
    programs = database()
    for name in ("seed", "again", "copy", "other"):
        programs.add(program(name, None if name == "seed" else "seed", **metrics(ONE_SEED)))
        programs.store_artifacts(name, {**artifacts(ONE_SEED), "tried_before": "lessons"})
    programs.programs["copy"].code = programs.programs["again"].code
    event = Remeasured(
        program=hash_of(programs.programs["again"].code),
        entry={},
        metrics=metrics(TWO_SEEDS),
        artifacts=artifacts(TWO_SEEDS),
    )
    before, after = artifacts(ONE_SEED), artifacts(TWO_SEEDS)
    changed = {name for name in after if after[name] != before[name]}
    assert {"verdict", "losses_per_size", "scaling_line"} <= changed
    renew(programs, event)
    for name in ("again", "copy"):
        told = programs.get_artifacts(name)
        assert {key: told[key] for key in after} == after
        assert told["tried_before"] == "lessons"
        assert programs.programs[name].metrics["num_seeds"] == 2
    assert programs.get_artifacts("other")["verdict"] == before["verdict"]
    assert programs.programs["other"].metrics["num_seeds"] == 1
