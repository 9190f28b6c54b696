from __future__ import annotations

import numpy as np
import torch
from training_jobs import CPU, make_job, repeating_tokens, softmax

from openevolve_unified.training.batches import TrainBatches, padded_batches
from openevolve_unified.training.evaluation import mean_loss_nats
from openevolve_unified.training.step import build_model


def test_a_batch_is_rows_of_the_split_and_a_function_of_seed_and_step():
    train = repeating_tokens().train
    one, two = (TrainBatches(train, 8, seed=1, device=CPU) for _ in range(2))
    other = TrainBatches(train, 8, seed=2, device=CPU)
    for step in (5, 0, 30):
        tokens = one.at(step)
        assert tokens.dtype == torch.int64
        assert torch.equal(tokens, two.at(step))
        assert not torch.equal(tokens, other.at(step))
        rows = {row.tobytes() for row in train.astype(np.int64)}
        assert all(row.tobytes() in rows for row in tokens.numpy())


def test_the_last_evaluation_batch_is_filled_up_and_the_filler_does_not_count():
    sequences = repeating_tokens(num_validation=21).validation
    batches = list(padded_batches(sequences, 8, CPU))
    assert [num_rows for _, num_rows in batches] == [8, 8, 5]
    assert all(tokens.shape == (8, 17) for tokens, _ in batches)
    kept = torch.cat([tokens[:num_rows] for tokens, num_rows in batches])
    assert np.array_equal(kept.numpy(), sequences)


def test_the_mean_loss_does_not_depend_on_the_batch_size():
    model = build_model(make_job(), softmax, CPU)
    sequences = repeating_tokens(num_validation=21).validation
    tokens = torch.from_numpy(sequences.astype(np.int64))
    expected = model.token_losses(tokens[:, :-1], tokens[:, 1:]).double().mean().item()
    for batch_size in (1, 8, 21, 30):
        loss = mean_loss_nats(model, sequences, batch_size, CPU)
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
