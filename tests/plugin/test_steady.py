"""What makes a run reproducible: the order of programs, turns, seeds, and one at a time."""

from __future__ import annotations

import inspect
import random
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
from openevolve import controller
from openevolve.config import Config, DatabaseConfig
from openevolve.database import Program, ProgramDatabase
from openevolve.selection import IslandSelectionContext

from openevolve_unified.plugin.steady import (
    Attendant,
    SteadyWorkers,
    island_in_turn,
    list_in_order,
    steady_workers,
)
from openevolve_unified.plugin.turn import current_turn, seed_for, take_turn


def population(names):
    """A population whose random ids are ``names``; the same programs under other names."""
    config = DatabaseConfig(num_islands=2, feature_dimensions=["lookback"], random_seed=1)
    database = ProgramDatabase(config)
    for iteration, name in enumerate(names):
        metrics = {"combined_score": 0.1, "lookback": iteration / 10}
        child = Program(id=name, code=f"x = {iteration}\n", metrics=metrics)
        database.add(child, iteration=iteration, target_island=iteration % 2)
    return database


def names_of(ids, database):
    return [database.programs[program_id].code for program_id in ids]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_programs_are_sampled_alike_whatever_their_random_ids_are(seed):
    samples = []
    for draw in (random.Random(seed), random.Random(seed + 10)):
        database = population([str(draw.random()) for _ in range(8)])
        list_in_order(database)
        seed_for(42, 3, "parent")
        parent, others = database.sample_from_island(0, num_inspirations=3)
        samples.append((parent.code, [other.code for other in others]))
    assert samples[0] == samples[1]


def test_a_loaded_population_is_listed_as_it_was_before(tmp_path):
    database = population(["d", "a", "c", "b"])
    list_in_order(database)
    database.save(str(tmp_path), 3)
    loaded = ProgramDatabase(DatabaseConfig(num_islands=2, feature_dimensions=["lookback"]))
    loaded.load(str(tmp_path))
    list_in_order(loaded)
    for one in (database, loaded):
        assert list(one.programs) == ["d", "a", "c", "b"]
        assert [list(island) for island in one.islands] == [["d", "c"], ["a", "b"]]
        assert list(one.archive) == ["d", "a", "c", "b"]


def test_copies_that_migrated_are_told_apart_by_their_code():
    database = population(["a", "b"])
    for name, code in (("z", "one"), ("y", "two")):
        copy = Program(id=name, code=code, metrics={"lookback": 0.5}, metadata={"migrant": True})
        database.add(copy, target_island=0)
    list_in_order(database)
    listed = names_of(database.islands[0], database)
    assert listed[0] == "x = 0\n"
    assert sorted(listed[1:]) == ["one", "two"]
    database.islands[0].discard("z")
    database.islands[0].add("z")
    assert names_of(database.islands[0], database) == listed


def test_the_island_follows_the_iteration_and_not_the_start_of_the_run():
    config = Config()
    config.evaluator.parallel_evaluations = 1
    select = island_in_turn(config)
    chosen = [
        select(IslandSelectionContext(iteration=n, pending_counts=(0,) * 3, islands=(None,) * 3))
        for n in range(1, 6)
    ]
    assert chosen == [0, 1, 2, 0, 1]
    config.evaluator.parallel_evaluations = 2
    assert island_in_turn(config) is None, "OpenEvolve spreads several at a time better"


def test_random_numbers_in_a_worker_belong_to_the_iteration(tmp_path):
    def draw():
        assert current_turn().iteration in (4, 5)
        return random.random()

    first = take_turn(tmp_path, 42, 4, None, draw)
    random.seed(0)
    again, other = take_turn(tmp_path, 42, 4, None, draw), take_turn(tmp_path, 42, 5, None, draw)
    assert first == again != other
    assert take_turn(tmp_path, 43, 4, None, draw) != first
    assert current_turn() is None
    random.seed(5)
    unseeded = random.Random(5).random()
    assert take_turn(tmp_path, None, 4, None, draw) == unseeded, "without a seed nothing is touched"


def test_openevolve_finds_its_controller_by_the_name_that_is_replaced(tmp_path):
    attendant = Attendant(
        folder=tmp_path,
        on_start=lambda: None,
        before_iteration=lambda iteration: None,
        on_failed_start=lambda iteration, future: None,
    )
    original = controller.ProcessParallelController
    assert "self.parallel_controller = ProcessParallelController(" in inspect.getsource(
        controller.OpenEvolve.run
    )
    with steady_workers(attendant):
        assert issubclass(controller.ProcessParallelController, SteadyWorkers)
    assert controller.ProcessParallelController is original


class Pool:
    """Stands in for a pool of processes, which would only slow this down."""

    def __init__(self):
        self.futures = []
        self.error = None

    def submit(self, *arguments):
        if self.error is not None:
            raise self.error
        self.futures.append(Future())
        return self.futures[-1]

    def shutdown(self, **options):
        pass


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """A controller over a stand-in pool, and what it told its attendant."""
    told = []
    attendant = Attendant(
        folder=tmp_path,
        on_start=lambda: told.append("started"),
        before_iteration=told.append,
        on_failed_start=lambda iteration, future: told.append((iteration, future.exception())),
    )
    monkeypatch.setattr(controller.ProcessParallelController, "start", lambda self: None)
    with steady_workers(attendant):
        config = Config()
        config.evaluator.parallel_evaluations = 1
        made = controller.ProcessParallelController(config, "evaluator.py", population(["a", "b"]))
        made.executor = Pool()
        pool = made.executor
        made.start()
        yield made, pool, told


def test_an_iteration_starts_when_the_one_before_was_dealt_with(workers):
    made, pool, told = workers
    first, second = (made._submit_iteration(n, 0) for n in (1, 2))
    assert told == ["started"]
    assert not first.done()
    assert not second.done()
    assert len(pool.futures) == 1
    pool.futures[0].set_result("done")
    assert first.done()
    assert first.result(1) == "done"
    assert not second.done()
    assert len(pool.futures) == 2
    assert told == ["started", 1, 2]
    made.request_shutdown()
    third = made._submit_iteration(3, 0)
    pool.futures[1].set_result("done")
    assert not third.done(), "nothing starts once the run is to end"


def test_a_pool_that_broke_between_two_iterations_is_told(workers):
    made, pool, told = workers
    pool.error = BrokenProcessPool("a child is gone")
    waiting = made._submit_iteration(1, 0)
    assert waiting.done()
    assert told[-1] == (1, pool.error)
    with pytest.raises(BrokenProcessPool):
        waiting.result(1)
