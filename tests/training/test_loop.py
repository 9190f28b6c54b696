from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import pytest
import torch
from training_jobs import CPU, Exploding, make_job, repeating_tokens, softmax

from openevolve_unified.records import TrainRun
from openevolve_unified.training import progress as progress_module
from openevolve_unified.training.checkpoint import load_checkpoint, save_checkpoint
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.loop import Findings, train
from openevolve_unified.training.step import TrainStep

DATA = repeating_tokens()


def _digest(model: torch.nn.Module) -> str:
    parameters = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return parameters.numpy().tobytes().hex()


def _train(job, path=None, progress=lambda report: None, mechanism=softmax, data=DATA) -> TrainRun:
    return train(job, mechanism, data, CPU, progress, path, _digest, checkpoint_interval_s=0.0)


def _timeless(run: TrainRun) -> TrainRun:
    return dataclasses.replace(run, train_time_s=0.0, tokens_per_s=0.0, energy_joules=None)


class _Interrupted(Exception):
    pass


def _interrupt_at(monkeypatch, step: int):
    """A progress callback that stops the run once ``step`` steps are done."""
    monkeypatch.setattr(progress_module, "PROGRESS_INTERVAL_S", 0.0)

    def progress(report) -> None:
        if report.step == step:
            raise _Interrupted

    return progress


def test_the_same_job_gives_the_same_bits():
    one, two = _train(make_job()), _train(make_job())
    assert _timeless(one) == _timeless(two)
    assert one.status == "finished"


def test_another_seed_gives_another_run():
    one, two = _train(make_job(seed=3)), _train(make_job(seed=4))
    assert one.final_loss_nats != two.final_loss_nats


