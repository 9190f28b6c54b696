"""One size, with contestants whose times are known; and what a failing process does."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_eager_twin import JOB

from openevolve_unified.bench.contestant import ContestantError, Entry
from openevolve_unified.bench.ladder_steps import Setting, measure_size, started
from openevolve_unified.bench.results import CopyLimit, Limits, MatrixLimit

LIMITS = Limits(
    machine="m",
    matrix=(
        MatrixLimit(precision="float32", num_threads=1, gflops=10.0, shape=(1, 1, 1)),
        MatrixLimit(precision="float32", num_threads=2, gflops=16.0, shape=(1, 1, 1)),
    ),
    copy=(
        CopyLimit(num_threads=1, gbytes_per_s=4.0),
        CopyLimit(num_threads=2, gbytes_per_s=8.0),
    ),
)
SETTING = Setting(
    trace_path=Path("t"), gates={}, data_folder=None, device="cpu", step_kind="captured"
)
OURS = Entry(label="ours, float32", kind="ours", precision="float32", num_threads=1)
EAGER = Entry(label="eager", kind="eager", precision="float32", num_threads=2)
PEER = Entry(label="transformers", kind="transformers", precision="float32", num_threads=2)


BUILT = {"step_kind": "plain", "build_s": 0.5}


class Fake:
    """Multiplies 4e9 times and touches 2e9 bytes per step, in the listed seconds, in order."""

    def __init__(self, entry, *step_s, failure=None, fails_at="prepare"):
        self.entry = entry
        # What the eager loop's fused attention multiplies is not seen.
        self.product_flops = 4e9 if entry is OURS else 1e9
        self._step_s = iter(step_s)
        self._failure = failure
        self.asked = {}
        self._fails_at = fails_at

    def ask(self, operation, **arguments):
        self.asked[operation] = arguments
        if self._failure and operation == self._fails_at:
            raise ContestantError(self._failure)
        answers = {
            "prepare": {"step_s": 1.0, "num_params_non_embedding": 7, **BUILT},
            "peak": {"peak_bytes": 5},
            "steps": {"num_bytes": 2e9, "product_flops": self.product_flops, "seconds": 99.0},
            "validate": {"validation_s": 3.0, "hidden_s": 2.0},
        }
        return answers[operation]

    def seconds(self, num_steps):
        return num_steps * next(self._step_s)


def measure(*fakes):
    skipped = []
    found = measure_size(list(fakes), JOB, SETTING, LIMITS, 3, 30.0, skipped)
    return {result.contestant: result for result in found}, skipped


def test_a_contestant_is_told_the_configured_form_of_a_step():
    fake = Fake(OURS, 1.0, 1.0, 1.0)
    measure(fake, Fake(EAGER, 1.0, 1.0, 1.0))
    assert fake.asked["prepare"]["step_kind"] == SETTING.step_kind


def test_medians_shares_and_ratios_follow_from_the_times():
    results, skipped = measure(Fake(OURS, 0.5, 2.0, 0.4), Fake(EAGER, 1.0, 1.0, 9.0))
    ours, eager = results["ours, float32"], results["eager"]
    assert (ours.step_s, eager.step_s) == (0.5, 1.0)
    assert (ours.ratio.value, ours.ratio.low, ours.ratio.high) == (2.0, 0.5, 22.5)
    assert eager.ratio is None
    assert ours.matrix_share == pytest.approx(4 / 0.5 / 10)
    assert eager.matrix_share == pytest.approx(4 / 1.0 / 16)
    assert ours.memory_share == pytest.approx(2 / 0.5 / 4)
    assert eager.memory_share == pytest.approx(2 / 1.0 / 8)
    assert ours.validation_s == 3.0
    assert ours.tokens_per_s == pytest.approx(8 * 16 / 0.5)
    assert skipped == []


@pytest.mark.parametrize("fails_at", ["prepare", "steps"])
def test_a_peer_that_fails_is_left_out_and_said(fails_at):
    failure = "transformers failed:\nTraceback\nTypeError: no such argument"
    broken = Fake(PEER, 3, 3, 3, failure=failure, fails_at=fails_at)
    results, skipped = measure(Fake(OURS, 1, 1, 1), Fake(EAGER, 2, 2, 2), broken)
    assert set(results) == {"ours, float32", "eager"}
    assert skipped == ["transformers at 32x2: TypeError: no such argument"]


def test_a_peer_is_not_asked_for_what_nobody_uses():
    results, skipped = measure(
        Fake(OURS, 1, 1, 1),
        Fake(EAGER, 2, 2, 2),
        Fake(PEER, 3, 3, 3, failure="asked", fails_at="validate"),
    )
    assert results["transformers"].validation_s is None
    assert (results["eager"].validation_s, skipped) == (3.0, [])


def test_ours_failing_is_an_error():
    with pytest.raises(ContestantError, match="out of memory"):
        measure(Fake(OURS, failure="out of memory"), Fake(EAGER, 2, 2, 2))


def test_a_process_that_fails_says_why_goes_on_and_ends_with_its_parent(tmp_path):
    with started([OURS], tmp_path / "log") as (contestant,):
        assert contestant.start_s > 0
        with pytest.raises(ContestantError, match="KeyError: 'nonsense'"):
            contestant.ask("nonsense")
        assert contestant.ask("ready") == {}
        process = contestant._process
        process.kill()
        with pytest.raises(ContestantError, match="its process"):
            contestant.ask("ready")
    assert process.poll() is not None


def test_a_burst_that_is_cut_short_is_carried_to_all_its_steps(tmp_path, monkeypatch):
    with started([OURS], tmp_path / "log") as (contestant,):
        answers = iter([{"seconds": 3.0, "num_done": 6, "num_bytes": 0}])
        monkeypatch.setattr(contestant, "ask", lambda *_, **__: next(answers))
        assert contestant.seconds(100) == pytest.approx(50.0)
