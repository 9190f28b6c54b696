"""The checklist 'before': what was fixed, measured and planned before anything was spent.

An answer rests on a record that says so; a registration that its own hash does not fit answers
nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from openevolve_unified.evaluation.seeds import seeds_of
from openevolve_unified.validation.dossier_records import MISSING, Records
from openevolve_unified.validation.validation_files import find

Reply = Literal["yes", "no", "not applicable"]
_EDITED = "the registration was edited after it was written: its hash does not fit"
_HASHED = ("data", "code", "program")
_REGISTERED = (
    ("Was a question with its hypotheses written down first?", ("hypotheses", "hypothesis")),
    ("Were the primary test and the secondary ones fixed first?", ("primary", "primary_tests")),
    ("Was the correction for several tests fixed first?", ("correction",)),
    ("Were the criteria of success fixed first?", ("criteria", "success_criteria")),
    ("Was the rule that ends the trial fixed first?", ("stopping rule", "stopping_rule")),
    ("Was it fixed first how the loss is read?", ("reading",)),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of a checklist."""

    question: str
    answer: Reply
    record: str
    """Where the evidence is from: a file, and a place in it."""
    evidence: str


def answer(question: str, holds: bool | None, record: str, evidence: Any) -> Answer:
    """A line of a checklist; ``holds`` is None where the question is not applicable."""
    reply: Reply = "not applicable" if holds is None else "yes" if holds else "no"
    return Answer(question=question, answer=reply, record=record, evidence=_short(evidence))


def answers_before(records: Records) -> list[Answer]:
    """The lines, in their order."""
    lines = [_registered(records, question, names) for question, names in _REGISTERED]
    lines += [_sealed(records), _hashed(records), _powered(records), _tuned(records)]
    if records.validation is not None and records.validation.is_sealed is False:
        lines = [dataclasses.replace(line, answer="no", evidence=_EDITED) for line in lines]
    run, noise, plan = records.run, records.run.told.noise, records.run.told.plan
    seeds = seeds_of(run.config)
    chosen, fresh = seeds.search, seeds.confirmation
    validated = validation_seeds(records)
    overlap = sorted(set(chosen) & set(fresh) | (set(chosen) | set(fresh)) & set(validated))
    return [
        *lines,
        answer(
            "Are the seeds of search, confirmation and validation disjoint?",
            not overlap,
            "config.yaml and registration.json",
            f"search {list(chosen)}, confirmation {list(fresh)}, validation "
            f"{list(validated) or 'none'}" + (f"; shared: {overlap}" if overlap else ""),
        ),
        answer(
            "Was the noise of the instrument measured first?",
            noise is not None,
            "noise.json",
            MISSING if noise is None else f"the initial program at the seeds {noise['seeds']}",
        ),
        answer(
            "Was the cost planned before it was spent?",
            plan is not None,
            "plan.json, candidate_s",
            MISSING if plan is None else f"{plan.get('candidate_s', 0):.0f} s per candidate",
        ),
        answer(
            "Were the settings checked and fixed before the start?",
            bool(run.settings.get("config_hash")),
            "settings.json, config_hash",
            run.settings.get("config_hash", MISSING),
        ),
        _isolated(records),
    ]


def _registered(records: Records, question: str, names: tuple[str, ...]) -> Answer:
    found = find(records.registration, *names)
    if found is None:
        evidence = MISSING if records.registration else "there is no registration"
        return answer(question, False, "registration.json", evidence)
    place, value = found
    return answer(question, True, f"registration.json, {place}", value)


def _sealed(records: Records) -> Answer:
    validation = records.validation
    sealed = None if validation is None else validation.is_sealed
    return answer(
        "Is the registration as it was written?",
        sealed is True,
        "registration.json, hash",
        "its hash fits" if sealed else MISSING if sealed is None else _EDITED,
    )


def _hashed(records: Records) -> Answer:
    found = {name: find(records.registration, name) for name in _HASHED}
    known = {name: str(item[1])[:12] for name, item in found.items() if item is not None}
    return answer(
        "Are data, code and programs of the plan known by their hashes?",
        len(known) == len(_HASHED),
        "registration.json",
        known or MISSING,
    )


def _powered(records: Records) -> Answer:
    """A plan that was followed although its power is unknown or too small answers no."""
    found = find(records.registration, "power")
    power = found[1] if found is not None and isinstance(found[1], Mapping) else {}
    is_told = isinstance(power.get("power"), (int, float))
    return answer(
        "Does the number of seeds follow from the measured noise (power)?",
        is_told and not power.get("hopeless_because") and not power.get("despite_power"),
        "registration.json, power",
        power.get("hopeless_because") or power.get("sentence") or power or MISSING,
    )


def _tuned(records: Records) -> Answer:
    found = find(records.registration, "tuning")
    tuning = found[1] if found is not None and isinstance(found[1], Mapping) else {}
    return answer(
        "Were both arms to be tuned with the same space and budget?",
        tuning.get("mode") == "equal",
        "registration.json, tuning.mode",
        tuning.get("mode", MISSING),
    )


def _isolated(records: Records) -> Answer:
    levels = Counter(
        str(details.get("checks", {}).get("isolation", {}).get("level", MISSING))
        for details in records.details
    )
    question = "Was the candidates' code confined while it ran?"
    return answer(question, set(levels) == {"full"}, "programs/*.json, isolation", dict(levels))


def validation_seeds(records: Records) -> tuple[int, ...]:
    """At which a validation compared both arms; none without one."""
    validation = records.validation
    if validation is None:
        return ()
    found = find(records.registration, "pairs", "seeds")
    seeds = validation.judgement.get("seeds") or (found[1] if found else ())
    return tuple(s for s in seeds if isinstance(s, int)) if isinstance(seeds, (list, tuple)) else ()


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else f"{text[:157]}..."
