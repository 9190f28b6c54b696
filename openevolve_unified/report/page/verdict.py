"""The verdict of a run: one sentence with its error, a word for it, and the numbers beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from openevolve_unified.judgement.compare import Standing, compare
from openevolve_unified.judgement.estimates import Estimate
from openevolve_unified.report.page.blocks import fact
from openevolve_unified.report.run_records import RunRecords
from openevolve_unified.validation.dossier import SCORED, Fact
from openevolve_unified.validation.dossier_records import Records
from openevolve_unified.validation.validation_files import ValidationFiles, find

Mood = Literal["good", "bad", "open"]
MOODS: dict[str, Mood] = {"improved": "good", "worse": "bad"}
"""Of the words of a validation and of a confirmation; others leave it open."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a page says first."""

    word: str
    sentence: str
    record: str
    mood: Mood
    """``open``: neither shown to be better nor worse."""
    numbers: tuple[Fact, ...] = ()


def verdict_of(records: RunRecords) -> Verdict:
    """By the strongest record there is: a validation, a confirmation, else the search."""
    found = records.found
    if found is None:
        return Verdict(
            word="no verdict", sentence=records.trouble, record="events.jsonl", mood="bad"
        )
    word, sentence, record, mood = _judged(found)
    if found.run.unfinished is not None:
        word, mood = "unfinished", "open"
    return Verdict(word=word, sentence=sentence, record=record, mood=mood, numbers=_numbers(found))


def sentence_of(validation: ValidationFiles) -> str:
    """Of a validation that has a verdict; which criteria are not met is told further below."""
    text = str(validation.judgement.get("sentence") or validation.verdict)
    text = text.partition("; not met:")[0]
    horizon = find(validation.result, "horizon")
    return f"{text[0].upper()}{text[1:]}{f' [{horizon[1]}]' if horizon else ''}."


def _judged(found: Records) -> tuple[str, str, str, Mood]:
    run = found.run
    horizon = run.config.training.horizon
    if found.verdict is not None and found.validation is not None:
        mood = MOODS.get(found.verdict, "open")
        return found.verdict, sentence_of(found.validation), "validation.json, judgement", mood
    if not run.has_winner:
        sentence = (
            "No candidate is ahead of the initial program by more than the error"
            f"{_closest(found)} [{horizon}]."
        )
        return "no winner", sentence, "fitness_history.json", "open"
    if not found.confirmation:
        gain = _selected(found)
        sentence = (
            f"The best program is ahead of the initial one by {_told(gain)} in score as selected, "
            f"but it was not trained at fresh seeds, so nothing is called improved [{horizon}]."
        )
        return "not confirmed", sentence, "fitness_history.json", "open"
    return _confirmed(found, horizon)


def _confirmed(found: Records, horizon: str) -> tuple[str, str, str, Mood]:
    told, gain = found.confirmation, found.evolvability.confirmed_gain
    record, verdict = "confirmation.json", str(told.get("verdict"))
    if gain is None:
        sentence = (
            f"The best program was refused at a fresh seed ({told.get('reason', 'no reason')}), so "
            f"its selected gain counts for nothing [{horizon}]."
        )
        return "refused", sentence, record, "bad"
    number = len(told.get("seeds", ()))
    seeds = f"at {number} fresh seed{'' if number == 1 else 's'}"
    words = {
        "improved": "The best program is better than the initial one",
        "worse": "The best program is worse than the initial one",
        "not told apart": "The best program is not told apart from the initial one",
    }
    start = words.get(verdict, "How the best program compares is not known")
    sentence = f"{start} {seeds}: its score differs by {_told(gain)} [{horizon}]."
    return verdict, sentence, record, MOODS.get(verdict, "open")


def _closest(found: Records) -> str:
    """The candidate that came nearest, with its error."""
    run = found.run
    base = Standing.of_entry(run.baseline)
    others = [
        entry
        for entry in run.told.entries
        if entry["verdict"] == "trained" and entry["program"] != run.baseline["program"]
    ]
    if not others:
        return ": none was trained"
    best = max(others, key=lambda entry: Standing.of_entry(entry).value)
    gain = compare(Standing.of_entry(best), base).estimate
    return f"; the one with the highest score, {best['program'][:6]}, differs by {_told(gain)}"


def _selected(found: Records) -> Estimate:
    run = found.run
    return compare(Standing.of_entry(run.best), Standing.of_entry(run.baseline)).estimate


def _told(estimate: Estimate) -> str:
    text = str(estimate)
    if estimate.ci95 is None:
        return text
    return f"{text[:-1]}; 95% {estimate.ci95[0]:+.4f} to {estimate.ci95[1]:+.4f})"


def _numbers(found: Records) -> tuple[Fact, ...]:
    """The few that a reader looks for first."""
    run, told = found.run, found.evolvability
    trained = told.outcomes.get("trained", 0)
    numbers: list[tuple[str, Any, str]] = [
        ("score of the initial program", _score(run.baseline), "fitness_history.json"),
    ]
    if run.has_winner:
        numbers += [
            ("score of the best program", _score(run.best), "fitness_history.json"),
            (
                "gain as selected, too large on average",
                _selected(found).short,
                "fitness_history.json",
            ),
        ]
    if told.confirmed_gain is not None:
        numbers.append(
            ("gain at fresh seeds", told.confirmed_gain.short, "confirmation.json, gain")
        )
    numbers += [
        ("proposals", f"{told.num_proposals}, of which {trained} trained", "proposals.json"),
        ("horizon", run.config.training.horizon, "settings.json"),
        ("score", f"minus the {SCORED[run.config.fitness.kind]}; higher is better", "config.yaml"),
        ("training", f"{found.cost.search_h:.2g} hours", "programs/*.json, train_time_s"),
    ]
    return tuple(fact(name, value, record) for name, value, record in numbers)


def _score(entry: dict[str, Any]) -> str:
    standing = Standing.of_entry(entry)
    return Estimate(
        value=standing.value, stderr=standing.stderr, degrees_of_freedom=standing.degrees_of_freedom
    ).short
