"""The checklists of an experiment, answered from its records: before, during, claiming, reporting.

Each line has a question, one of 'yes', 'no', 'not applicable', and the evidence: the record's name
and the value in it. 'No' is also the answer where no record says yes: nothing is taken on trust.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from openevolve_unified.judgement.fitness import score
from openevolve_unified.judgement.scaling import fit_scaling_law
from openevolve_unified.records import told_energy
from openevolve_unified.validation.checklist_before import (
    Answer,
    answer,
    answers_before,
    validation_seeds,
)
from openevolve_unified.validation.dossier_doubts import limitations, threats
from openevolve_unified.validation.dossier_records import MISSING, Records
from openevolve_unified.validation.validation_files import find

CHECKLISTS = ("before", "during", "before claiming", "when reporting")
MIN_PAIRS = 10
"""Of seeds, before anything is claimed."""
_PLAN_WORDS = {
    True: "it names the plan of registration.json or of a declared deviation",
    False: "it names another plan",
    None: MISSING,
}
_CRITERIA = {
    "paired t": "Is the primary test significant after correction?",
    "sign flip": "Is the exact sign-flip test significant after correction?",
}


def checklists(records: Records) -> dict[str, tuple[Answer, ...]]:
    """By name, in the order of ``CHECKLISTS``."""
    answered = (answers_before(records), _during(records), _claiming(records), _reporting(records))
    return {name: tuple(lines) for name, lines in zip(CHECKLISTS, answered, strict=True)}


def _during(records: Records) -> list[Answer]:
    run, outcomes = records.run, records.evolvability.outcomes
    told = sorted(proposal.iteration for proposal in run.told.proposals)
    entries = run.told.entries
    refused = [entry for entry in entries if entry["verdict"] == "rejected"]
    lost = [entry for entry in entries if entry["verdict"] == "not judged"]
    hashes = {session.started.config_hash for session in run.told.sessions}
    steps = Counter(int(model["step"]) for _, model in records.models())
    unread = sum(not model.get("trained_fingerprint") for _, model in records.models())
    number = sum(steps.values())
    return [
        answer(
            "Is every proposal accounted for, whatever became of it?",
            told == list(range(1, len(told) + 1)),
            "proposals.json",
            f"{len(told)} iterations: {', '.join(f'{n} {o}' for o, n in outcomes.items())}",
        ),
        answer(
            "Does every refused program have a stage and a reason?",
            all(entry.get("reason") for entry in refused) if refused else None,
            "fitness_history.json",
            f"{len(refused)} refused: {dict(Counter(entry['stage'] for entry in refused))}",
        ),
        answer(
            "Was trouble of the machine kept apart from verdicts?",
            all("fitness" not in entry for entry in lost) if lost or run.told.troubles else None,
            "events.jsonl",
            f"{len(run.told.troubles)} troubles, {len(lost)} programs not judged",
        ),
        answer(
            "Did all sessions of the run have the same settings?",
            len(hashes) == 1,
            "events.jsonl, session_started",
            f"{len(run.told.sessions)} sessions, {len(hashes)} configurations",
        ),
        answer(
            "Was every compared model trained for the same steps?",
            set(steps) == {run.config.training.training_steps},
            "programs/*.json, step",
            f"{number} models, steps {dict(steps)}; planned {run.config.training.training_steps}",
        ),
        answer(
            "Is the program that was trained the one that was proposed?",
            number > 0 and not unread,
            "programs/*.json, trained_fingerprint",
            f"read back from {number - unread} of {number} trained models",
        ),
        _judged_on_validation(records),
        answer(
            "Did the run come to its end?",
            run.unfinished is None,
            "events.jsonl, session_ended",
            run.unfinished or run.told.stop_reason or "its iterations are done",
        ),
    ]


def _claiming(records: Records) -> list[Answer]:
    run, validation = records.run, records.validation
    claims = run.has_winner or records.verdict is not None
    found = records.confirmation
    pairs = validation_seeds(records)
    training = run.config.training

    def of_claim(question: str, holds: bool, record: str, evidence: Any) -> Answer:
        return answer(question, holds if claims else None, record, evidence)

    lines = [
        of_claim(
            "Was the winner confirmed at seeds that had no part in choosing it?",
            found.get("verdict") == "improved",
            "confirmation.json, verdict",
            found.get("verdict", MISSING),
        ),
        of_claim(
            "Was it trained to the full horizon?",
            not training.is_pilot,
            "settings.json, horizon",
            training.horizon,
        ),
        of_claim(
            "Is the program that was validated this run's best?",
            validation is not None
            and validation.evolved is not None
            and not records.other_validation,
            "registration.json",
            records.other_validation or f"{run.best['program']} is " + _named(records),
        ),
        of_claim(
            f"Was it validated at {MIN_PAIRS} pairs of seeds or more?",
            len(pairs) >= MIN_PAIRS and records.verdict is not None,
            "validation.json, seeds",
            f"{len(pairs)} seeds" if pairs else MISSING,
        ),
        of_claim(
            "Are its results reported under the plan that was registered?",
            validation is not None and validation.is_under_plan is True,
            "validation.json, plan_hash",
            _PLAN_WORDS[None if validation is None else validation.is_under_plan],
        ),
        of_claim(
            "Does the validation say 'improved'?",
            records.verdict == "improved",
            "validation.json, verdict",
            records.verdict or MISSING,
        ),
    ]
    for name, question in _CRITERIA.items():
        row = None if validation is None else validation.row("tests", name)
        p = None if row is None else row.get("p_holm")
        holds = isinstance(p, (int, float)) and p < 0.05
        evidence = MISSING if p is None else f"p = {p:.3g}"
        lines.append(of_claim(question, holds, f"validation.json, tests, {name}", evidence))
    for row in [] if validation is None else validation.rows("criteria_met"):
        lines.append(
            of_claim(
                f"Is the criterion met: {row.get('name', '?')}?",
                row.get("is_met", row.get("value")) is True,
                "validation.json, criteria_met",
                row.get("evidence", MISSING),
            )
        )
    beaten, ranked = records.beaten_arms, records.ranking
    taken_apart, repeated = records.other("ablation.json"), records.other("replay.json")
    agrees = find(repeated, "agrees", "agreement", "is_equal")
    return [
        *lines,
        of_claim(
            "Does evolution beat luck, tuning or random search, after correction?",
            bool(beaten),
            "control/control.json, comparisons",
            MISSING if records.control is None else f"beats: {', '.join(beaten) or 'none'}",
        ),
        of_claim(
            "Was the change taken apart, piece by piece?",
            taken_apart is not None,
            "ablation.json",
            MISSING if taken_apart is None else f"{len(taken_apart)} entries",
        ),
        of_claim(
            "Was the finding repeated by an independent reader?",
            agrees is not None and agrees[1] is True,
            "replay.json" + (f", {agrees[0]}" if agrees else ""),
            MISSING if repeated is None else agrees[1] if agrees else "no word of agreement",
        ),
        of_claim(
            "Was it set against the published mechanisms?",
            ranked is not None,
            "ranking.json",
            MISSING if ranked is None else f"horizon {ranked.get('horizon', MISSING)}",
        ),
    ]


def _named(records: Records) -> str:
    if records.registration is None or records.validation is None:
        return "in no registration"
    return "not named there" if records.validation.evolved is None else "its evolved program"


def _reporting(records: Records) -> list[Answer]:
    run, cost, validation = records.run, records.cost, records.validation
    estimates = [] if validation is None else validation.rows("estimates")
    gain = records.confirmation.get("gain") or {}
    interval = estimates[0].get("ci95") if estimates else gain.get("ci95")
    number = len(run.told.entries)
    versions = run.settings.get("versions", {})
    deviations = [] if validation is None else validation.deviations
    doubts = len(limitations(records)) + sum(map(len, threats(records).values()))
    return [
        answer(
            "Is the effect reported with its interval?",
            interval is not None if run.has_winner or estimates else None,
            "validation.json, estimates" if estimates else "confirmation.json, gain.ci95",
            interval or MISSING,
        ),
        answer(
            "Is the number of all programs tried reported, not the best alone?",
            number > 0,
            "fitness_history.json",
            f"{number} programs, {len(run.told.proposals)} proposals",
        ),
        answer(
            "Does every number travel with its horizon?",
            all(entry.get("horizon") for entry in run.told.entries),
            "fitness_history.json, horizon",
            run.config.training.horizon,
        ),
        answer(
            "Are the hours of training reported?",
            cost.search_h > 0,
            "programs/*.json, train_time_s",
            f"{cost.search_h:.3g} h in {cost.num_models} models",
        ),
        answer(
            "Are the operations reported?",
            cost.operations is not None,
            "plan.json, flops_per_step",
            MISSING if cost.operations is None else f"{cost.operations:.3g}",
        ),
        answer(
            "Is the energy reported?",
            cost.energy_joules is not None,
            "programs/*.json and store, energy_joules",
            told_energy(cost.energy_joules),
        ),
        answer(
            "Are settings, versions and programs there for others to repeat it?",
            bool(versions) and (run.path / "programs").is_dir(),
            "settings.json, versions",
            ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        ),
        answer(
            "Are deviations from the plan reported?",
            None if records.registration is None else validation is not None,
            "validation.json, deviations",
            f"{len(deviations)} declared" if records.registration else "there was no registration",
        ),
        answer(
            "Are limitations and threats to validity stated?",
            doubts > 0,
            "this record",
            f"{doubts} of them, each with the record that it is from",
        ),
    ]


def _judged_on_validation(records: Records) -> Answer:
    """The scores are computed again from the validation losses: nothing else went into them."""
    run, fitness = records.run, records.run.config.fitness
    baseline = run.sizes_of(run.baseline)
    equal = total = 0
    for entry in run.told.entries:
        if entry["verdict"] != "trained":
            continue
        total += 1
        own = run.sizes_of(entry)
        initial = () if entry["program"] == run.baseline["program"] else baseline
        fit = fit_scaling_law(
            [size.num_params_non_embedding for size in own], [size.losses_nats for size in own]
        )
        found = score(
            fit, own, initial, fitness.guard_tolerance_nats, fitness.kind, fitness.target_params
        )
        equal += abs(found.fitness - entry["fitness"]) <= 1e-9 * max(1.0, abs(found.fitness))
    return answer(
        "Was the test split kept out of the search?",
        total > 0 and equal == total,
        "fitness_history.json, fitness",
        f"{equal} of {total} fitness values follow from the validation losses alone",
    )
