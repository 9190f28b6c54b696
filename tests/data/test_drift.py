from __future__ import annotations

import math

import numpy as np
import pytest

from openevolve_unified.data.drift import check_drift, describe_drift


def draw_documents(num_documents, seed, exponent=1.0, length=60):
    """Documents about a topic each: tokens within a document are alike, as in real text."""
    generator = np.random.default_rng(seed)
    frequencies = np.arange(1, 101.0) ** -exponent
    documents = []
    for _ in range(num_documents):
        topic = frequencies * generator.gamma(0.5, size=100)
        documents.append(
            generator.choice(100, size=length, p=topic / topic.sum()).astype(np.uint16)
        )
    return documents


def test_two_samples_of_one_distribution_are_not_flagged():
    for seed in range(10):
        documents = draw_documents(300, seed)
        report = check_drift(documents[60:], documents[:60], vocab_size=100, seed=seed)
        assert not report["is_shifted"]
        assert abs(report["z"]) < 4
        assert "has the distribution of" in describe_drift("test", report)


def test_a_shifted_split_is_flagged():
    train = draw_documents(240, seed=0)
    shifted = draw_documents(60, seed=1, exponent=0.5)
    report = check_drift(train, shifted, vocab_size=100, seed=0)
    assert report["is_shifted"]
    assert report["p_value"] == pytest.approx(1 / 200)
    assert report["z"] > 10
    assert "differs from" in describe_drift("test", report)


def test_few_long_documents_are_not_taken_for_a_shift():
    # Dealing single tokens instead of documents would call every such split shifted.
    documents = draw_documents(20, seed=3, length=4_000)
    report = check_drift(documents[2:], documents[:2], vocab_size=100, seed=0)
    assert not report["is_shifted"]


def test_the_divergence_is_that_of_jensen_and_shannon():
    train, held_out = [np.array([0, 0, 1, 1])], [np.array([1, 1, 1, 1])]
    report = check_drift(train, held_out, vocab_size=2, seed=0)
    # p = (1/2, 1/2), q = (0, 1), middle = (1/4, 3/4)
    p_part = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    q_part = math.log(4 / 3)
    assert report["divergence_nats"] == pytest.approx((p_part + q_part) / 2)


def test_the_same_seed_gives_the_same_report():
    documents = draw_documents(50, seed=0)
    first = check_drift(documents[10:], documents[:10], 100, seed=1)
    assert first == check_drift(documents[10:], documents[:10], 100, seed=1)
