"""A grammar that is small enough to list every story, and a quiet progress callback."""

from __future__ import annotations

import math
from collections.abc import Collection

import pytest

from openevolve_unified.data.grammar import tell
from openevolve_unified.data.vocabulary import Vocabulary, predicates
from openevolve_unified.data.voices import Options, Voice, join


class Enumerator(Voice):
    """Takes the choices numbered in ``path`` and notes where it could have gone instead."""

    def __init__(self, path: list[int]):
        self.words: list[str] = []
        self.log_prob = 0.0
        self.num_choices: list[int] = []
        self._path = path

    def pick(self, options: Options, excluded: Collection[str] = ()) -> str:
        allowed = options.without(excluded)
        position = len(self.num_choices)
        taken = self._path[position] if position < len(self._path) else 0
        self.num_choices.append(len(allowed))
        word = list(allowed)[taken]
        self.log_prob += math.log(allowed[word])
        self.words.append(word)
        return word

    def _fixed(self, word: str) -> None:
        self.words.append(word)


def every_story(vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """All derivations, as (text, log-probability): depth first over the tree of choices."""
    stories = []
    path: list[int] = []
    while True:
        voice = Enumerator(path)
        tell(voice, vocabulary)
        stories.append((join(voice.words), voice.log_prob))
        path += [0] * (len(voice.num_choices) - len(path))
        while path and path[-1] == voice.num_choices[len(path) - 1] - 1:
            path.pop()
        if not path:
            return stories
        path[-1] += 1


@pytest.fixture(scope="session")
def small_vocabulary() -> Vocabulary:
    """Two people and at most one sentence about them: every kind of sentence occurs."""
    return Vocabulary(
        openers=Options({"Once": 1.0}),
        names=Options({"Mia": 3.0, "Tom": 1.0}),
        women=frozenset({"Mia"}),
        roles=Options({"cook": 1.0, "poet": 2.0}),
        places=Options({"mill": 1.0, "cave": 1.0}),
        amounts=Options({"a": 2.0, "two": 1.0}),
        adjectives=Options({"red": 2.0, "big": 1.0}),
        things=Options({"kite": 1.0, "kit": 2.0}),
        plurals=Options({"kites": 1.0, "kits": 2.0}),
        predicates=predicates(Options({"liked": 1.0})),
        states=Options({"lost": 1.0}),
        newcomer_weight=0.0,
        max_depth=1,
        min_events=0,
        max_events=1,
    )


@pytest.fixture(scope="session")
def every_small_story(small_vocabulary: Vocabulary) -> list[tuple[str, float]]:
    return every_story(small_vocabulary)


@pytest.fixture
def messages() -> list[str]:
    """Pass ``messages.append`` as the progress callback."""
    return []
