"""The testbed of the cheats: the user's own experiment, made small and wide.

Small, because a leak is a leak at every size and a few need training. A wide budget and no overfit
gate, because a cheat must meet the check that it is about instead of being refused first.
"""

from __future__ import annotations

import dataclasses

from openevolve_unified.config.schema import (
    DataConfig,
    ExecutionConfig,
    ScalingLawConfig,
    SizeConfig,
    TrainingConfig,
)

_SIZES = ((16, 1, 2), (24, 1, 3), (32, 1, 4))
"""hidden_dim, num_layers, num_heads; the cheats name these widths."""
_TRACE_DEADLINE_S = 12.0
EXECUTION = ExecutionConfig(device="cpu", precision="float32", num_workers=1)
"""Of every experiment of the red team: they share one machine."""


def testbed_config(config: ScalingLawConfig, framework: str) -> ScalingLawConfig:
    """``config`` for ``framework``, with a tiny ladder and corpus, 20 steps and a wide budget."""
    gates = dataclasses.replace(
        config.gates,
        max_flops_ratio=4.0,
        max_params_ratio=1.5,
        max_nodes=1_000,
        trace_deadline_s=_TRACE_DEADLINE_S,
        trace_memory_mb=512,
        overfit=None,
    )
    training = TrainingConfig(
        training_steps=20,
        batch_size=8,
        learning_rate=3e-3,
        warmup_steps=5,
        eval_frequency=10,
        dropout=0.0,
    )
    data = DataConfig(
        source="stories",
        num_documents=600,
        vocab_size=300,
        seq_len=16,
        validation_sequences=32,
        test_sequences=32,
        cache_dir=config.data.cache_dir,
    )
    return dataclasses.replace(
        config,
        framework=framework,
        ladder=tuple(SizeConfig(hidden_dim=d, num_layers=n, num_heads=h) for d, n, h in _SIZES),
        data=data,
        training=training,
        gates=gates,
        execution=EXECUTION,
    )
