"""The registration inside a finding, read anew: does what was found rest on what was registered?

A reader of its own, of the three files that a validation writes: ``registration.json``, sealed by
its hash; ``deviations.json``, each bound to the one before; ``validation.json`` with its plan's
hash, both arms' settings and every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.validation.finding import ARMS, Finding
from openevolve_unified.validation.manifest import is_sealed

REGISTRATION, DEVIATIONS, VALIDATION = "registration.json", "deviations.json", "validation.json"


def doubts(finding: Finding) -> list[str]:
    """What does not fit together, a line each; nothing where all does."""
    registration, record = finding.document(REGISTRATION), finding.document(VALIDATION)
    if registration is None or record is None:
        return [f"documents/{REGISTRATION if registration is None else VALIDATION} is missing"]
    try:
        plan = plan_in_force(registration, finding.document(DEVIATIONS))
        return [*_doubts_of_plan(finding, plan, record), *_doubts_of_runs(finding, record)]
    except ConfigError as error:
        return [str(error)]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"a document of the validation is of another form ({error!r})"]


def plan_in_force(
    registration: dict[str, Any], deviations: dict[str, Any] | None
) -> dict[str, Any]:
    """The registered plan, or the one of the last declared deviation.

    Raises:
        ConfigError: a file was edited after it was written.
    """
    if not is_sealed(registration):
        raise ConfigError(f"{REGISTRATION} was edited after it was written")
    plan, previous = registration["plan"], registration["hash"]
    for entry in (deviations or {}).get("deviations", ()):
        if not is_sealed(entry) or entry["previous"] != previous:
            raise ConfigError(f"{DEVIATIONS} was edited after it was written")
        plan, previous = entry["plan"], entry["hash"]
    return dict(plan)


def _doubts_of_plan(
    finding: Finding, plan: dict[str, Any], record: dict[str, Any]
) -> Iterator[str]:
    about = finding.about
    programs = {arm: hashlib.sha256(finding.programs[arm].encode()).hexdigest() for arm in ARMS}
    found = {
        "the plan": (record["plan_hash"], content_hash(plan)),
        "the criteria": (about.criteria, plan["criteria"]),
        "the seeds": (list(about.seeds), plan["seeds"]["pairs"]),
        "the data": (about.held_out.fingerprint, plan["data"]),
        **{f"the {arm} program": (programs[arm], plan["arms"][arm]["program"]) for arm in ARMS},
    }
    for name, (here, registered) in found.items():
        if here != registered:
            yield f"not as registered: {name}"


def _doubts_of_runs(finding: Finding, record: dict[str, Any]) -> Iterator[str]:
    for arm in ARMS:
        reported = record["arms"][arm]
        losses = {
            run["job_key"]: (run["final_loss_nats"], run["test_loss_nats"])
            for row in reported["runs"]
            for run in row
        }
        for stored in finding.runs[arm]:
            training = to_plain(stored.job.training)
            del training["seeds"]
            if training != reported["training"]:
                yield f"{arm} {stored.name} was trained with other settings than {VALIDATION} says"
            run = stored.run
            if losses.pop(run.job_key, None) != (run.final_loss_nats, run.test_loss_nats):
                yield f"{arm} {stored.name} has other losses than {VALIDATION} says"
        if losses:
            yield f"{len(losses)} runs of the {arm} arm in {VALIDATION} have no record"
