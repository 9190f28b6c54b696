"""What OpenEvolve does that would spoil a run, and what our package does about it, row by row.

Each trap is bound to the last release in which it was met, so that an upgrade that mends one turns
nothing red: then the guard is still right, and can perhaps go. What we rely on, whatever the
release, is in test_openevolve_contract.py. What our package does about each row is tested where
the table says:

    1   edits outside the block survive       tests/candidate/source/test_block.py
    2   a crash keeps the stage-1 score       tests/judgement/test_fitness.py
    3   a timeout scores 0                    tests/evaluation/test_pipeline.py (our own deadline)
    4   a timeout does not stop the work      tests/execution/test_pool.py (children are killed)
    5   exceptions are retried                tests/plugin/test_evaluator.py
    6   unknown keys pass silently            tests/config/test_experiment.py
    7   an unknown provider becomes OpenAI    tests/config/test_experiment.py
    8   a missing or NaN metric loses a child tests/judgement/test_fitness.py
    9   the evaluator's folder leads sys.path tests/test_layout.py
    10  the program file is deleted           tests/plugin/test_evaluator.py
    11  Ctrl-C takes no last checkpoint       tests/scenarios/test_main_job.py (interrupt, kill -9)
    12  workers get a copy of the environment tests/execution/test_pool.py, tests/isolation
    13  built-in features count characters    test_openevolve_contract.py
    14  a dead backend does not stop a run    test_observed.py, test_stopping.py, tests/scenarios
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time

import pytest
from openevolve import OpenEvolve, process_parallel
from openevolve.config import Config, DatabaseConfig, EvaluatorConfig, LLMModelConfig, load_config
from openevolve.database import ProgramDatabase
from openevolve.evaluator import Evaluator
from openevolve.llm.ensemble import _create_model
from openevolve.llm.openai import OpenAILLM
from openevolve.process_parallel import ProcessParallelController
from openevolve_release import database, program, seen_up_to

from openevolve_unified.config.names import UNTRAINED_SCORE


@pytest.fixture
def evaluate(tmp_path):
    """Run OpenEvolve's own evaluator on an evaluation file with this body."""

    def evaluate(body, **settings):
        path = tmp_path / "evaluation_file.py"
        path.write_text(body)
        settings = {"timeout": 20, "max_retries": 0, "cascade_evaluation": False, **settings}
        evaluator = Evaluator(EvaluatorConfig(**settings), str(path))
        return asyncio.run(evaluator.evaluate_program("pass\n", "id"))

    return evaluate


@seen_up_to("0.4.0")
def test_row_1_enforcing_blocks_does_not_reach_the_workers():
    controller = ProcessParallelController.__new__(ProcessParallelController)
    controller.file_suffix = ".py"
    config = Config(enforce_evolve_blocks=True)
    assert "enforce_evolve_blocks" not in controller._serialize_config(config)


@seen_up_to("0.4.1")
def test_row_2_a_crash_after_a_passed_stage_keeps_that_stage_score(evaluate):
    body = (
        "def evaluate(path): return evaluate_stage1(path)\n"
        f"def evaluate_stage1(path): return {{'combined_score': {UNTRAINED_SCORE}}}\n"
        "def evaluate_stage2(path): raise RuntimeError('crash')\n"
    )
    metrics = evaluate(body, cascade_evaluation=True, cascade_thresholds=[UNTRAINED_SCORE])
    assert metrics["combined_score"] == UNTRAINED_SCORE


@seen_up_to("0.4.1")
def test_row_3_a_timeout_scores_zero(evaluate):
    body = "import time\ndef evaluate(path): time.sleep(3)\n"
    assert evaluate(body, timeout=1) == {"error": 0.0, "timeout": True}


@seen_up_to("0.4.1")
def test_row_4_a_timeout_does_not_stop_the_work_and_blocks_the_next_evaluation(tmp_path):
    path, calls = tmp_path / "evaluation_file.py", tmp_path / "calls"
    path.write_text(
        "import os, time\n"
        "def evaluate(path):\n"
        f"    is_first = not os.path.exists({str(calls)!r})\n"
        f"    with open({str(calls)!r}, 'a') as f: f.write('started ')\n"
        "    if is_first:\n"
        "        time.sleep(3)\n"
        f"        with open({str(calls)!r}, 'a') as f: f.write('worked on ')\n"
        "    return {'combined_score': 1.0}\n"
    )
    settings = {"timeout": 1, "max_retries": 0, "cascade_evaluation": False}
    evaluator = Evaluator(EvaluatorConfig(**settings, parallel_evaluations=1), str(path))

    async def two():
        return [await evaluator.evaluate_program("pass\n", name) for name in ("slow", "quick")]

    slow, quick = asyncio.run(two())
    assert slow == quick == {"error": 0.0, "timeout": True}, "the quick one never began in time"
    deadline = time.monotonic() + 20
    while "worked on" not in calls.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "worked on" in calls.read_text()


@seen_up_to("0.4.1")
def test_row_5_an_exception_is_retried_and_then_scores_zero(evaluate, tmp_path, capfd):
    body = (
        f"def evaluate(path):\n    with open({str(tmp_path / 'calls')!r}, 'a') as f: f.write('x')\n"
        "    raise RuntimeError('bad set-up')\n"
    )
    assert evaluate(body, max_retries=1) == {"error": 0.0}
    assert (tmp_path / "calls").read_text() == "xx"


