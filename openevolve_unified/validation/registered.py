"""The registration inside a finding: does what was found rest on what was registered?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash, to_plain
from openevolve_unified.validation.arms import ARMS
from openevolve_unified.validation.finding import DOCUMENTS, Finding
from openevolve_unified.validation.record import RECORD
from openevolve_unified.validation.registration import REGISTRATION, read_registration


def doubts(finding: Finding) -> list[str]:
    """What does not fit together, a line each; nothing where all does."""
    try:
        registration = read_registration(finding.folder / DOCUMENTS)
        record = finding.document(RECORD)
        if registration is None or record is None:
            return [f"{REGISTRATION if registration is None else RECORD} is missing"]
        plan = registration.plan
        return [*_doubts_of_plan(finding, plan, record), *_doubts_of_runs(finding, record)]
    except ConfigError as error:
        return [str(error)]
    except (KeyError, TypeError, AttributeError) as error:
        return [f"a document of the validation is of another form ({error!r})"]


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
                yield f"{arm} {stored.name} was trained with other settings than {RECORD} says"
            run = stored.run
            if losses.pop(run.job_key, None) != (run.final_loss_nats, run.test_loss_nats):
                yield f"{arm} {stored.name} has other losses than {RECORD} says"
        if losses:
            yield f"{len(losses)} runs of the {arm} arm in {RECORD} have no record"
