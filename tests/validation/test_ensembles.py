"""The ensemble of a real, tiny run: right sums, right members, and weights that must be there."""

from __future__ import annotations

import functools
import json
import math
import shutil

import numpy as np
import pytest
import torch
from json_keys import undocumented
from tiny_ladder import INITIAL, ROOT

from openevolve_unified import ScalingLawEvaluator, exits
from openevolve_unified.cli.app import main
from openevolve_unified.config.experiment import load_experiment
from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.errors import ConfigError
from openevolve_unified.evaluation.machine import Machine
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.report.ensemble_table import ensemble_lines
from openevolve_unified.runs.event_log import EventLog
from openevolve_unified.runs.events import SessionEnded, SessionStarted, nobody
from openevolve_unified.validation.ensembles.tasks import _Sums
from openevolve_unified.validation.ensembles.top import (
    best_members,
    ensemble_losses,
    measure_ensemble,
)
from openevolve_unified.validation.run_folder import read_run

WEAKER = INITIAL.replace("return z\n", "return 0.2 * z\n")
SHARPER = INITIAL.replace("return z\n", "return 4.0 * z\n")
RENAMED = INITIAL.replace("return z\n", "other = z\n        return other\n")
SETTINGS = {
    "ladder": "[{hidden_dim: 16, num_layers: 1, num_heads: 2}, {hidden_dim: 24, num_layers: 1, "
    "num_heads: 3}, {hidden_dim: 32, num_layers: 1, num_heads: 4}]",
    "data.num_documents": 600,
    "data.vocab_size": 300,
    "data.seq_len": 16,
    "data.validation_sequences": 30,
    "data.test_sequences": 32,
    "training.training_steps": 20,
    "training.batch_size": 8,
    "training.eval_frequency": 10,
    "training.warmup_steps": 5,
    "training.seeds": [42, 43],
    "noise.mode": "none",
    "selection.num_confirmation_seeds": 0,
    "execution.device": "cpu",
    "execution.num_workers": 1,
    "execution.keep_weights": "all",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One set of workers for all of this file."""
    execution = ExecutionConfig(device="cpu", precision="float32", num_workers=1)
    with Machine(execution, tmp_path_factory.mktemp("logs")) as machine:
        yield machine


@pytest.fixture(scope="module")
def measure(machine):
    return functools.partial(measure_ensemble, listener=nobody, machine=machine)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, machine):
    place = tmp_path_factory.mktemp("ensemble")
    settings = [f"scaling_law.{name}={value}" for name, value in SETTINGS.items()]
    settings.append(f"scaling_law.data.cache_dir={place / 'cache'}")
    experiment = load_experiment(ROOT / "configs" / "quickstart.yaml", settings, place / "run")
    log = EventLog(place / "run" / "events.jsonl")
    log(
        SessionStarted(
            is_resumed=False,
            config_hash=experiment.hash,
            framework=experiment.scaling_law.framework,
            horizon=experiment.scaling_law.training.horizon,
            num_iterations=3,
        )
    )
    with ScalingLawEvaluator(config=experiment, log=log, machine=machine) as evaluator:
        evaluator.run_directory.save_settings(experiment)
        evaluator.judge(experiment.initial_program)
        for number, source in enumerate((WEAKER, RENAMED, SHARPER)):
            path = place / f"{number}.py"
            path.write_text(source)
            evaluator.judge(path)
    log(SessionEnded(cause="done"))
    return place / "run"


@pytest.fixture(scope="module")
def report(folder, measure):
    run = read_run(folder)
    return measure(run, best_members(run, 3), with_test=True)


def test_members_are_the_best_distinct_mechanisms(folder, report):
    run = read_run(folder)
    assert len(run.told.entries) == 4
    members = report.members
    assert len({member.fingerprint for member in members}) == 3
    assert [member.file[:4] for member in members].count("0002") == 0, "it is a renamed 0000"
    assert [m.score for m in members] == sorted((m.score for m in members), reverse=True)
    assert [m.file for m in best_members(run, 2)] == [m.file for m in members[:2]]


def test_every_member_has_the_loss_of_its_record(report):
    assert report.seeds == (42, 43)
    for place, member in enumerate(report.members):
        recorded = [member.runs[seed].final_loss_nats for seed in report.seeds]
        assert report.validation.members[place].value == pytest.approx(np.mean(recorded), abs=1e-6)
        on_test = [member.runs[seed].test_loss_nats for seed in report.seeds]
        assert report.test.members[place].value == pytest.approx(np.mean(on_test), abs=1e-6)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_averaged_predictions_are_never_worse_than_the_mean_member(report, split):
    losses = getattr(report, split)
    assert losses.over_mean.value < 0
    assert losses.over_mean.num_seeds == 2
    means = [member.value for member in losses.members]
    assert losses.ensemble.value == pytest.approx(np.mean(means) + losses.over_mean.value)
    assert losses.over_best.value == pytest.approx(
        losses.ensemble.value - means[losses.best_member]
    )
    agreement, divergence = np.array(losses.agreement), np.array(losses.divergence_nats)
    assert (np.diag(agreement) == 1).all()
    assert (np.diag(divergence) == 0).all()
    assert np.array_equal(divergence, divergence.T)
    assert (divergence[~np.eye(3, dtype=bool)] > 0).all()
    assert (divergence < math.log(2)).all()
    assert ((agreement >= 0) & (agreement <= 1)).all()


def test_the_best_member_is_named_by_the_validation_split_alone():
    outcome = {"agreement": np.eye(2), "divergence_nats": np.zeros((2, 2))}
    on_test = {**outcome, "losses_nats": [2.0, 1.0], "ensemble_loss_nats": 1.2}
    losses = ensemble_losses("test", [on_test], best=0)
    assert losses.best_member == 0
    assert losses.over_best == Estimate(value=1.2 - 2.0)


def test_sums_over_positions_are_those_of_the_definitions():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(3, 50, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(7, (50,), generator=generator)
    sums = _Sums(3)
    for rows in (slice(0, 20), slice(20, 50)):
        sums.add(logits[:, rows].log_softmax(-1), targets[rows])
    found = sums.means()
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    rows = np.arange(50)
    assert found["losses_nats"] == pytest.approx(-np.log(p[:, rows, targets]).mean(-1))
    assert found["ensemble_loss_nats"] == pytest.approx(-np.log(p.mean(0)[rows, targets]).mean())
    for i, j in ((0, 1), (0, 2), (1, 2)):
        middle = (p[i] + p[j]) / 2
        wanted = sum((p[k] * np.log(p[k] / middle)).sum(-1).mean() / 2 for k in (i, j))
        assert found["divergence_nats"][i][j] == pytest.approx(wanted)
        same = (p[i].argmax(-1) == p[j].argmax(-1)).mean()
        assert found["agreement"][j][i] == pytest.approx(same)


def test_the_test_split_is_told_only_when_it_is_asked_for(folder, report, measure):
    run = read_run(folder)
    without = measure(run, best_members(run, 2))
    assert without.test is None
    assert "the test split was not asked for" in "\n".join(ensemble_lines(without))
    text = "\n".join(ensemble_lines(report))
    assert "test split (pairs" in text
    assert "not asked for" not in text


@pytest.mark.slow
def test_the_command_prints_and_writes(folder, tmp_path, capsys):
    written = tmp_path / "ensemble.json"
    asked = ["ensemble", str(folder), "--top", "2", "--device", "cpu", "--output", str(written)]
    assert main([*asked, "--json"]) == exits.DONE
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert undocumented("ensemble", plain) == []
    assert plain == json.loads(written.read_text())
    assert [len(member["runs"]) for member in plain["members"]] == [2, 2]


def test_an_output_that_cannot_be_written_is_one_line_before_anything_is_measured(
    folder, monkeypatch, capsys, tmp_path
):
    def measure(*args, **kwargs):
        raise AssertionError("it was measured")

    monkeypatch.setattr("openevolve_unified.validation.ensembles.top.best_members", measure)
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "ensemble.json"
    assert main(["ensemble", str(folder), "--output", str(output)]) == exits.WRONG
    assert f"error: cannot write {output.parent}" in capsys.readouterr().err


def test_the_command_says_in_one_line_what_it_cannot_do(folder, capsys):
    assert main(["ensemble", str(folder), "--top", "9"]) == exits.WRONG
    assert capsys.readouterr().err.startswith("error: --top 9: run has 3 distinct")


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "got 1, wanted 2 or more"), (4, "has 3 distinct trained mechanisms among its 4 programs")],
)
def test_too_few_or_too_many_members_are_refused(folder, number, words):
    with pytest.raises(ConfigError, match=words):
        best_members(read_run(folder), number)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the run and its store, to be damaged."""
    shutil.copytree(folder.parent, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "copy" / "run"


def weights_of(run, member, seed):
    return run.store.path("weights", member.runs[seed].job_key, ".safetensors")


def test_weights_that_were_not_kept_are_said_with_how_to_keep_them(copied, measure):
    run = read_run(copied)
    members = best_members(run, 3)
    weights_of(run, members[1], 43).unlink()
    with pytest.raises(ConfigError) as caught:
        measure(run, members)
    text = str(caught.value)
    assert f"1 of the 3 programs have no kept weights ({members[1].file})" in text
    assert "scaling_law.execution.keep_weights=all" in text
    assert "\n" not in text


def test_weights_of_another_model_are_refused(copied, measure):
    run = read_run(copied)
    members = best_members(run, 2)
    shutil.copyfile(weights_of(run, members[0], 43), weights_of(run, members[0], 42))
    with pytest.raises(ConfigError, match="the weights are damaged, or not those of this run"):
        measure(run, members)


def test_a_program_that_is_refused_today_is_one_line(copied, measure):
    run = read_run(copied)
    members = best_members(run, 2)
    path = copied / "programs" / members[1].file
    path.write_text(path.read_text().replace("import torch\n", "import os\nimport torch\n", 1))
    with pytest.raises(ConfigError, match=r"was trained, and is refused today at stage 'block': "):
        measure(run, members)


def test_a_text_beside_a_config_file_that_is_not_known_is_asked_for(copied, measure):
    config = copied / "config.yaml"
    text = config.read_text().replace("source: stories", "source: text\n    path: my.txt")
    config.write_text(text)
    run = read_run(copied)
    with pytest.raises(ConfigError, match=r"its text is at 'my.txt'.*name that file with --config"):
        measure(run, best_members(run, 2))


def test_a_job_that_the_settings_do_not_give_is_refused(copied, measure):
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("learning_rate: 0.003", "learning_rate: 0.002"))
    run = read_run(copied)
    with pytest.raises(ConfigError, match="is of another job than the run's settings give"):
        measure(run, best_members(run, 2))
