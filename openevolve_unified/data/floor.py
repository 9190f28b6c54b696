"""The entropy floor of the stories: the loss of a model that knows the grammar perfectly.

For a row of tokens ``r_0 ... r_T`` with ``r_0`` the end-of-text token, the floor is the mean over
t = 1 ... T of ``-ln p(r_t | r_0 ... r_(t-1))`` under the grammar: what the mean cross-entropy of a
model that reads the row from its start can be compared with, token for token.

Exactly: words are tokenized independently of each other (BPE never merges across a space or a
punctuation mark), so the tokens of a whole word together have the probability of the word. Of the
last word only some tokens may be in the row, and it cannot be told whether it goes on; their
probability is the sum over all words that could stand there and begin with these tokens. Stories
are independent, so what stands before the last end-of-text token says nothing.

Two assumptions, both harmless: repeated stories were left out of the corpus (the probability of a
repetition is negligible), and this is the sample's floor, not its expectation: a model could fall
below it by luck only, and the larger the split, the less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import accumulate

import numpy as np
from tokenizers import Tokenizer

from openevolve_unified.data.stories import score_beginning
from openevolve_unified.data.tokenizer import END_OF_TEXT, END_OF_TEXT_ID, SPACE
from openevolve_unified.data.vocabulary import Vocabulary, default_vocabulary
from openevolve_unified.data.voices import END, PUNCTUATION, SpokenWord, spelled


def entropy_floor(rows: np.ndarray, tokenizer: Tokenizer) -> float:
    """Mean over all targets of ``rows`` (num_sequences, seq_len + 1) uint16, in nats per token.

    Raises:
        ValueError: a row is not a sequence of stories that starts with end-of-text.
    """
    log_probs = row_log_probs(rows, tokenizer, default_vocabulary())
    return -float(log_probs.mean()) / (rows.shape[1] - 1)


def row_log_probs(rows: np.ndarray, tokenizer: Tokenizer, words: Vocabulary) -> np.ndarray:
    """ln p of the targets of each row, (num_sequences,) float64, in nats."""

    @cache
    def spell(word: str, is_first: bool) -> tuple[str, ...]:
        if word == END:
            return (END_OF_TEXT,)
        return tuple(tokenizer.encode(spelled(word, is_first=is_first)).tokens)

    def log_prob(tokens: list[str]) -> float:
        """Of a story, or of the beginning of one that the row's end cuts off."""
        *whole, last = _words(tokens)
        spoken, choices = score_beginning([_plain(word) for word in whole], words)
        is_first = not whole
        mass = math.fsum(
            probability
            for word, probability in choices.items()
            if spell(word, is_first)[: len(last)] == tuple(last)
        )
        if mass <= 0:
            raise ValueError(f"no word of the grammar begins with {last} after {whole[-8:]}")
        return math.fsum(word.log_prob for word in spoken) + math.log(mass)

    names = {number: name for name, number in tokenizer.get_vocab().items()}
    return np.array(
        [
            math.fsum(log_prob([names[i] for i in story]) for story in _stories(row))
            for row in rows.tolist()
        ]
    )


def spoken_stories(
    row: np.ndarray, tokenizer: Tokenizer, words: Vocabulary
) -> Iterator[list[tuple[int, SpokenWord]]]:
    """The words of each story of ``row``, with the place of their first token in it.

    A story's last word is left out: it ends the story, or the row may end in its middle.
    """
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    start = 1
    for story in _stories(row.tolist()):
        groups = _words([names[i] for i in story])
        spoken, _ = score_beginning([_plain(word) for word in groups[:-1]], words)
        places = accumulate((len(group) for group in groups), initial=start)
        yield list(zip(places, spoken, strict=False))
        start += len(story)


def _stories(row: list[int]) -> Iterator[list[int]]:
    """The stories of a row, each with its end-of-text token, the last one possibly without."""
    if row[0] != END_OF_TEXT_ID:
        raise ValueError(f"a row starts with token {row[0]}, wanted {END_OF_TEXT_ID}")
    start = 1
    while start < len(row):
        is_cut = END_OF_TEXT_ID not in row[start:]
        end = len(row) if is_cut else row.index(END_OF_TEXT_ID, start) + 1
        yield row[start:end]
        start = end


def _words(tokens: list[str]) -> list[list[str]]:
    """Group the tokens of a story by word."""
    groups: list[list[str]] = []
    for token in tokens:
        if not groups or token[0] == SPACE or token in PUNCTUATION or token == END_OF_TEXT:
            groups.append([])
        groups[-1].append(token)
    return groups


def _plain(tokens: list[str]) -> str:
    return "".join(tokens).removeprefix(SPACE)