def test_global_random_state_and_threads_do_not_matter():
    torch.manual_seed(1)
    one = _train(make_job())
    torch.manual_seed(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = _train(make_job())
    finally:
        torch.set_num_threads(threads)
    assert _timeless(one) == _timeless(two)


@pytest.mark.parametrize("step", [1, 15, 22, 39])
def test_an_interrupted_run_continues_to_the_same_bits(tmp_path, monkeypatch, step):
    path = tmp_path / "job.safetensors"
    with pytest.raises(_Interrupted):
        _train(make_job(), path, _interrupt_at(monkeypatch, step))
    assert path.exists() == (step > 1)
    steps_done = []
    resumed = _train(make_job(), path, lambda report: steps_done.append(report.step))
    assert _timeless(resumed) == _timeless(_train(make_job()))
    # The state is saved after the report, so the interrupted step itself is done again.
    assert steps_done[0] == step


def test_the_checkpoint_stays_until_the_caller_has_kept_the_record(tmp_path):
    path = tmp_path / "job.safetensors"
    _train(make_job(), path)
    assert path.exists()


def test_a_damaged_checkpoint_means_a_fresh_start_and_is_said(tmp_path, caplog):
    path = tmp_path / "job.safetensors"
    path.write_bytes(b"half a check")
    with caplog.at_level(logging.WARNING):
        run = _train(make_job(), path)
    assert "ignoring the checkpoint" in caplog.text
    assert _timeless(run) == _timeless(_train(make_job()))


def test_the_learning_curve_is_measured_every_so_many_steps_and_at_the_end():
    run = _train(make_job(training_steps=40, eval_frequency=15))
    assert [point.step for point in run.curve] == [15, 30, 40]
    assert run.curve[-1].validation_loss_nats == run.final_loss_nats
    assert run.curve[-1].validation_loss_nats < run.curve[0].validation_loss_nats
    assert run.step == 40


def test_the_final_loss_is_of_the_trained_weights_over_the_whole_validation_split():
    models = []

    def read(model) -> str:
        models.append(model)
        return "f"

    run = train(make_job(), softmax, DATA, CPU, lambda report: None, None, read)
    loss = mean_loss_nats(models[0], DATA.validation, 8, CPU)
    assert run.final_loss_nats == pytest.approx(loss, rel=1e-6)
    assert run.trained_fingerprint == "f"


def test_the_averaged_weights_are_the_mean_over_the_last_three_evaluation_points():
    def weights_after(num_steps: int) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []

        def read(model) -> str:
            found.extend(p.detach().clone() for p in model.parameters())
            return "f"

        train(make_job(training_steps=num_steps), softmax, DATA, CPU, lambda r: None, None, read)
        return found

    models = []
    job = make_job(training_steps=60, eval_frequency=15)
    run = train(job, softmax, DATA, CPU, lambda r: None, None, lambda m: models.append(m) or "f")
    points = [weights_after(step) for step in (30, 45, 60)]
    last = list(models[0].parameters())
    assert all(torch.equal(p, q) for p, q in zip(last, points[-1], strict=True)), "as trained"
    with torch.no_grad():
        for parameter, *values in zip(last, *points, strict=True):
            parameter.copy_(sum(values) / 3)
    expected = mean_loss_nats(models[0], DATA.validation, 8, CPU)
    assert run.averaged_loss_nats == pytest.approx(expected, rel=1e-5)
    assert run.averaged_loss_nats != run.final_loss_nats


@pytest.mark.parametrize(("steps", "is_averaged"), [(30, False), (31, True)])
def test_weights_are_averaged_from_three_points_on(steps, is_averaged):
    run = _train(make_job(training_steps=steps, eval_frequency=15))
    assert (run.averaged_loss_nats is not None) == is_averaged


def test_the_test_loss_is_of_the_trained_weights_over_the_whole_test_split():
    models = []
    run = train(
        make_job(), softmax, DATA, CPU, lambda r: None, None, lambda m: models.append(m) or "f"
    )
    expected = mean_loss_nats(models[0], DATA.test, 8, CPU)
    assert run.test_loss_nats == pytest.approx(expected, rel=1e-6)
    assert run.test_loss_nats != run.final_loss_nats
    assert run.curve[-1].validation_loss_nats == run.final_loss_nats, "no point of the curve"


def test_a_checkpoint_without_its_running_mean_means_a_fresh_start(tmp_path, monkeypatch, caplog):
    path = tmp_path / "job.safetensors"
    with pytest.raises(_Interrupted):
        _train(make_job(), path, _interrupt_at(monkeypatch, 22))
    checkpoint = load_checkpoint(path, make_job().key)
    del checkpoint.tensors["averaged_sum"]
    save_checkpoint(path, checkpoint)
    with caplog.at_level(logging.WARNING):
        run = _train(make_job(), path)
    assert "averaged_sum" in caplog.text
    assert _timeless(run) == _timeless(_train(make_job()))


def test_a_model_that_overflows_is_a_diverged_run_that_stops_at_once(monkeypatch):
    steps = []
    original = TrainStep.__call__

    def counting(self, tokens, step):
        loss = original(self, tokens, step)
        steps.append((step + 1, loss.item()))
        return loss

    monkeypatch.setattr(TrainStep, "__call__", counting)
    run = _train(make_job(), mechanism=lambda layer: Exploding())
    assert run.status == "diverged"
    assert run.final_loss_nats is None
    assert run.test_loss_nats is None
    assert run.averaged_loss_nats is None
    finite = [torch.tensor(loss).isfinite().item() for _, loss in steps]
    assert finite == [True] * (len(steps) - 1) + [False]
    assert run.step == steps[-1][0] < 40


def test_a_training_that_cannot_recover_is_stopped_with_the_reason():
    seen = []

    def hopeless(health):
        seen.append(health.points[-1].step if health.points else None)
        return SimpleNamespace(words="it is hopeless") if len(seen) > 1 else None

    run = train(
        make_job(training_steps=90, eval_frequency=40),
        *(softmax, DATA, CPU, lambda report: None, None, _digest),
        hopeless=hopeless,
    )
    assert (run.status, run.step, run.rejection) == ("diverged", 80, "it is hopeless")
    assert seen == [25, 75]
    assert [point.step for point in run.health.points] == [25, 50, 75]
    whole = train(
        make_job(training_steps=90, eval_frequency=40),
        *(softmax, DATA, CPU, lambda report: None, None, _digest),
    )
    assert (whole.status, whole.rejection) == ("finished", None)


def _train_inspected(job, mechanism, findings):
    seen = []

    def inspect(model):
        seen.append(model)
        return findings

    run = train(job, mechanism, DATA, CPU, print, None, _digest, inspect=inspect)
    return run, len(seen)


def test_what_is_found_in_trained_weights_is_in_the_record():
    changes = {"turn": 0.5}
    kept = Findings(final_loss_nats=2.5, parameter_changes=changes, certificate={"cut_seed": 7})
    run, _ = _train_inspected(make_job(), softmax, kept)
    assert (run.status, run.parameter_changes, run.certificate) == (
        "finished",
        changes,
        {"cut_seed": 7},
    )
    assert run.final_loss_nats == run.curve[-1].validation_loss_nats == 2.5
    refused = Findings(final_loss_nats=2.5, parameter_changes=changes, rejection="a leak")
    run, _ = _train_inspected(make_job(), softmax, refused)
    assert (run.status, run.rejection, run.certificate) == ("rejected", "a leak", {})


def test_only_a_model_whose_steps_did_not_diverge_is_inspected():
    """Certifying takes passes over the whole split, and a diverged model is refused anyway."""
    found = Findings(final_loss_nats=2.5)
    run, num_inspected = _train_inspected(make_job(), lambda layer: Exploding(), found)
    assert (run.status, num_inspected) == ("diverged", 0)
    assert _train_inspected(make_job(), softmax, found)[1] == 1


def test_a_model_whose_final_loss_is_not_finite_is_a_diverged_run_of_all_steps():
    run, _ = _train_inspected(make_job(), softmax, Findings(final_loss_nats=None))
    assert (run.status, run.step) == ("diverged", 40)
    assert run.final_loss_nats is run.test_loss_nats is run.averaged_loss_nats is None


def test_a_run_that_learns_is_finished():
    assert _train(make_job(training_steps=60)).final_loss_nats < 4.0


def test_progress_is_told_at_every_evaluation_and_otherwise_at_a_human_pace():
    reports = []
    run = _train(make_job(training_steps=40, eval_frequency=15), progress=reports.append)
    assert [report.step for report in reports if report.step in (15, 30, 40)] == [15, 30, 40]
    assert len(reports) <= 3 + run.train_time_s / progress_module.PROGRESS_INTERVAL_S
    last = reports[-1]
    assert last.total_steps == 40
    assert last.validation_loss_nats == run.final_loss_nats
    assert last.tokens_per_s > 0


def test_the_record_counts_the_parameters_that_were_trained():
    run = _train(make_job(training_steps=1))
    own = 2 * (2 + 16 * 16)
    assert run.num_params_total - run.num_params_non_embedding == 97 * 32
    assert run.num_params_non_embedding == 2 * (12 * 32 * 32 + 13 * 32) + 2 * 32 + own


def test_memory_does_not_grow_with_steps():
    import tracemalloc

    def peak(num_steps: int) -> int:
        tracemalloc.start()
        _train(make_job(training_steps=num_steps, eval_frequency=1000))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    peak(10)
    assert peak(120) < peak(30) + 100_000


def test_a_training_that_paused_goes_on_as_if_it_had_not_and_does_no_step_twice(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    job = make_job()
    pause = {"checkpoint_interval_s": 1e9, "pause_at": 30}

    def until(**more):
        return train(job, softmax, DATA, CPU, lambda report: None, path, _digest, **more)

    paused = until(**pause)
    assert (paused.status, paused.step, paused.final_loss_nats) == ("paused", 30, None)
    assert [point.step for point in paused.curve] == [15, 30]
    left = path.stat().st_mtime_ns
    assert _timeless(until(**pause)) == dataclasses.replace(_timeless(paused), step_kind="none")
    assert path.stat().st_mtime_ns == left, "nothing was left to do"
    assert load_checkpoint(path, job.key).step == 30
    assert _timeless(until()) == _timeless(_train(make_job()))
