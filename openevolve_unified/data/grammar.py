"""The grammar of the stories: people with a role, a home and a possession, who are spoken of again.

What is stated once must be recalled later, by content rather than by place:

    Once Mia the cook lived in the mill with a red kite.            two introductions,
    Tom the smith had three apples.
    Then Ann the nurse had a big ball.                              sometimes a third
    Tom lost two of his apples and had one left.                    counting
    The cook, who had the red kite, said that Tom hid his one apple.    nesting
    The red kite belonged to Mia.                                   recall of the owner
    She gave Tom her red kite and took his one apple.               pronoun; a trade
    Who had the red kite? Tom.                                      question

Every choice is among distinct next words (see ``voices.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from openevolve_unified.data.vocabulary import NUMBERS, Vocabulary
from openevolve_unified.data.voices import END, Options, Voice


@dataclass
class _Possession:
    """``adjective`` for a single thing, ``number`` for things that were counted."""

    thing: str
    adjective: str | None
    number: int

    @property
    def noun(self) -> str:
        return self.thing if self.number == 1 else f"{self.thing}s"

    @property
    def first_word(self) -> str:
        """After "the": unique in the story, because adjectives and things are not repeated."""
        return self.adjective or self.noun

    @property
    def definite(self) -> str:
        """What follows "the"."""
        return f"{self.adjective} {self.noun}" if self.adjective else self.noun

    @property
    def owned(self) -> str:
        """What follows "her" or "his"."""
        return f"{self.adjective or NUMBERS[self.number - 1]} {self.noun}"


@dataclass
class _Person:
    name: str
    is_woman: bool
    role: str
    home: str | None
    possession: _Possession

    @property
    def pronoun(self) -> str:
        return "She" if self.is_woman else "He"

    @property
    def possessive(self) -> str:
        return "her" if self.is_woman else "his"


def tell(voice: Voice, words: Vocabulary) -> None:
    """Tell one story, END included."""
    opener = voice.pick(words.openers)
    if opener == "Long":
        voice.say("ago")
    cast: list[_Person] = []
    cast.append(_introduce(voice, words, cast))
    cast.append(_introduce(voice, words, cast))
    hero = cast[-1]
    for event in range(words.max_events):
        first = voice.pick(_beginnings(words, cast, hero, event))
        if first == END:
            return
        hero = _sentence(voice, words, cast, hero, first)
    voice.say(END)


def _introduce(voice: Voice, words: Vocabulary, cast: list[_Person]) -> _Person:
    name = voice.pick(words.names, [person.name for person in cast])
    voice.say("the")
    role = voice.pick(words.roles, [person.role for person in cast])
    home = None
    if voice.pick(_HAD_OR_LIVED) == "lived":
        voice.say("in the")
        home = voice.pick(words.places, [person.home for person in cast if person.home])
        voice.say("with")
    possession = _acquire(voice, words, [person.possession for person in cast])
    voice.say(".")
    return _Person(name, name in words.women, role, home, possession)


def _acquire(voice: Voice, words: Vocabulary, taken: list[_Possession]) -> _Possession:
    taken_things = [other.thing for other in taken]
    amount = voice.pick(words.amounts)
    if amount == "a":
        adjective = voice.pick(words.adjectives, [o.adjective for o in taken if o.adjective])
        return _Possession(voice.pick(words.things, taken_things), adjective, 1)
    number = NUMBERS.index(amount) + 1
    noun = voice.pick(words.plurals, [f"{thing}s" for thing in taken_things])
    return _Possession(noun[:-1], None, number)


def _beginnings(words: Vocabulary, cast: list[_Person], hero: _Person, event: int) -> Options:
    weights = {person.name: 2.5 / len(cast) for person in cast}
    weights |= {hero.pronoun: 1.5, "The": 2.5, "Who": 2.0}
    if event == 0 and words.newcomer_weight:
        weights["Then"] = words.newcomer_weight
    if event >= words.min_events:
        weights[END] = 1.5 * (event - words.min_events + 1)
    return Options(weights)


def _sentence(
    voice: Voice, words: Vocabulary, cast: list[_Person], hero: _Person, first: str
) -> _Person:
    """Say the rest of a sentence that began with ``first``; returns whom a pronoun now means."""
    if first == "Then":
        cast.append(_introduce(voice, words, cast))
        return cast[-1]
    if first == "Who":
        return _question(voice, cast)
    if first != "The":
        subject = hero if first == hero.pronoun else _find(cast, first)
        _predicate(
            voice, words, cast, subject, depth=0, called=None if first == hero.pronoun else first
        )
        voice.say(".")
        return subject
    roles = {person.role: 1.5 for person in cast}
    word = voice.pick(Options(roles | {p.possession.first_word: 1.0 for p in cast}))
    if word in roles:
        subject = next(person for person in cast if person.role == word)
        _predicate(voice, words, cast, subject, depth=0, called=word)
        voice.say(".")
        return subject
    return _describe(voice, words, _owner(cast, word))


def _predicate(
    voice: Voice,
    words: Vocabulary,
    cast: list[_Person],
    subject: _Person,
    *,
    depth: int,
    called: str | None = None,
) -> None:
    """Say what ``subject`` did, without the full stop.

    ``called`` is the name or role that a clause about the subject may follow, if one may.
    """
    possession = subject.possession
    excluded = [
        word
        for word, is_possible in (
            (",", called is not None),
            ("went", subject.home is not None),
            ("lost", possession.number > 1),
            ("said", depth < words.max_depth),
            ("gave", depth == 0),
        )
        if not is_possible
    ]
    action = voice.pick(words.predicates, excluded)
    if action == "," and called is not None:
        _digress(voice, subject, called)
        _predicate(voice, words, cast, subject, depth=depth)
    elif action == "went":
        voice.say(f"home to the {subject.home}")
    elif action == "lost":
        _lose(voice, subject)
    elif action == "said":
        voice.say("that")
        _reported(voice, words, cast, subject, depth + 1)
    elif action == "gave":
        _trade(voice, cast, subject)
    else:
        voice.say(f"{subject.possessive} {possession.owned}")


def _digress(voice: Voice, subject: _Person, called: str) -> None:
    voice.say("who")
    facts = {"had": 1.0, "was": 1.0} | ({"lived": 1.0} if subject.home else {})
    fact = voice.pick(Options(facts))
    if fact == "had":
        voice.say(f"the {subject.possession.definite} ,")
    elif fact == "was":
        voice.say(f"{f'the {subject.role}' if called == subject.name else subject.name} ,")
    else:
        voice.say(f"in the {subject.home} ,")


def _lose(voice: Voice, subject: _Person) -> None:
    possession = subject.possession
    lost = voice.pick(Options(dict.fromkeys(NUMBERS[: possession.number - 1], 1.0)))
    voice.say(f"of {subject.possessive} {possession.noun} and had")
    possession.number -= NUMBERS.index(lost) + 1
    voice.say(f"{NUMBERS[possession.number - 1]} left")


def _reported(
    voice: Voice, words: Vocabulary, cast: list[_Person], speaker: _Person, depth: int
) -> None:
    others = [person for person in cast if person is not speaker]
    word = voice.pick(Options({person.name: 1.0 for person in others} | {"the": 1.0}))
    if word == "the":
        role = voice.pick(Options({person.role: 1.0 for person in others}))
        subject = next(person for person in others if person.role == role)
    else:
        subject = _find(cast, word)
    _predicate(voice, words, cast, subject, depth=depth)


def _trade(voice: Voice, cast: list[_Person], giver: _Person) -> None:
    names = {person.name: 1.0 for person in cast if person is not giver}
    taker = _find(cast, voice.pick(Options(names)))
    voice.say(f"{giver.possessive} {giver.possession.owned}")
    voice.say(f"and took {taker.possessive} {taker.possession.owned}")
    giver.possession, taker.possession = taker.possession, giver.possession


def _describe(voice: Voice, words: Vocabulary, owner: _Person) -> _Person:
    """The rest of a sentence about a possession, whose first word has been said."""
    possession = owner.possession
    if possession.adjective:
        voice.say(possession.noun)
    copula = "was" if possession.number == 1 else "were"
    if voice.pick(Options({"belonged": 1.0, copula: 1.0})) == "belonged":
        voice.say(f"to {owner.name} .")
    else:
        voice.pick(words.states)
        voice.say(".")
    return owner


def _question(voice: Voice, cast: list[_Person]) -> _Person:
    homes = {person.home: 1.0 for person in cast if person.home}
    about = voice.pick(Options({"had": 2.0, "was": 1.0} | ({"lived": 1.0} if homes else {})))
    if about == "had":
        voice.say("the")
        first = voice.pick(Options({person.possession.first_word: 1.0 for person in cast}))
        answer = _owner(cast, first)
        if answer.possession.adjective:
            voice.say(answer.possession.noun)
    elif about == "was":
        voice.say("the")
        role = voice.pick(Options({person.role: 1.0 for person in cast}))
        answer = next(person for person in cast if person.role == role)
    else:
        voice.say("in the")
        home = voice.pick(Options(homes))
        answer = next(person for person in cast if person.home == home)
    voice.say(f"? {answer.name} .")
    return answer


def _find(cast: list[_Person], name: str) -> _Person:
    return next(person for person in cast if person.name == name)


def _owner(cast: list[_Person], first_word: str) -> _Person:
    return next(p for p in cast if p.possession.first_word == first_word)


_HAD_OR_LIVED = Options({"had": 1.5, "lived": 1.0})
