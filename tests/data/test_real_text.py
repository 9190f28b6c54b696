"""The whole room on real text, where a checkout has it beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data import prepare

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("name", ["tinystories_sample.txt", "tinyshakespeare.txt"])
def test_real_text_becomes_sequences_that_read_as_it_does(name, tmp_path, messages):
    if not (DATA / name).exists():
        pytest.skip(f"no {name} beside this checkout")
    settings = DataConfig(
        source="text",
        path=str(DATA / name),
        vocab_size=512,
        seq_len=64,
        validation_sequences=100,
        test_sequences=100,
        cache_dir="cache",
    )
    data = prepare(settings, tmp_path, messages.append, min_train_sequences=16)
    assert data.vocab_size == 512
    assert len(data.validation) == len(data.test) == 100
    assert len(data.train) > 800
    for report in data.drift.values():
        assert not report["is_shifted"]
    tokenizer = Tokenizer.from_file(str(data.tokenizer_path))
    text = (DATA / name).read_text(encoding="utf-8")
    for row in data.test[:5]:
        pieces = tokenizer.decode(row.tolist(), skip_special_tokens=False).split("<|endoftext|>")
        assert all(piece.strip() in text for piece in pieces)
