"""A run's folder, read: what it says, and one line for what is no run or not ours to read."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from made_run import ABOVE_ON_TEST, MadeRun, runs_in

from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.shared_seeds import losses_by_seed
from openevolve_unified.validation.run_folder import read_run


@pytest.fixture
def made(tmp_path):
    return runs_in(tmp_path)


def refused(folder, *words, **options):
    with pytest.raises(ConfigError) as caught:
        read_run(folder, **options)
    for word in words:
        assert re.search(word, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_a_run_is_rebuilt_with_the_losses_of_every_seed(made):
    run = read_run(made("run"))
    assert run.unfinished is None
    assert run.has_winner
    assert (run.baseline["index"], run.best["index"]) == (0, 3)
    sizes = run.sizes_of(run.best)
    assert [size.size for size in sizes] == list(run.config.sizes)
    assert losses_by_seed(sizes)[0].tolist() == list(run.best["losses_nats"].values())
    own = sizes[0].runs[0]
    assert own.test_loss_nats == pytest.approx(own.final_loss_nats + ABOVE_ON_TEST)


def test_the_confirmation_is_found_in_the_store_by_its_scores(made):
    run = read_run(made("run"))
    made("another", "matrix_mixer")  # in the same store
    found = run.confirmed_evaluation()
    assert found.program.source == run.source_of(run.best)
    assert found.sizes[0].seeds == (1042, 1043, 1044, 1045)
    assert read_run(made("unconfirmed", num_confirmed=0)).confirmed_evaluation() is None


def test_a_confirmation_of_what_was_the_best_before_is_none(tmp_path):
    made = MadeRun(tmp_path / "run")
    assert read_run(made.folder).confirmation["verdict"] == "improved"
    made.judge(made.evaluation(made.source(9), 0.5), 9)
    run = read_run(made.folder)
    assert run.best["index"] == 5
    assert run.confirmation is None
    assert run.confirmed_evaluation() is None


def test_a_store_that_is_not_where_the_settings_say_is_asked_for(made, tmp_path):
    folder = made("run")
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"store is not found at .*; name it with --store DIR"):
        read_run(folder).confirmed_evaluation()
    assert read_run(folder, tmp_path / "elsewhere").confirmed_evaluation() is not None
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="losses of its confirmation are not in the store"):
        read_run(folder, tmp_path / "empty").confirmed_evaluation()


def test_a_store_relative_to_the_config_file_needs_that_file(made, tmp_path):
    folder = made("run", overrides=["scaling_law.execution.store_dir=kept"], num_confirmed=0)
    with pytest.raises(ConfigError, match="'kept', relative to a config file"):
        read_run(folder).require_store()
    (tmp_path / "kept").mkdir()
    store = read_run(folder, base_dir=tmp_path).require_store()
    assert store.root.parent == tmp_path / "kept"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cause": None}, "unfinished after 4 of 4 iterations: its last session says no end"),
        ({"cause": "interrupted", "gains": ()}, "unfinished after 1 of 4 .* 'interrupted'"),
    ],
)
def test_a_run_that_is_not_at_its_end_says_how_far_it_is(made, changes, words):
    assert re.match(words, read_run(made("run", **changes)).unfinished)
    assert read_run(made("stopped", cause="stopped")).unfinished is None


def test_a_run_whose_initial_program_was_not_scored_has_no_baseline(made):
    run = read_run(made("run", has_baseline=False, gains=(), num_confirmed=0))
    with pytest.raises(ConfigError, match="no baseline, because its initial program was not"):
        _ = run.baseline


def test_what_is_no_run_or_of_another_release_is_one_line(made, tmp_path):
    refused(tmp_path, "no folder of a run", "settings.json")
    folder = made("run")
    read_run(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["scaling_law"]["later_setting"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    refused(folder, "of another release", "later_setting", "release that made it")
    folder = made("later")
    lines = (folder / "events.jsonl").read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "format_version": 99})
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")
    refused(folder, "got the format 99, wanted 1")
    (folder / "events.jsonl").unlink()
    refused(folder, "without a header")


def test_damaged_files_are_named(made):
    run = read_run(made("run"))
    (run.path / "programs" / run.best["file"]).with_suffix(".json").write_text("{")
    with pytest.raises(ConfigError, match=r"\.json: damaged, wanted a JSON object"):
        run.sizes_of(run.best)
    details = run.details(run.baseline)
    del details["losses"][0]["runs"][0]["seed"]
    path = (run.path / "programs" / run.baseline["file"]).with_suffix(".json")
    path.write_text(json.dumps(details))
    with pytest.raises(ConfigError, match=r"losses beside it cannot be read \(run.seed: missing"):
        run.sizes_of(run.baseline)
    (run.path / "settings.json").write_text("[]")
    refused(run.path, r"settings\.json: damaged")


def test_a_run_of_a_cluster_can_be_read_on_this_machine(made):
    ray = ["scaling_law.execution.backend=ray", "scaling_law.execution.address=auto"]
    run = read_run(made("run", overrides=ray)).on_device("cpu")
    execution = run.config.execution
    assert (execution.backend, execution.address, execution.device) == ("local", None, "cpu")
    with pytest.raises(ConfigError, match="device: got 'gpu', wanted auto, cpu, cuda"):
        run.on_device("gpu")
