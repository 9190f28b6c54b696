"""Associative recall by real training: softmax looks up by content, an average guesses."""

from __future__ import annotations

import dataclasses

import pytest
from tiny_ladder import INITIAL, build_pipeline, tiny_config

from openevolve_unified.config.diagnostics import DiagnosticsConfig, RecallConfig
from openevolve_unified.config.schema import ExecutionConfig, GatesConfig
from openevolve_unified.mechanisms.catalog import mechanisms

RECALL = RecallConfig(
    vocab_size=32,
    lengths=(16,),
    num_pairs=(1, 2, 4),
    learning_rates=(5e-3,),
    training_steps=3_000,
    batch_size=32,
    hidden_dim=32,
    num_layers=2,
    num_heads=2,
)


@pytest.mark.slow
def test_softmax_recalls_four_pairs_and_a_causal_mean_guesses(tmp_path):
    config = dataclasses.replace(
        tiny_config(tmp_path, ExecutionConfig(num_workers=2, deadline_s=3000)),
        diagnostics=DiagnosticsConfig(mode="recall", recall=RECALL),
        gates=GatesConfig(max_flops_ratio=3.0),
    )
    pipeline, _ = build_pipeline(config, tmp_path, "store")
    (mean,) = (
        m.source for m in mechanisms() if (m.name, m.framework) == ("causal_mean", config.framework)
    )
    with pipeline.context.machine:
        by_softmax, by_mean = (
            pipeline.evaluate(source).recall.best[0].accuracy for source in (INITIAL, mean)
        )
    assert by_softmax["4"] > 0.9
    assert by_mean["4"] < 0.4, "a guess among the values has 0.25"
