"""The words of the stories and how likely each is.

Frequencies follow Zipf's law. Some words depend on another one (the thing on its adjective, the
place on the role, the verb and the state on the thing): each such pair has its own order of
preference, so there is a table of some thousand facts to learn, and capacity pays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openevolve_unified.data.voices import Options


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE = _words(
    "Mia Anna Lucy Emma Sara Nora Rose Ella Clara Alice Ruth Iris Julia Hanna Tina Greta Helen "
    "Vera Olga Zoe Bella Diana Fiona Heidi"
)
MALE = _words(
    "Tom Ben Max Leo Sam Paul Jack Noah Adam Felix Hugo Oscar Peter Simon David Martin Victor "
    "Bruno Carl Edgar Frank George Ivan Otto"
)
ROLES = _words(
    "baker farmer miller sailor teacher doctor painter hunter singer nurse pilot judge tailor "
    "cook dancer guard poet weaver potter smith clerk fisher barber trader"
)
ADJECTIVES = _words(
    "red big tall small blue green new shiny heavy soft round golden tiny warm cold pretty dusty "
    "wooden silver striped wet dark sharp fancy"
)
THINGS = _words(
    "ball kite book hat boat cup lamp drum coat apple cake flower ring sword basket ladder mirror "
    "bottle candle blanket hammer pencil guitar carpet button spoon saddle trumpet barrel lantern "
    "pillow hook bucket wagon statue ribbon feather whistle pebble melon"
)
PLACES = _words(
    "mill tower forest castle garden harbor valley village cave barn market desert island temple "
    "palace station meadow swamp cottage cabin tunnel bridge tavern quarry"
)
VERBS = _words(
    "liked found cleaned painted hid carried dropped fixed washed kept admired moved pushed pulled "
    "guarded measured counted buried missed needed"
)
STATES = _words("lovely dirty famous useful cheap rare hot safe clean ugly empty light")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Every distribution that the grammar chooses words from."""

    openers: Options
    names: Options
    women: frozenset[str]
    """The names that "she" and "her" stand for; all others are "he" and "his"."""
    roles: Options
    places: Mapping[str, Options]
    """Role -> where such a person lives."""
    amounts: Options
    """How a possession begins: "a", or the number of things."""
    adjectives: Options
    things: Mapping[str, Options]
    """Adjective -> thing, in the singular."""
    plentiful: Options
    """Things that come in numbers, in the singular."""
    predicates: Mapping[str, Options]
    """Thing -> what its owner does next: a verb on the thing, or one of ``ACTIONS``."""
    states: Mapping[str, Options]
    """Thing -> what it was like."""
    cast_size: int
    """People in a story."""
    max_depth: int
    """Clauses inside clauses: he said that she said that."""
    min_events: int
    """Sentences after the introductions before the story may end."""
    max_events: int
    """Sentences after the introductions after which it must end."""


ACTIONS = {",": 1.6, "went": 1.6, "lost": 1.6, "said": 1.2, "gave": 0.6}
"""What an owner may do besides acting on the thing: weights against 4 for all verbs together."""


def zipf(words: Sequence[str], exponent: float = 1.0) -> dict[str, float]:
    """Weights that fall with the rank: 1 / (rank + 2) ** exponent, ranks from 0."""
    return {word: (rank + 2.0) ** -exponent for rank, word in enumerate(words)}


def preferences(contexts: Sequence[str], words: Sequence[str]) -> dict[str, Options]:
    """For each context a Zipf law in an order of its own (by SHA-256), times the common one.

    The common factor keeps rare words rare in every context, so that BPE has frequent words to
    merge; the other makes most of what a context likes its own.
    """
    common = zipf(words)

    def weights(context: str) -> dict[str, float]:
        own = sorted(words, key=lambda word: hashlib.sha256(f"{context} {word}".encode()).digest())
        return {word: common[word] * weight for word, weight in zipf(own).items()}

    return {context: Options(weights(context)) for context in contexts}


def predicates(things: Sequence[str], verbs: Sequence[str]) -> dict[str, Options]:
    """For each thing its preferred verbs together with ``ACTIONS``."""
    verbs_of = preferences(things, verbs)
    return {
        thing: Options(
            {**{v: 4.0 * p for v, p in verbs_of[thing].probabilities.items()}, **ACTIONS}
        )
        for thing in things
    }


def default_vocabulary() -> Vocabulary:
    """The vocabulary of the embedded corpus: about 350 words."""
    return Vocabulary(
        openers=Options({"Once": 4.0, "Today": 2.0, "Yesterday": 1.0, "Long": 1.0}),
        names=Options(zipf([name for pair in zip(FEMALE, MALE, strict=True) for name in pair])),
        women=frozenset(FEMALE),
        roles=Options(zipf(ROLES)),
        places=preferences(ROLES, PLACES),
        amounts=Options({"a": 6.0, **dict.fromkeys(NUMBERS[1:], 0.5)}),
        adjectives=Options(zipf(ADJECTIVES)),
        things=preferences(ADJECTIVES, THINGS),
        plentiful=Options(zipf(THINGS)),
        predicates=predicates(THINGS, VERBS),
        states=preferences(THINGS, STATES),
        cast_size=3,
        max_depth=2,
        min_events=2,
        max_events=5,
    )
