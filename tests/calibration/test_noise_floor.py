"""The noise floor on a tiny ladder: trained once, stored by configuration, refused by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.calibration.noise_floor import measure_noise_floor, noise_seeds, run_noise
from openevolve_unified.calibration.noise_record import (
    find_noise,
    keep_noise,
    require_noise,
    write_copy,
)
from openevolve_unified.config.noise import NoiseConfig
from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.records import Evaluation
from openevolve_unified.store import Store

CONFIG = Path("my.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("noise")


@pytest.fixture(scope="module")
def base(folder, one_worker):
    """A pipeline whose machine all tests share, and its events."""
    config = tiny_config(folder, ExecutionConfig(num_workers=1, deadline_s=240), eval_frequency=7)
    # The twin's two operators would be over a budget of nothing more than the initial program.
    config = dataclasses.replace(config, gates=GatesConfig(max_flops_ratio=1.0))
    pipeline, events = build_pipeline(config, folder, "store", one_worker)
    return pipeline, events


@pytest.fixture(scope="module")
def measured(base):
    pipeline, _ = base
    titles = []
    seeds = noise_seeds(pipeline.config, 2).noise
    noise = measure_noise_floor(pipeline, seeds, True, titles.append)
    assert titles == ["noise: initial program, 2 seeds", "noise: rounding twin, 2 seeds"]
    return noise


def variant(base, folder, store="store", **changes):
    """A pipeline of another configuration on the same machine."""
    config = dataclasses.replace(base[0].config, **changes)
    return build_pipeline(config, folder, store, base[0].context.machine)


def stored_runs(folder, store="store"):
    return {
        path.stem: path.stat().st_mtime_ns for path in (folder / store / "runs").rglob("*.json")
    }


def test_every_seed_and_size_of_both_programs_is_trained_once(base, measured, folder):
    before = stored_runs(folder)
    assert len(before) == 2 * 2 * 3
    again = measure_noise_floor(base[0], measured.seeds, True, lambda title: None)
    assert again == measured
    assert stored_runs(folder) == before


def test_a_run_at_a_measured_seed_trains_its_baseline_no_more(base, measured, folder):
    before = stored_runs(folder)
    result = base[0].evaluate(INITIAL)
    assert isinstance(result, Evaluation)
    assert stored_runs(folder) == before
    (row,) = np.flatnonzero(np.array(measured.seeds) == 42)
    assert [size.losses_nats[0] for size in result.sizes] == list(measured.losses()[row])


def test_more_seeds_train_only_the_new_ones(base, measured, folder):
    other, _ = variant(base, folder)
    more = measure_noise_floor(other, (*measured.seeds, 7), False, lambda title: None)
    assert len(stored_runs(folder)) == 2 * 2 * 3 + 3
    assert not more.has_twin
    assert np.array_equal(more.losses()[:2], measured.losses())
    assert find_noise(base[0]) == measured, "12 models are kept, not 9"


def test_the_twin_differs_by_its_rounding(measured):
    difference = np.abs(np.asarray(measured.twin["last"]) - measured.losses())
    assert (difference > 0).any()
    assert difference.max() < 0.1
    floor = measured.floor()
    assert floor.num_params == measured.num_params
    assert floor.twin_sd is not None


def test_the_curve_and_the_averaged_weights_give_other_readings_of_the_same_runs(measured):
    # 20 steps, evaluated every 7: three points, as many as weights are averaged over.
    means = [f"mean of the last {number} evaluations" for number in (2, 3)]
    assert list(measured.baseline) == list(measured.twin) == ["last", *means, "averaged weights"]
    # The loss falls: the more of the past a reading has, the higher it is.
    for earlier, later in zip((*means[::-1],), (means[0], "last"), strict=True):
        assert (measured.losses(earlier) > measured.losses(later)).all()
    assert (measured.losses("averaged weights") > measured.losses()).all()


def test_a_floor_of_fewer_models_does_not_replace_one_of_more(measured, tmp_path):
    store = Store(tmp_path)
    assert keep_noise(store, measured) == measured
    alone = dataclasses.replace(measured, twin={})
    assert keep_noise(store, alone) == measured
    assert keep_noise(store, measured) == measured


def test_the_copy_can_be_read_by_anyone(measured, tmp_path):
    found = json.loads(write_copy(measured, tmp_path).read_text())
    assert found["baseline"]["last"] == measured.losses().tolist()
    assert found["settings"]["scaling_law.training.training_steps"] == 20


def test_seeds_deadline_and_workers_make_no_other_configuration(base, measured, folder):
    training = dataclasses.replace(base[0].config.training, seeds=(1, 2))
    execution = dataclasses.replace(base[0].config.execution, deadline_s=99)
    other, _ = variant(base, folder, training=training, execution=execution)
    assert require_noise(other, CONFIG) == measured


def test_a_floor_of_another_configuration_is_named_by_the_setting_that_differs(
    base, measured, folder
):
    training = dataclasses.replace(base[0].config.training, training_steps=30)
    other, _ = variant(base, folder, training=training)
    assert find_noise(other) is None
    with pytest.raises(ConfigError) as caught:
        require_noise(other, CONFIG)
    assert str(caught.value) == (
        "noise: the floor that is stored is of another configuration: "
        "scaling_law.training.training_steps is 30 here and was 20 there; measure it: "
        "openevolve-unified noise my.yaml"
    )


def test_other_data_are_named_by_their_setting_and_another_program_by_its_hash(
    base, measured, folder
):
    data = dataclasses.replace(base[0].config.data, num_documents=700)
    other, _ = variant(base, folder, data=data)
    with pytest.raises(
        ConfigError, match=r"scaling_law.data.num_documents is 700 here and was 600"
    ):
        require_noise(other, CONFIG)
    edited, _ = variant(base, folder)
    edited.initial = dataclasses.replace(edited.initial, source=INITIAL + "\n")
    with pytest.raises(ConfigError, match=r"scaling_law.initial_program is '"):
        require_noise(edited, CONFIG)


def test_without_any_floor_the_command_that_measures_it_is_named(base, folder):
    other, _ = variant(base, folder, store="empty")
    with pytest.raises(ConfigError, match=r"no floor is stored.*openevolve-unified noise my.yaml"):
        require_noise(other, CONFIG)


def test_a_damaged_record_is_none(base, measured, folder):
    other, _ = variant(base, folder, store="damaged")
    keep_noise(other.context.store, measured)
    assert find_noise(other) == measured
    (path,) = (folder / "damaged" / "noise").rglob("*.json")
    record = json.loads(path.read_text())
    record["baseline"]["last"].pop()
    path.write_text(json.dumps(record))
    assert find_noise(other) is None


def test_a_run_measures_demands_or_does_without(base, measured, folder):
    before = stored_runs(folder)

    def run_with(store="store", **noise):
        other, _ = variant(base, folder, store=store, noise=NoiseConfig(**noise))
        return run_noise(other, CONFIG, lambda title: None)

    assert run_with(mode="none") is None
    assert run_with(mode="stored") == measured
    assert run_with(mode="measure", num_seeds=2, twin=True) == measured
    assert stored_runs(folder).keys() >= before.keys()
    with pytest.raises(ConfigError, match="no floor is stored"):
        run_with(store="none", mode="stored")
    fresh = run_with(store="fresh", mode="measure", num_seeds=2)
    assert fresh is not None
    assert np.array_equal(fresh.losses(), measured.losses())
    assert not fresh.has_twin


def test_a_baseline_that_diverges_measures_nothing(base, folder):
    training = dataclasses.replace(base[0].config.training, learning_rate=1e30)
    other, _ = variant(base, folder, store="diverged", training=training)
    with pytest.raises(ConfigError, match=r"noise: .*refused at stage 'diverged' with the seeds"):
        measure_noise_floor(other, (42, 43), False, lambda title: None)
    assert find_noise(other) is None


def test_fewer_than_two_seeds_are_refused_and_two_accepted(base):
    with pytest.raises(ConfigError, match="noise seeds: got 1, wanted 2 or more: one value"):
        noise_seeds(base[0].config, 1)
    with pytest.raises(ConfigError, match="num_seeds: got 1, wanted 2 or more: one value"):
        NoiseConfig(num_seeds=1)
    assert NoiseConfig(num_seeds=2).num_seeds == 2
    plan = noise_seeds(base[0].config, 2)
    assert plan.noise == (42, 43)
    # The first five are those at which a run trains its baseline anyway.
    plan = noise_seeds(base[0].config, 8)
    assert plan.noise[:5] == (*plan.search, *plan.confirmation)
