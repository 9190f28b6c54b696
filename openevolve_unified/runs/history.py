"""The entries of a run's ``fitness_history.json``: one per program, also when the file is damaged.

Each entry is kept twice, in the history and in the program's own file in ``programs/``; what is
wrong with the first is rebuilt from the second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from openevolve_unified.config.names import FAILURE_SCORE
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.compare import Standing, best_of
from openevolve_unified.judgement.diagnostics import generalisation_gap, told_diagnostics
from openevolve_unified.judgement.feedback import told_score
from openevolve_unified.judgement.health import told_health
from openevolve_unified.judgement.judges import Judges
from openevolve_unified.judgement.metrics import stopped_score
from openevolve_unified.judgement.shared_seeds import differences_nats
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.records import Evaluation, Failure, SizeResult, total_joules
from openevolve_unified.runs.entries import is_entry

Verdict = Literal["trained", "stopped", "rejected", "not judged"]
"""``stopped``: by the race; it is legal and has no fitness.
``not judged``: the machine could not finish; it says nothing about the program."""

_DETAILS = ("checks", "features", "overfit", "losses_per_size", "losses", "recall")
"""What a program's own file says more than its entry."""
_LONG = ("curve", "health", "certificate", "parameter_changes", "versions")
"""Of a run's record; it is in the store."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What a run's folder says about its programs, in the order in which they were tried."""

    entries: list[dict[str, Any]]
    damage: str | None = None
    """What was wrong with the file and what the entries are now, in one line."""


def read_history(path: Path, programs: Path) -> History:
    """The history in ``path``, or what the files in the folder ``programs`` say about it."""
    kept: list[dict[str, Any]] = []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["programs"]
        kept = [entry for entry in entries if is_entry(entry)]
        trouble = "is damaged" if len(kept) < len(entries) else None
    except FileNotFoundError:
        trouble = "is missing"
    except (ValueError, KeyError, TypeError):
        trouble = "is damaged"
    return _complete(kept, path, programs, trouble)


