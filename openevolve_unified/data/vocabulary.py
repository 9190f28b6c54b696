"""The words of the stories and how likely each is.

Frequencies follow Zipf's law. The words are short and few on purpose, and do not depend on each
other: with longer lists, and preferences of some words for others, a causal mean gained almost as
much from size as softmax attention did (hidden_dim 32 to 96, 1,800 steps, one seed: slopes -0.151
and -0.168). Here the difficulty is who had what, which a mean cannot tell (-0.046 and -0.119).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openevolve_unified.data.voices import Options


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE = _words("Mia Ann Sue Eve Zoe Kim Pam Amy Liz Ida Una Joy")
MALE = _words("Tom Ben Max Leo Sam Jim Bob Dan Roy Ned Gus Hal")
ROLES = _words("cook poet smith nurse guard clerk judge pilot baker miller tailor singer")
ADJECTIVES = _words("red big new wet hot tiny blue soft tall cold dark shiny")
THINGS = _words(
    "hat cup kite ball boat drum lamp cake ring coat book bell sword stone apple flower"
)
PLACES = _words("mill cave inn barn fort town camp hut tower forest")
VERBS = _words("liked hid sold kept found fixed washed painted")
STATES = _words("fine lost safe rare old cheap")
NUMBERS = _words("one two three four five six seven eight nine")
ACTIONS = {",": 1.6, "went": 1.6, "lost": 1.6, "said": 1.2, "gave": 0.6}
"""What a person may do besides a verb on the thing: weights against 4 for all verbs together."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Every distribution that the grammar chooses words from."""

    openers: Options
    names: Options
    women: frozenset[str]
    """The names that "she" and "her" stand for; all others are "he" and "his"."""
    roles: Options
    places: Options
    """Where people live."""
    amounts: Options
    """How a possession begins: "a", or the number of things."""
    adjectives: Options
    things: Options
    """In the singular."""
    plurals: Options
    """The same things with an s."""
    predicates: Options
    """What a person does: a verb on the thing, or one of ``ACTIONS``."""
    states: Options
    """What a thing was like."""
    newcomer_weight: float
    """Weight of a third person's arrival after two, against 8.5 for all else; 0 for never."""
    max_depth: int
    """Clauses inside clauses: he said that she said that."""
    min_events: int
    """Sentences after the first two before the story may end."""
    max_events: int
    """Sentences after the first two after which it must end."""


def zipf(words: Sequence[str]) -> dict[str, float]:
    """Weights that fall with the rank: 1 / (rank + 2), ranks from 0."""
    return {word: 1.0 / (rank + 2) for rank, word in enumerate(words)}


def predicates(verbs: Options) -> Options:
    """``verbs`` together with ``ACTIONS``."""
    weights = {verb: 4.0 * probability for verb, probability in verbs.probabilities.items()}
    return Options(weights | ACTIONS)


def default_vocabulary() -> Vocabulary:
    """The vocabulary of the embedded corpus: about 150 different words."""
    return Vocabulary(
        openers=Options({"Once": 4.0, "Today": 2.0, "Yesterday": 1.0, "Long": 1.0}),
        names=Options(zipf([name for pair in zip(FEMALE, MALE, strict=True) for name in pair])),
        women=frozenset(FEMALE),
        roles=Options(zipf(ROLES)),
        places=Options(zipf(PLACES)),
        amounts=Options({"a": 6.0, **dict.fromkeys(NUMBERS[1:], 0.5)}),
        adjectives=Options(zipf(ADJECTIVES)),
        things=Options(zipf(THINGS)),
        plurals=Options(zipf([f"{thing}s" for thing in THINGS])),
        predicates=predicates(Options(zipf(VERBS))),
        states=Options(zipf(STATES)),
        newcomer_weight=5.0,
        max_depth=2,
        min_events=3,
        max_events=8,
    )
