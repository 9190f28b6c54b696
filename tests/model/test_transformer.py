from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.model.dropout import draw_masks, new_masks
from openevolve_unified.model.positions import sinusoidal_positions
from openevolve_unified.model.transformer import Transformer

SIZE = SizeConfig(hidden_dim=32, num_layers=2, num_heads=2)


class _Softmax(nn.Module):
    def forward(self, q, k, v, x, mask):
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask, float("-inf")).softmax(-1)


@pytest.fixture
def model() -> Transformer:
    return Transformer(
        size=SIZE,
        vocab_size=300,
        seq_len=16,
        framework="coefficient_dynamics",
        mechanism=lambda layer: _Softmax(),
        seed=0,
    ).double()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 300, (3, 16), generator=torch.Generator().manual_seed(0))


def _slow_logits(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    """The architecture written out again, with torch's own attention."""
    d, heads = SIZE.hidden_dim, SIZE.num_heads
    table = model.token_embedding.weight
    x = table[tokens] * math.sqrt(d) + model.positions[: tokens.shape[1]]
    for block in model.blocks:
        h = block.attention_norm(x)
        q, k, v = block.attention.qkv_proj(h).split(d, dim=-1)
        split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
        y = F.scaled_dot_product_attention(*split, is_causal=True).transpose(1, 2).flatten(2)
        x = x + block.attention.out_proj(y)
        x = x + block.down(F.gelu(block.up(block.feed_forward_norm(x))))
    return model.final_norm(x) @ table.t()


def test_logits_are_those_of_the_written_out_architecture(model, tokens):
    torch.testing.assert_close(model(tokens), _slow_logits(model, tokens), rtol=1e-10, atol=1e-10)


def test_a_shorter_input_gives_the_prefix(model, tokens):
    torch.testing.assert_close(model(tokens[:, :9]), model(tokens)[:, :9], rtol=0, atol=1e-12)


def test_later_tokens_do_not_reach_earlier_logits(model, tokens):
    changed = tokens.clone()
    changed[:, 9:] = 7
    torch.testing.assert_close(model(changed)[:, :9], model(tokens)[:, :9], rtol=0, atol=1e-12)
    assert not torch.allclose(model(changed)[:, 9:], model(tokens)[:, 9:])


def test_the_loss_is_the_cross_entropy_of_the_logits(model, tokens):
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    assert model.loss(inputs, targets).item() == pytest.approx(expected.item(), abs=1e-6)
    per_token = model.token_losses(inputs, targets)
    assert per_token.shape == targets.shape
    assert per_token.mean().item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_initial_loss_is_near_that_of_a_uniform_guess(model, tokens):
    loss = model.loss(tokens[:, :-1], tokens[:, 1:]).item()
    assert math.log(300) - 0.3 < loss < math.log(300) + 1.0


def test_dropout_happens_only_where_masks_are_given(model, tokens):
    masks = new_masks(SIZE.num_layers, 3, 16, SIZE.hidden_dim, torch.device("cpu")).double()
    masks.fill_(1.0)
    assert torch.equal(model(tokens, masks), model(tokens))
    dropped = masks.float()
    draw_masks(dropped, 0.5, seed=0, step=0)
    assert not torch.allclose(model(tokens, dropped.double()), model(tokens))


def test_every_dropout_site_is_used(model, tokens):
    for site in range(2 * SIZE.num_layers):
        masks = torch.ones(2 * SIZE.num_layers, 3, 16, SIZE.hidden_dim, dtype=torch.float64)
        masks[site] = 0
        assert not torch.allclose(model(tokens, masks), model(tokens)), site


def test_every_parameter_gets_a_gradient(model, tokens):
    model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_positions_are_sines_and_cosines_of_geometric_wavelengths():
    table = sinusoidal_positions(50, 8)
    assert table[0].tolist() == [0, 1] * 4
    for column in range(4):
        rate = 10_000 ** (-2 * column / 8)
        assert table[37, 2 * column].item() == pytest.approx(math.sin(37 * rate), abs=1e-6)
        assert table[37, 2 * column + 1].item() == pytest.approx(math.cos(37 * rate), abs=1e-6)