@seen_up_to("0.4.1")
def test_row_6_unknown_keys_and_missing_files_pass_silently(tmp_path):
    (tmp_path / "x.yaml").write_text("max_iterashuns: 3\n")
    assert load_config(str(tmp_path / "x.yaml")).max_iterations == 10_000
    assert load_config(str(tmp_path / "none.yaml")).max_iterations == 10_000


@seen_up_to("0.4.1")
def test_row_7_an_unknown_provider_becomes_openai():
    config = LLMModelConfig(name="m", provider="gramar", api_key="k", api_base="http://127.0.0.1:1")
    config.retries = 0
    assert isinstance(_create_model(config), OpenAILLM)


@seen_up_to("0.4.1")
def test_row_8_a_missing_feature_loses_the_child_and_infinity_spoils_the_map():
    programs = database()
    programs.add(program("seed", None))
    missing = program("missing")
    del missing.metrics["lookback"]
    with pytest.raises(ValueError, match="lookback"):
        programs.add(missing)
    programs.add(program("infinite", lookback=math.inf))
    programs.add(program("first", lookback=0.3))
    programs.add(program("second", lookback=0.9, combined_score=0.9))
    (cells,) = programs.island_feature_maps
    assert "0" in cells, "finite values now all fall into the first bin"
    assert "first" not in cells.values()


@seen_up_to("0.4.1")
def test_rows_9_and_10_the_path_the_program_file_and_the_module(evaluate, tmp_path):
    body = (
        "import sys\n"
        f"with open({str(tmp_path / 'executions')!r}, 'a') as f: f.write('x')\n"
        "def evaluate(path): return evaluate_stage1(path)\n"
        "def evaluate_stage1(path):\n"
        f"    with open({str(tmp_path / 'path')!r}, 'w') as f: f.write(path)\n"
        "    return {'combined_score': 1.0}\n"
        "def evaluate_stage2(path): return {'combined_score': 2.0}\n"
    )
    evaluate(body, cascade_evaluation=True, cascade_thresholds=[0.0])
    assert sys.path[0] == str(tmp_path)
    sys.path.remove(str(tmp_path))
    assert not os.path.exists((tmp_path / "path").read_text()), "the program file is deleted"
    assert len((tmp_path / "executions").read_text()) > 1, "the module is executed again"


@seen_up_to("0.4.1")
def test_row_11_a_shutdown_takes_no_checkpoint_between_the_intervals():
    controller = ProcessParallelController.__new__(ProcessParallelController)
    controller.shutdown_event = threading.Event()
    controller.database = database()
    taken = []
    for interval, wanted in ((10, []), (1, [1, 2, 3])):
        controller.config = Config(checkpoint_interval=interval)
        taken.clear()
        for iteration in (1, 2, 3):
            controller._checkpoint_if_due(iteration, taken.append)
        controller.request_shutdown()
        assert taken == wanted


@seen_up_to("0.4.1")
def test_row_12_workers_start_with_a_copy_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANTED_API_KEY", "a planted secret")
    given = {}

    class Pool:
        def __init__(self, **arguments):
            given.update(arguments)

    monkeypatch.setattr(process_parallel, "ProcessPoolExecutor", Pool)
    programs = database()
    controller = ProcessParallelController(Config(), str(tmp_path / "none.py"), programs)
    controller.start()
    assert any(
        isinstance(value, dict) and value.get("PLANTED_API_KEY") == "a planted secret"
        for value in given["initargs"]
    )


@seen_up_to("0.4.1")
def test_row_13_the_built_in_features_count_characters():
    programs = ProgramDatabase(
        DatabaseConfig(num_islands=1, feature_dimensions=["complexity", "diversity"])
    )
    programs.add(program("seed", None))
    longer = program("longer")
    longer.code = programs.get("seed").code + "  # the same mechanism, and a long remark"
    programs.add(longer)
    assert programs.feature_stats["complexity"]["max"] == len(longer.code)
    assert programs.feature_stats["diversity"]["max"] > 0, "the remark counts as diversity"


@seen_up_to("0.4.0")
def test_row_14_a_failed_call_uses_up_an_iteration_and_the_run_goes_on(tmp_path, caplog):
    (tmp_path / "evaluation_file.py").write_text(
        "def evaluate(path): return {'combined_score': 1.0}\n"
    )
    (tmp_path / "initial.py").write_text("x = 1\n")
    dead = LLMModelConfig(
        name="m", api_key="k", api_base="http://127.0.0.1:1", retries=0, timeout=5, weight=1.0
    )
    config = Config(max_iterations=3, checkpoint_interval=1)
    config.llm.models = config.llm.evaluator_models = [dead]
    config.evaluator = EvaluatorConfig(timeout=20, cascade_evaluation=False)
    config.database.num_islands = 1
    run = OpenEvolve(
        initial_program_path=str(tmp_path / "initial.py"),
        evaluation_file=str(tmp_path / "evaluation_file.py"),
        config=config,
        output_dir=str(tmp_path / "out"),
    )
    try:
        with caplog.at_level("WARNING"):
            best = asyncio.run(run.run(iterations=3))
    finally:
        if str(tmp_path) in sys.path:
            sys.path.remove(str(tmp_path))
    assert best is not None
    assert best.code == "x = 1\n"
    failures = [r for r in caplog.records if "LLM generation failed" in r.getMessage()]
    assert len(failures) == 3, [r.getMessage() for r in caplog.records]
