"""Voices: how a story is told, one word at a time, each choice revealed by the very next word.

The grammar (``grammar.py``) speaks through a voice and never knows whether its words are drawn at
random (``Sampler``) or read from a text that exists already (``Scorer``). A choice is always among
distinct single words, so the words so far determine every choice so far: no text has two
derivations, and the log-probability of a text is the sum of the log-probabilities of its words.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

END = ""
"""The word that ends a story; the tokenizer writes it as the end-of-text token."""
PUNCTUATION = frozenset(".,?")
"""Words that are written without a space before them."""


class Options:
    """A distribution over distinct next words.

    Args:
        weights: word -> weight; positive, normalised here.
    """

    def __init__(self, weights: Mapping[str, float]):
        if not weights:
            raise ValueError("a choice needs at least one word")
        total = math.fsum(weights.values())
        self.probabilities = {word: weight / total for word, weight in weights.items()}
        self._words = tuple(weights)
        # The last bound is infinite so that rounding can never put a draw past the end.
        self._bounds = [*accumulate([*self.probabilities.values()][:-1]), math.inf]
        if min(self.probabilities.values()) <= 0 or any(" " in word for word in self._words):
            raise ValueError(f"options must be single words of positive weight, got {weights}")

    def draw(self, uniform: float) -> str:
        """The word at ``uniform`` in [0, 1) of the cumulative distribution."""
        return self._words[bisect_right(self._bounds, uniform)]

    def without(self, excluded: Collection[str]) -> dict[str, float]:
        """The probabilities given that the word is not one of ``excluded``."""
        left = {word: p for word, p in self.probabilities.items() if word not in excluded}
        if len(left) == len(self.probabilities):
            return left
        total = math.fsum(left.values())
        return {word: p / total for word, p in left.items()}


class Voice(ABC):
    """What the grammar speaks through."""

    def say(self, words: str) -> None:
        """Say fixed words, separated by spaces."""
        for word in words.split(" "):
            self._fixed(word)

    @abstractmethod
    def pick(self, options: Options, excluded: Collection[str] = ()) -> str:
        """Choose the next word among ``options`` except ``excluded``, say it and return it."""

    @abstractmethod
    def _fixed(self, word: str) -> None: ...


class Sampler(Voice):
    """Draws each choice; ``words`` and ``log_prob`` (nats) are what came out."""

    def __init__(self, source: random.Random):
        self.words: list[str] = []
        self.log_prob = 0.0
        self._source = source

    def pick(self, options: Options, excluded: Collection[str] = ()) -> str:
        # Drawing again until the word is allowed samples the renormalised distribution exactly.
        word = options.draw(self._source.random())
        while word in excluded:
            word = options.draw(self._source.random())
        allowed = 1.0 - math.fsum(options.probabilities.get(other, 0.0) for other in excluded)
        self.log_prob += math.log(options.probabilities[word] / allowed)
        self.words.append(word)
        return word

    def _fixed(self, word: str) -> None:
        self.words.append(word)


@dataclass(frozen=True)
class SpokenWord:
    """One word of a text with the distribution that it was chosen from."""

    word: str
    choices: Mapping[str, float]
    """Every word that could have stood here, with its probability; one entry for a fixed word."""

    @property
    def log_prob(self) -> float:
        """Nats."""
        return math.log(self.choices[self.word])


class NextWord(Exception):
    """The words to be read are used up; ``choices`` could come next, with their probabilities."""

    def __init__(self, choices: Mapping[str, float]):
        super().__init__("the words end before the story does")
        self.choices = choices


class Scorer(Voice):
    """Reads the choices off a text: ``spoken`` holds each word with what it was chosen from.

    Raises:
        ValueError: from ``say`` and ``pick``, when the text is not one that the grammar can tell.
        NextWord: from ``say`` and ``pick``, when all words have been read.
    """

    def __init__(self, words: Sequence[str]):
        self.spoken: list[SpokenWord] = []
        self._words = words

    def pick(self, options: Options, excluded: Collection[str] = ()) -> str:
        return self._read(options.without(excluded))

    def _fixed(self, word: str) -> None:
        self._read({word: 1.0})

    def _read(self, choices: dict[str, float]) -> str:
        position = len(self.spoken)
        if position == len(self._words):
            raise NextWord(choices)
        word = self._words[position]
        if word not in choices:
            raise ValueError(f"word {position}: got {word!r}, wanted one of {list(choices)[:8]}")
        self.spoken.append(SpokenWord(word, choices))
        return word


def join(words: Sequence[str]) -> str:
    """The text of ``words``: spaces between them, none before punctuation, END left out."""
    return "".join(spelled(word, is_first=i == 0) for i, word in enumerate(words))


def spelled(word: str, *, is_first: bool) -> str:
    """One word as it stands in a text, with the space before it where there is one."""
    return word if is_first or word in PUNCTUATION or word == END else f" {word}"


def split(text: str) -> list[str]:
    """The words of ``text``, punctuation marks being words, with END after the last."""
    return [*_words_of(text), END]


def _words_of(text: str) -> Iterator[str]:
    for chunk in text.split(" "):
        if chunk and chunk[-1] in PUNCTUATION:
            yield chunk[:-1]
            yield chunk[-1]
        else:
            yield chunk
