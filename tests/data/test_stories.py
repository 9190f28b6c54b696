from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from openevolve_unified.data.stories import (
    generate_stories,
    sample_story,
    score_beginning,
    score_story,
)
from openevolve_unified.data.vocabulary import (
    ACTIONS,
    ADJECTIVES,
    FEMALE,
    MALE,
    ROLES,
    THINGS,
    VERBS,
    default_vocabulary,
)
from openevolve_unified.data.voices import END, Options, Sampler, join, split


def test_the_probabilities_of_all_stories_of_a_small_grammar_sum_to_one(every_small_story):
    assert len(every_small_story) > 1_000
    total = math.fsum(math.exp(log_prob) for _, log_prob in every_small_story)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_no_story_of_a_small_grammar_has_two_derivations(every_small_story):
    assert len({text for text, _ in every_small_story}) == len(every_small_story)


def test_the_scorer_finds_the_probability_of_every_derivation(every_small_story, small_vocabulary):
    for text, log_prob in every_small_story[::7]:
        scored = math.fsum(spoken.log_prob for spoken in score_story(text, small_vocabulary))
        assert scored == pytest.approx(log_prob, abs=1e-12)


def test_stories_are_drawn_with_their_probabilities(every_small_story, small_vocabulary):
    source = random.Random(5)
    num_draws = 20_000
    counts = Counter(sample_story(source, small_vocabulary)[0] for _ in range(num_draws))
    likely = sorted(every_small_story, key=lambda story: -story[1])[:40]
    expected = [num_draws * math.exp(log_prob) for _, log_prob in likely]
    chi_square = sum(
        (counts[text] - count) ** 2 / count
        for (text, _), count in zip(likely, expected, strict=True)
    )
    assert chi_square < 40 + 5 * math.sqrt(80)


def test_the_probability_of_a_drawn_story_is_what_reading_it_back_gives():
    source, words = random.Random(3), default_vocabulary()
    for _ in range(200):
        text, log_prob = sample_story(source, words)
        scored = math.fsum(spoken.log_prob for spoken in score_story(text, words))
        assert scored == pytest.approx(log_prob, abs=1e-10)
        assert join(split(text)) == text


def test_the_choices_at_every_word_sum_to_one():
    for spoken in score_story(generate_stories(1, seed=11)[0]):
        assert math.fsum(spoken.choices.values()) == pytest.approx(1.0, abs=1e-12)


def test_the_same_seed_tells_the_same_stories_and_another_seed_others():
    assert generate_stories(20, seed=1) == generate_stories(30, seed=1)[:20]
    assert not set(generate_stories(20, seed=1)) & set(generate_stories(20, seed=2))


def test_stories_do_not_repeat():
    stories = generate_stories(2_000, seed=0)
    assert len(set(stories)) == len(stories)


STORY = (
    "Once Mia the cook had two kites. Tom the poet lived in the mill with a red kit. "
    "Mia lost one of her kites and had one left."
)


def scores(text, small_vocabulary):
    return sum(spoken.log_prob for spoken in score_story(text, small_vocabulary))


def test_a_wrong_count_a_wrong_pronoun_and_a_wrong_owner_cannot_be_told(small_vocabulary):
    assert scores(STORY, small_vocabulary) < 0
    with pytest.raises(ValueError, match=r"got 'two', wanted one of \['one'\]"):
        scores(STORY.replace("had one left", "had two left"), small_vocabulary)
    with pytest.raises(ValueError, match=r"got 'his', wanted one of \['her'\]"):
        scores(STORY.replace("of her", "of his"), small_vocabulary)
    beginning = STORY[: STORY.index("Mia lost")]
    assert scores(f"{beginning}The red kit belonged to Tom.", small_vocabulary) < 0
    with pytest.raises(ValueError, match=r"got 'Mia', wanted one of \['Tom'\]"):
        scores(f"{beginning}The red kit belonged to Mia.", small_vocabulary)
    assert scores(f"{beginning}The kites were lost.", small_vocabulary) < 0
    with pytest.raises(ValueError, match=r"got 'was', wanted one of \['belonged', 'were'\]"):
        scores(f"{beginning}The kites was lost.", small_vocabulary)


def test_possessions_that_change_hands_have_a_new_owner(small_vocabulary):
    vocabulary = replace(small_vocabulary, max_events=2)
    trade = (
        "Once Mia the cook had two kites. Tom the poet had a red kit. "
        "Tom gave Mia his red kit and took her two kites. Who had the red kit? "
    )
    assert scores(f"{trade}Mia.", vocabulary) < 0
    with pytest.raises(ValueError, match=r"got 'Tom', wanted one of \['Mia'\]"):
        scores(f"{trade}Tom.", vocabulary)


def test_a_text_that_is_too_short_or_too_long_cannot_be_told(small_vocabulary):
    with pytest.raises(ValueError, match="got '', wanted one of"):
        score_story("Once Mia the cook", small_vocabulary)
    with pytest.raises(ValueError, match="got 'Mia', wanted one of"):
        score_story(f"{STORY} Mia", small_vocabulary)


def test_a_beginning_has_the_choices_of_its_next_word(small_vocabulary):
    spoken, choices = score_beginning(["Once", "Mia", "the"], small_vocabulary)
    assert [word.word for word in spoken] == ["Once", "Mia", "the"]
    assert choices == pytest.approx({"cook": 1 / 3, "poet": 2 / 3})
    with pytest.raises(ValueError, match="the story ended before"):
        score_beginning([*split(STORY), "more"], small_vocabulary)


def test_a_choice_excludes_words_and_renormalises_the_rest():
    options = Options({"a": 1.0, "b": 2.0, "c": 1.0})
    assert options.without(["b"]) == {"a": 0.5, "c": 0.5}
    voice = Sampler(random.Random(0))
    drawn = [voice.pick(options, ["b"]) for _ in range(50)]
    assert set(drawn) == {"a", "c"}
    assert voice.log_prob == pytest.approx(50 * math.log(0.5))


def test_no_word_of_the_vocabulary_has_two_uses_in_one_place():
    words = (ROLES, ADJECTIVES, THINGS, tuple(f"{thing}s" for thing in THINGS))
    flat = [word for group in words for word in group]
    assert len(set(flat)) == len(flat)
    assert len({*FEMALE, *MALE, "The", "She", "He", "Who", "Then"}) == len(FEMALE + MALE) + 5
    assert not set(VERBS) & set(ACTIONS)


def test_a_choice_of_two_words_at_once_is_refused():
    assert Options({"red": 1.0, END: 1.0})
    with pytest.raises(ValueError, match="single words"):
        Options({"red kite": 1.0, "ball": 1.0})
    with pytest.raises(ValueError, match="positive weight"):
        Options({"red": 0.0, "ball": 1.0})
    with pytest.raises(ValueError, match="at least one word"):
        Options({})
