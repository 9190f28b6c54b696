from __future__ import annotations

import pytest
import torch

from openevolve_unified.model.dropout import draw_masks, new_masks

CPU = torch.device("cpu")


def _drawn(seed: int, step: int, probability: float = 0.1) -> torch.Tensor:
    masks = new_masks(2, 8, 32, 48, CPU)
    draw_masks(masks, probability, seed, step)
    return masks


def test_masks_are_a_function_of_seed_and_step():
    assert torch.equal(_drawn(1, 7), _drawn(1, 7))
    assert not torch.equal(_drawn(1, 7), _drawn(1, 8))
    assert not torch.equal(_drawn(1, 7), _drawn(2, 7))


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    _drawn(1, 7)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_share_and_the_scale_are_right(probability):
    masks = _drawn(3, 0, probability)
    kept = masks > 0
    noise = (probability * (1 - probability) / masks.numel()) ** 0.5
    assert 1 - kept.double().mean().item() == pytest.approx(probability, abs=4 * noise)
    assert masks.unique().tolist() == pytest.approx([0, 1 / (1 - probability)], rel=1e-4)


def test_neighbouring_steps_and_sites_are_uncorrelated():
    one, two = _drawn(3, 0).flatten(), _drawn(3, 1).flatten()
    limit = 4 / one.numel() ** 0.5
    assert abs(torch.corrcoef(torch.stack((one, two)))[0, 1].item()) < limit
    sites = _drawn(3, 0).flatten(1)
    correlation = torch.corrcoef(sites) - torch.eye(len(sites))
    assert correlation.abs().max().item() < 5 / sites.shape[1] ** 0.5
