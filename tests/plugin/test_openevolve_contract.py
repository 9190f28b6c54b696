"""What our package relies on in OpenEvolve, whatever the release.

A failure here after an upgrade means: read the release, then adapt. What OpenEvolve does wrong and
we guard against is in test_openevolve_traps.py.
"""

from __future__ import annotations

import inspect
import pickle
import threading
from pathlib import Path

import pytest
from openevolve import process_parallel
from openevolve.config import Config, EvaluatorConfig, LLMModelConfig, load_config
from openevolve.evaluator import Evaluator
from openevolve.llm.ensemble import _PROVIDER_REGISTRY, _create_model
from openevolve.process_parallel import ProcessParallelController
from openevolve_release import database, program

from openevolve_unified.config.names import FAILURE_SCORE, METRIC_NAMES, UNTRAINED_SCORE
from openevolve_unified.plugin.answering.answer import Answer
from openevolve_unified.plugin.answering.exchange import Report
from openevolve_unified.plugin.population import RejectionFeedback

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_a_set_up_error_at_import_stops_openevolve(tmp_path):
    path = tmp_path / "evaluation_file.py"
    path.write_text("raise RuntimeError('no configuration')\n")
    with pytest.raises(RuntimeError, match="no configuration"):
        Evaluator(EvaluatorConfig(), str(path))


def test_a_client_of_ours_is_asked_whatever_the_provider():
    made = []
    config = LLMModelConfig(name="m", provider="openai", init_client=made.append)
    _create_model(config)
    assert made == [config]
    assert "openai" in _PROVIDER_REGISTRY


def test_an_iteration_is_a_call_with_its_number_the_programs_and_the_parent():
    names = list(inspect.signature(process_parallel._run_iteration_worker).parameters)
    assert names[:3] == ["iteration", "db_snapshot", "parent_id"]
    controller = ProcessParallelController.__new__(ProcessParallelController)
    controller.config, controller.database = Config(), database()
    controller.database.add(program("seed", None))
    controller.executor = calls = Calls()
    controller._submit_iteration(3, 0)
    ((function, iteration, snapshot, parent_id, *_),) = calls
    assert function is process_parallel._run_iteration_worker
    assert (iteration, parent_id) == (3, "seed")
    assert snapshot["programs"]["seed"]["code"] == "seed = 1"


class Calls(list):
    """Stands in for the pool of workers: remembers what is submitted."""

    def submit(self, *arguments):
        self.append(arguments)
        return object()


def test_a_result_carries_our_report_from_a_worker():
    result = process_parallel.SerializableResult(error="x", iteration=1)
    result.report = Report(answer=Answer(trouble="empty"), entry=None)
    back = pickle.loads(pickle.dumps(result))  # noqa: S301
    assert back.report == result.report
    assert back.child_program_dict is None
    assert back.artifacts is None


def test_every_candidate_is_saved():
    controller = ProcessParallelController.__new__(ProcessParallelController)
    controller.shutdown_event = threading.Event()
    controller.database = database()
    controller.config = Config(checkpoint_interval=1)
    taken = []
    for iteration in (1, 2, 3):
        controller._checkpoint_if_due(iteration, taken.append)
    assert taken == [1, 2, 3]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_saves_every_candidate_and_sorts_by_what_was_measured(path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not used")
    config = load_config(str(path))
    assert config.checkpoint_interval == 1
    dimensions = set(config.database.feature_dimensions)
    assert dimensions <= set(METRIC_NAMES)
    assert not dimensions & {"complexity", "diversity", "score"}


def test_the_scores_of_failures_are_far_below_any_slope_in_nats():
    assert FAILURE_SCORE < UNTRAINED_SCORE < -100


def test_failures_are_not_admitted_and_honest_programs_are():
    programs = database()
    assert programs.add(program("seed", None, combined_score=-0.4)) == "seed"
    assert programs.add(program("failure", combined_score=FAILURE_SCORE)) is None
    assert programs.add(program("untrained", combined_score=UNTRAINED_SCORE)) is None
    assert programs.add(program("honest", combined_score=-0.3, lookback=0.9)) == "honest"
    assert set(programs.programs) == {"seed", "honest"}
    assert programs.best_program_id == "honest"


def test_an_elite_gives_way_only_beyond_the_noise():
    programs = database()
    programs.add(program("seed", None, combined_score=0.10, lack_of_fit=0.02))
    programs.add(program("near", combined_score=0.11, lack_of_fit=0.02))
    (cell,) = programs.island_feature_maps[0].values()
    assert cell == "seed"
    programs.add(program("far", combined_score=0.20, lack_of_fit=0.02))
    (cell,) = programs.island_feature_maps[0].values()
    assert cell == "far"


def test_a_program_better_at_every_size_keeps_its_cell_whatever_its_slope():
    programs = database()

    def cell():
        return next(iter(programs.island_feature_maps[0].values()))

    programs.add(program("seed", None, combined_score=0.05))
    programs.add(program("helps", combined_score=0.10, dominance=1.0))
    assert cell() == "helps"
    programs.add(program("steep", combined_score=0.90))
    assert cell() == "helps"
    assert {"helps", "steep"} <= programs.islands[0], "both may become parents"
    programs.add(program("helps_more", combined_score=0.20, dominance=1.0))
    assert cell() == "helps_more"


def test_a_program_better_at_every_size_joins_without_taking_the_cell_of_a_better_score():
    programs = database()
    programs.add(program("seed", None, combined_score=0.05))
    programs.add(program("steep", combined_score=0.90))
    programs.add(program("helps", combined_score=0.10, dominance=1.0))
    assert next(iter(programs.island_feature_maps[0].values())) == "steep"
    assert {"steep", "helps"} <= programs.islands[0]


@pytest.mark.parametrize(("dominance", "is_kept"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_a_program_better_at_every_size_stays_in_a_full_population(dominance, is_kept):
    programs = database(population_size=4)
    programs.add(program("seed", None, combined_score=0.3))
    programs.add(program("helps", combined_score=0.1, dominance=dominance))
    for number, lookback in enumerate((0.0, 1.0, 0.4, 0.6, 0.8)):  # cells of their own
        score = 0.4 + number
        programs.add(program(f"other_{number}", combined_score=score, lookback=lookback))
    assert len(programs.programs) == 4
    assert ("helps" in programs.programs) is is_kept
    assert programs.best_program_id in programs.programs


def test_the_reason_of_a_rejection_reaches_the_next_prompts():
    programs = database()
    programs.add(program("seed", None))
    programs.store_artifacts("seed", {"verdict": "trained"})
    feedback = RejectionFeedback(programs)
    feedback.add("causality: it reads ahead")
    feedback.add("causality: it reads ahead")
    shown = programs.get_artifacts("seed")
    assert shown["verdict"] == "trained"
    assert shown["recently_rejected"].count("it reads ahead") == 1


def test_the_metric_names_are_unique():
    assert len(set(METRIC_NAMES)) == len(METRIC_NAMES)
