"""The embedded corpus: seeded little stories whose exact log-probability is known.

>>> texts = generate_stories(num_stories=2, seed=0)
>>> log_prob = sum(spoken.log_prob for spoken in score_story(texts[0]))
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from openevolve_unified.data.grammar import tell
from openevolve_unified.data.vocabulary import Vocabulary, default_vocabulary
from openevolve_unified.data.voices import NextWord, Sampler, Scorer, SpokenWord, join, split


def generate_stories(num_stories: int, seed: int) -> list[str]:
    """Draw stories independently; the first n are the same whatever ``num_stories`` is."""
    words = default_vocabulary()
    source = random.Random(seed)
    return [sample_story(source, words)[0] for _ in range(num_stories)]


def sample_story(source: random.Random, words: Vocabulary) -> tuple[str, float]:
    """One story and its log-probability in nats, the choice to end included."""
    voice = Sampler(source)
    tell(voice, words)
    return join(voice.words), voice.log_prob


def score_story(text: str, words: Vocabulary | None = None) -> list[SpokenWord]:
    """Every word of ``text`` (END last) with the distribution that it was chosen from.

    Raises:
        ValueError: the grammar cannot tell this text.
    """
    spoken_words = split(text)
    voice = Scorer(spoken_words)
    try:
        tell(voice, words or default_vocabulary())
    except NextWord:
        raise ValueError(
            f"the text ends after word {len(voice.spoken)}, the story goes on"
        ) from None
    if len(voice.spoken) != len(spoken_words):
        raise ValueError(f"the story ended at word {len(voice.spoken)}, the text goes on")
    return voice.spoken


def score_beginning(
    words: list[str], vocabulary: Vocabulary
) -> tuple[list[SpokenWord], Mapping[str, float]]:
    """The words of the beginning of a story, and what can come next with which probability.

    Raises:
        ValueError: the grammar cannot begin like this.
    """
    voice = Scorer(words)
    try:
        tell(voice, vocabulary)
    except NextWord as following:
        return voice.spoken, following.choices
    raise ValueError(f"got {len(words)} words, but the story ended before the last of them")