def best_entry(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry of the best program, by the rule of ``judgement.compare``; None of none trained."""
    trained = [entry for entry in entries if entry["verdict"] == "trained"]
    return best_of(trained, Standing.of_entry)


def new_entry(
    index: int,
    result: Evaluation | Failure,
    iteration: int | None,
    judges: Judges | None = None,
) -> dict[str, Any]:
    """The entry of a program that was not tried before.

    Args:
        judges: of a trained program.
    """
    source_hash = result.program.source_hash[:12]
    entry: dict[str, Any] = {
        "index": index,
        "program": source_hash,
        "file": f"{index:04d}_{source_hash}.py",
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "horizon": result.horizon,
        "is_pilot": result.is_pilot,
        "iterations": [] if iteration is None else [iteration],
        "num_proposals": 1,
        "duration_s": round(result.duration_s, 2),
        "combined_score": FAILURE_SCORE,
    }
    if result.traits is not None:
        entry.update(fingerprint=result.fingerprint, traits=to_plain(result.traits))
    if isinstance(result, Failure) and result.stopped_early is not None:
        return {
            **entry,
            "combined_score": stopped_score(result.stopped_early),
            "verdict": "stopped",
            "stopped_at_step": result.stopped_early.step,
            "saved_share": result.stopped_early.saved_share,
            "stage": result.stage,
            "reason": result.reason,
        }
    if isinstance(result, Failure):
        verdict: Verdict = "not judged" if result.is_machine_trouble else "rejected"
        return {**entry, "verdict": verdict, "stage": result.stage, "reason": result.reason}
    standing = Standing.of_evaluation(result)
    differences = differences_nats(result.sizes, result.baseline) if result.baseline else ()
    return {
        **entry,
        "verdict": "trained",
        "combined_score": result.score.value,
        "mean_score": standing.value,
        "stderr": standing.stderr,
        "degrees_of_freedom": standing.degrees_of_freedom,
        "reliability": result.score.reliability,
        "scores": {
            str(seed): {"score": value, "iteration": iteration}
            for seed, value in zip(result.sizes[0].seeds, result.score.by_seed, strict=False)
        },
        "told_score": told_score(result.score, len(result.sizes[0].seeds)),
        "fitness": result.score.fitness,
        "lack_of_fit": standing.lack_of_fit,
        "harm_nats": result.score.harm_nats,
        "r2": result.fit.r2,
        "health": told_health(result.sizes),
        "diagnostics": told_diagnostics(result.sizes, result.recall),
        "cached": result.cached,
        "energy_joules": total_joules(
            run.energy_joules for size in result.sizes for run in size.runs
        ),
        "losses_nats": {size.size.name: size.mean_loss_nats for size in result.sizes},
        "differences_nats": {
            size.size.name: difference
            for size, difference in zip(result.sizes, differences, strict=False)
        },
        "num_params_non_embedding": {
            size.size.name: size.num_params_non_embedding for size in result.sizes
        },
        "dominance": judges.dominance if judges is not None else None,
        "judges": to_plain(judges) if judges is not None else None,
        "num_params_total": {size.size.name: size.num_params_total for size in result.sizes},
    }


def entry_again(
    known: dict[str, Any],
    result: Evaluation | Failure,
    iteration: int | None,
    judges: Judges | None = None,
) -> dict[str, Any]:
    """The entry of a program that was tried before, as ``known``.

    It counts one more proposal, unless the same iteration is done again after ``--resume``. A
    verdict stands when the machine fails later.
    """
    entry = new_entry(known["index"], result, iteration, judges)
    if entry["verdict"] == "not judged" and known["verdict"] != "not judged":
        entry = dict(known)
    iterations = known.get("iterations", [])
    is_repeated = iteration is not None and iteration in iterations
    is_new_iteration = iteration is not None and not is_repeated
    entry["iterations"] = [*iterations, iteration] if is_new_iteration else iterations
    entry["num_proposals"] = known["num_proposals"] + (not is_repeated)
    entry["file"] = known["file"]
    entry["time"] = known["time"]
    _keep_iterations_of_scores(entry, known)
    return entry


def entry_remeasured(
    known: dict[str, Any], result: Evaluation, iteration: int | None, judges: Judges | None = None
) -> dict[str, Any]:
    """The entry of a program that got one more seed; nobody proposed it again."""
    kept = ("file", "time", "iterations", "num_proposals", "duration_s")
    entry = new_entry(known["index"], result, iteration, judges)
    entry.update({name: known[name] for name in kept if name in known})
    _keep_iterations_of_scores(entry, known)
    return entry


def scores_before(entry: dict[str, Any], iteration: int | None) -> dict[int, float] | None:
    """A candidate's score at each seed, as they were known when an iteration began.

    Args:
        iteration: None for all that is known.

    Returns:
        None for what was not trained by then.
    """
    iterations = entry.get("iterations", [])
    if entry["verdict"] != "trained":
        return None
    if iteration is not None and iterations and min(iterations) >= iteration:
        return None
    return {
        int(seed): found["score"]
        for seed, found in entry.get("scores", {}).items()
        if iteration is None or found["iteration"] is None or found["iteration"] < iteration
    }


def judges_of(entry: Mapping[str, Any]) -> Judges | None:
    """The judges of a trained program's entry; None in one of an earlier release."""
    try:
        return from_mapping(Judges, entry.get("judges"), "judges")
    except (ConfigError, TypeError, ValueError):
        return None


def _keep_iterations_of_scores(entry: dict[str, Any], known: dict[str, Any]) -> None:
    """A score is as old as when it was first known, so that a resumed run knows what it knew."""
    for seed, found in entry.get("scores", {}).items():
        earlier = known.get("scores", {}).get(seed)
        if earlier is not None:
            found["iteration"] = earlier["iteration"]


def size_details(size: SizeResult) -> dict[str, Any]:
    """One size for people: parameters, mean loss in nats per token, and the runs, one per seed.

    A run is told without what is long in it; its ``job_key`` leads to the whole record.
    """
    return {
        "size": size.size.name,
        "num_params_non_embedding": size.num_params_non_embedding,
        "num_params_total": size.num_params_total,
        "mean_loss_nats": size.mean_loss_nats,
        "generalisation_gap_nats": [generalisation_gap(run) for run in size.runs],
        "runs": [
            {name: value for name, value in to_plain(run).items() if name not in _LONG}
            for run in size.runs
        ],
    }


def _complete(
    kept: list[dict[str, Any]], path: Path, programs: Path, trouble: str | None
) -> History:
    """The entries that can be read, and those of the other records in ``programs``.

    A program whose record cannot be read either counts as lost only where the file is in trouble:
    it was said once.
    """
    known = {entry["program"] for entry in kept}
    rebuilt, lost = [], []
    for record in sorted(programs.glob("*.json")):
        if record.stem.partition("_")[2] in known:
            continue
        try:
            entry = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:
            entry = None
        if is_entry(entry):
            known.add(entry["program"])
            rebuilt.append({key: entry[key] for key in entry if key not in _DETAILS})
        else:
            lost.append(record.name)
    if trouble is None and rebuilt:
        trouble = "lacks programs that were tried"
    if trouble is None or (trouble == "is missing" and not rebuilt and not lost):
        return History(entries=kept)
    entries = sorted([*kept, *rebuilt], key=lambda entry: (entry["index"], entry["time"]))
    noun, verb = ("entry", "was") if len(rebuilt) == 1 else ("entries", "were")
    damage = f"{path.name} {trouble}: {len(rebuilt)} {noun} {verb} rebuilt from programs/"
    if lost:
        damage += (
            f"; {len(lost)} are lost because their records are damaged too ({', '.join(lost)})"
        )
    return History(entries=entries, damage=damage)
