from __future__ import annotations

import numpy as np

from openevolve_unified.data.stories import generate_stories
from openevolve_unified.data.tokenizer import (
    END_OF_TEXT,
    END_OF_TEXT_ID,
    encode,
    train_tokenizer,
)

TEXTS = [
    "Plain words.",
    "Ünïcödé, 漢字 and emoji \U0001f600.",
    "  spaces\tand\n\nnewlines ",
    "a \x00 byte",
    f"a document that says {END_OF_TEXT} itself",
]


def test_any_text_comes_back_from_its_tokens():
    tokenizer = train_tokenizer(generate_stories(100, seed=0), vocab_size=400)
    for text, ids in zip(TEXTS, encode(tokenizer, TEXTS), strict=True):
        assert ids.dtype == np.uint16
        assert END_OF_TEXT_ID not in ids
        assert tokenizer.decode(ids.tolist()) == text


def test_the_same_documents_give_the_same_tokenizer():
    stories = generate_stories(200, seed=0)
    first, second = (train_tokenizer(stories, vocab_size=512) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() == 512


def test_a_small_text_gives_a_smaller_vocabulary():
    assert train_tokenizer(["ab ab"], vocab_size=512).get_vocab_size() < 270


def test_the_end_of_text_token_is_number_zero():
    tokenizer = train_tokenizer(["ab ab"], vocab_size=300)
    assert tokenizer.token_to_id(END_OF_TEXT) == END_OF_TEXT_ID == 0
