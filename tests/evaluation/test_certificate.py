"""The certificate of trained weights: honest ones pass, what leaks is refused for its reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.fx
from hand_made_job import Softmax, hand_made_job

from openevolve_unified.config.schema import CERTIFICATE_PASSES, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.evaluation.certificate import TOLERANCE, certify, require_causal
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.step import build_model

JOB = hand_made_job(size=SizeConfig(hidden_dim=16, num_layers=2, num_heads=2), seq_len=12)
VALIDATION = np.random.default_rng(0).integers(0, 50, (10, 13)).astype(np.uint16)


class ReadsTheFuture(Softmax):
    def forward(self, q, k, v, x, mask):
        return self.scores(q, k).softmax(-1)


class MixesSequences(Softmax):
    """Reads the others' first tokens only, so that no prefix depends on what follows it."""

    def scores(self, q, k):
        return super().scores(q, k) * (1 + k[..., :1, :].sum((0, -1), keepdim=True))


class Ignored(Softmax):
    def forward(self, q, k, v, x, mask):
        return self.scores(q, k) * 0.0


class Overflows(Softmax):
    def scores(self, q, k):
        return super().scores(q, k).exp() * 1e38 * 1e38


def built(mechanism):
    return build_model(JOB, lambda layer: torch.fx.symbolic_trace(mechanism()), torch.device("cpu"))


def certified(mechanism):
    _, certificate = certify(built(mechanism), VALIDATION, JOB.training.batch_size)
    return certificate


@pytest.mark.parametrize("batch_size", [4, 1, 16], ids=["with filler", "one by one", "one batch"])
def test_the_loss_of_its_passes_is_the_loss_of_the_split_to_the_bit(batch_size):
    model = built(Softmax)
    loss, _ = certify(model, VALIDATION, batch_size)
    assert loss == mean_loss_nats(model, VALIDATION, batch_size, torch.device("cpu"))


def test_its_passes_are_those_that_a_plan_counts(monkeypatch):
    model, shapes = built(Softmax), []
    whole = model.hidden
    monkeypatch.setattr(model, "hidden", lambda tokens: shapes.append(len(tokens)) or whole(tokens))
    certify(model, VALIDATION, JOB.training.batch_size)
    num_batches, canary = 3, 2
    assert len(shapes) == CERTIFICATE_PASSES * num_batches + canary


def test_a_loss_that_is_not_finite_ends_the_passes_at_once(monkeypatch):
    model, num_passes = built(Overflows), []
    whole = model.hidden
    monkeypatch.setattr(model, "hidden", lambda tokens: num_passes.append(1) or whole(tokens))
    assert certify(model, VALIDATION, JOB.training.batch_size) is None
    assert len(num_passes) == 1, "a diverged model is refused anyway"


def test_an_honest_model_is_certified_with_its_evidence():
    found = certified(Softmax)
    require_causal(found)
    assert found.max_prefix_change < TOLERANCE
    assert found.max_neighbour_change < TOLERANCE
    assert found.ordinary_loss_nats == pytest.approx(found.blind_loss_nats, abs=1e-5)
    assert found.canary_change_nats != 0.0
    assert certified(Softmax).cut_seed != found.cut_seed, "nobody can foresee the cuts"


@pytest.mark.parametrize(
    ("mechanism", "reason"),
    [(ReadsTheFuture, "outputs depend on later tokens"), (MixesSequences, "sequences mix")],
)
def test_what_leaks_is_refused_for_its_reason(mechanism, reason):
    found = certified(mechanism)
    with pytest.raises(CandidateError, match=reason) as refusal:
        require_causal(found)
    assert refusal.value.stage == "trained_causality"


def test_a_mechanism_without_a_part_in_the_loss_shows_in_the_canary():
    assert certified(Ignored).canary_change_nats == pytest.approx(0.0, abs=1e-6)
