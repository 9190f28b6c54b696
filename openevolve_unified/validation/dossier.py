"""The experiment record: what a run was for, what it did and found, and what speaks against it.

Everything is read from the run's folder, its store and its validation's folder. Each fact names the
record that it is from; what no record says is told as missing, and nothing is invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openevolve_unified.judgement.compare import Standing
from openevolve_unified.notations import NOTATIONS
from openevolve_unified.records import told_energy, total_joules
from openevolve_unified.validation.checklist_before import Answer
from openevolve_unified.validation.checklists import checklists
from openevolve_unified.validation.dossier_doubts import (
    deviations,
    limitations,
    next_steps,
    threats,
)
from openevolve_unified.validation.dossier_records import MISSING, Records
from openevolve_unified.validation.validation_files import find

FORMAT = 1
SCORED = {
    "slope": "slope of the scaling law",
    "predicted_loss": "loss predicted beyond the ladder",
    "largest_loss": "loss at the largest size",
}
ENERGY_SOURCE = "energy_joules of each run: of the CPU's packages or the GPU alone, shared out"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that a record says."""

    name: str
    value: Any
    """A plain JSON value, with its unit in the name or in the text."""
    source: str
    """The record; empty for what follows from the others."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the record."""

    title: str
    facts: tuple[Fact, ...]
    code: str = ""
    """A text that is shown as it is, such as a difference of programs."""


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """The whole record of one experiment."""

    title: str
    sections: tuple[Section, ...]
    checklists: dict[str, tuple[Answer, ...]]
    format: int = FORMAT

    def section(self, title: str) -> Section:
        """The part of this title."""
        return next(section for section in self.sections if section.title == title)


def dossier_of(records: Records) -> Dossier:
    """Put the record of an experiment together."""
    run = records.run
    return Dossier(
        title=f"Experiment record of {run.name}: {run.config.framework}, "
        f"{run.config.training.horizon}",
        sections=(
            _goal(records),
            _question(records),
            _change(records),
            _settings(records),
            _evolution(records),
            _validation(records),
            _controls(records),
            _cost(records),
            _health(records),
            _section("limitations", *_numbered(limitations(records))),
            *(
                _section(f"threats to validity: {kind}", *_numbered(lines))
                for kind, lines in threats(records).items()
            ),
            _section("deviations", *_numbered(deviations(records))),
            _section("next steps", *_numbered(next_steps(records))),
        ),
        checklists=checklists(records),
    )


def _section(title: str, *facts: tuple[str, Any, str], code: str = "") -> Section:
    return Section(
        title=title,
        facts=tuple(
            Fact(name=name, value=MISSING if value in (None, "") else value, source=source)
            for name, value, source in facts
        ),
        code=code,
    )


def _numbered(lines: list[tuple[str, str]]) -> list[tuple[str, Any, str]]:
    return [(str(place), text, source) for place, (text, source) in enumerate(lines, 1)]


def _goal(records: Records) -> Section:
    law = records.run.config
    notation = NOTATIONS[law.framework]
    return _section(
        "goal",
        (
            "goal",
            f"causal attention written as {law.framework.replace('_', ' ')} (the method "
            f"`{notation.evolvable_method}` and its parts) whose {SCORED[law.fitness.kind]} is "
            "better than the initial program's",
            "config.yaml, scaling_law.fitness.kind",
        ),
        ("proposer", records.run.settings.get("proposer"), "settings.json"),
    )


def _question(records: Records) -> Section:
    run, found = records.run, records.evolvability
    asked = find(records.registration, "question", "hypotheses", "hypothesis")
    trained = found.outcomes.get("trained", 0)
    confirmed = len(records.confirmation.get("seeds", ()))
    tested = (
        f"{found.num_proposals} proposals, of which {trained} were trained at "
        f"{len(run.config.sizes)} sizes up to {run.config.sizes[-1].name} for "
        f"{run.config.training.training_steps:,} steps on {run.config.data.source}; "
    )
    if not run.has_winner:
        tested += "no program is ahead of the initial one by more than the error"
    elif confirmed:
        tested += f"the best was confirmed at {confirmed} fresh seeds"
    else:
        tested += "the best was not confirmed at fresh seeds"
    return _section(
        "question and what was really tested",
        (
            "question",
            None if asked is None else asked[1],
            "registration.json" + (f", {asked[0]}" if asked else ""),
        ),
        ("really tested", tested, "events.jsonl"),
        ("horizon", run.config.training.horizon, "settings.json"),
        (
            "verdict of the validation",
            records.verdict or records.other_validation or "there was no validation",
            "validation.json",
        ),
    )


def _change(records: Records) -> Section:
    run = records.run
    path = run.path / "best_code.diff"
    code = path.read_text(encoding="utf-8") if run.has_winner and path.exists() else ""
    if not run.has_winner:
        return _section(
            "what changed",
            ("change", "nothing: the initial program is the best", "fitness_history.json"),
        )
    best = run.details(run.best)
    features = best.get("features", {})
    return _section(
        "what changed",
        ("program", f"programs/{run.best['file']}", "fitness_history.json"),
        ("lines of difference", len(code.splitlines()) or None, "best_code.diff"),
        ("operations, over the initial program's", features.get("flops_ratio"), "programs/*.json"),
        ("parameters, over the initial program's", features.get("params_ratio"), "programs/*.json"),
        (
            "causality",
            best.get("checks", {}).get("causality", {}).get("method"),
            "programs/*.json, checks",
        ),
        code=code,
    )


def _settings(records: Records) -> Section:
    run, law, plan = records.run, records.run.config, records.run.told.plan or {}
    training = law.training
    sizes = ", ".join(
        f"{name} ({count:,})" for name, count in run.baseline["num_params_non_embedding"].items()
    )
    noise = run.told.noise or {}
    return _section(
        "settings",
        ("sizes (non-embedding parameters)", sizes, "fitness_history.json"),
        (
            "data",
            f"{law.data.source}, vocabulary {law.data.vocab_size:,}, {law.data.seq_len} tokens a "
            "sequence",
            "config.yaml",
        ),
        (
            "fingerprint of the data",
            noise.get("settings", {}).get("scaling_law.data"),
            "noise.json",
        ),
        (
            "training",
            f"{training.training_steps:,} steps of {training.batch_size} sequences, learning rate "
            f"{training.learning_rate:g} ({training.schedule}, warm-up {training.warmup_steps}), "
            f"weight decay {training.weight_decay:g}, dropout {training.dropout:g}",
            "config.yaml",
        ),
        ("search seeds", list(training.seeds), "config.yaml"),
        ("confirmation seeds", records.confirmation.get("seeds"), "confirmation.json"),
        (
            "machine",
            f"{plan['device']}, {plan['precision']} (mechanisms: "
            f"{plan.get('mechanism_precision', 'float32')}), {plan['num_workers']} workers"
            if plan
            else None,
            "plan.json",
        ),
        ("hash of the settings", run.settings.get("config_hash"), "settings.json"),
        (
            "versions",
            ", ".join(f"{k} {v}" for k, v in sorted(run.settings.get("versions", {}).items())),
            "settings.json",
        ),
    )


def _evolution(records: Records) -> Section:
    run, found = records.run, records.evolvability
    refused = Counter(e["stage"] for e in run.told.entries if e["verdict"] == "rejected")
    base, best = Standing.of_entry(run.baseline), Standing.of_entry(run.best)
    return _section(
        "evolution",
        ("proposals by outcome", found.outcomes, "proposals.json"),
        ("legal share of what was judged", found.legal_share, "proposals.json"),
        ("refused by stage", dict(refused) or "none", "fitness_history.json"),
        ("candidates that took the lead", found.num_improving, "fitness_history.json"),
        ("candidates above the initial program by the error", found.num_above, "the same"),
        ("score of the initial program", base.value, "fitness_history.json"),
        ("score of the best", best.value, "fitness_history.json"),
        ("gain as selected, too large on average", found.selected_gain, "fitness_history.json"),
        ("gain per proposal", found.gain_per_proposal, "fitness_history.json"),
        ("gain per hour of training", found.gain_per_hour, "programs/*.json, train_time_s"),
        ("end", run.unfinished or run.told.stop_reason or "iterations done", "events.jsonl"),
    )


def _validation(records: Records) -> Section:
    told, validation = records.confirmation, records.validation
    gain = told.get("gain") or {}
    facts: list[tuple[str, Any, str]] = [
        ("confirmation", told.get("verdict", "nothing was confirmed"), "confirmation.json"),
        ("confirmed gain in score", gain.get("value"), "confirmation.json, gain"),
        ("its 95% interval", gain.get("ci95"), "confirmation.json, gain.ci95"),
        ("the winner's luck (selected less confirmed)", told.get("gap"), "confirmation.json, gap"),
    ]
    if records.confirmed_trouble:
        facts.append(("losses at fresh seeds", records.confirmed_trouble, "store"))
    if validation is None:
        facts.append(("validation", "there was none", "validation.json"))
        return _section("validation", *facts)
    facts += [
        ("verdict", validation.verdict, "validation.json"),
        ("in words", validation.judgement.get("sentence"), "validation.json"),
    ]
    for row in validation.rows("estimates"):
        ci95 = row.get("ci95")
        between = " to ".join(map(_short, ci95)) if isinstance(ci95, list) else MISSING
        text = f"{_short(row.get('value'))} {row.get('unit', '')}, 95% {between}"
        facts.append((str(row.get("name")), text, "validation.json, estimates"))
    for row in validation.rows("tests"):
        text = f"p = {_short(row.get('p'))}, {_short(row.get('p_holm'))} after Holm"
        facts.append((str(row.get("name")), text, "validation.json, tests"))
    facts += [("trouble with the files", trouble, "") for trouble in validation.troubles]
    return _section("validation", *facts)


def _short(value: Any) -> str:
    """A number to three digits; what a damaged file has in its place as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _controls(records: Records) -> Section:
    noise, control, ranking = records.run.told.noise, records.control, records.ranking
    verdicts: Any = None if control is None else control.get("verdicts")
    return _section(
        "controls",
        (
            "noise of the initial program over seeds",
            None if noise is None else f"measured at the seeds {noise['seeds']}",
            "noise.json",
        ),
        ("against luck, tuning and random search", verdicts, "control/control.json"),
        (
            "arms that evolution beats",
            None if control is None else records.beaten_arms or "none",
            "control/control.json",
        ),
        (
            "against published mechanisms",
            None if ranking is None else f"ranked, {ranking.get('horizon', MISSING)}",
            "ranking.json",
        ),
        ("pieces of the change", _said(records.other("ablation.json")), "ablation.json"),
        ("replay by an independent reader", _said(records.other("replay.json")), "replay.json"),
    )


def _said(found: Mapping[str, Any] | None) -> Any:
    """What another command's file says in words, or of agreement."""
    if found is None:
        return None
    sentences = found.get("sentences")
    if isinstance(sentences, list) and sentences:
        return sentences
    return f"agrees: {found['agrees']}" if "agrees" in found else "there, without words"


def _cost(records: Records) -> Section:
    cost, validated = records.cost, records.validation_runs()
    return _section(
        "cost",
        ("training in the search, hours", cost.search_h, "programs/*.json, train_time_s"),
        ("training of the confirmation, hours", cost.confirmation_h, "store"),
        (
            "training of the validation, tuning included, hours",
            sum(run["train_time_s"] for run in validated) / 3600 if validated else None,
            "store, by the keys in validation.json",
        ),
        ("programs refused after training, hours", cost.refused_h, "fitness_history.json"),
        ("wall time of the sessions, hours", cost.wall_h, "events.jsonl"),
        ("trained models", cost.num_models, "programs/*.json and store"),
        (
            "operations of the search, forward and backward",
            cost.operations,
            "plan.json, flops_per_step",
        ),
        ("price", cost.price if cost.price is not None else "no price is set", "plan.json"),
        (
            "energy of training in search and confirmation",
            told_energy(cost.energy_joules),
            ENERGY_SOURCE,
        ),
        (
            "energy of training in the validation, tuning included",
            told_energy(total_joules(run.get("energy_joules") for run in validated))
            if validated
            else None,
            f"store, by the keys in validation.json; {ENERGY_SOURCE}",
        ),
    )


def _health(records: Records) -> Section:
    run = records.run
    diverged = [e for e in run.told.entries if e.get("stage") == "diverged"]
    leaking = [e for e in run.told.entries if e.get("stage") == "trained_causality"]
    statuses = Counter(str(model.get("status")) for _, model in records.models())
    fits = [float(e["r2"]) for e in run.told.entries if e["verdict"] == "trained"]
    return _section(
        "health",
        ("trained models by status", dict(statuses), "programs/*.json"),
        *(
            (f"training of the {name}", entry.get("health"), "fitness_history.json, health")
            for name, entry in (("initial program", run.baseline), ("best program", run.best))
        ),
        ("programs that diverged", len(diverged), "fitness_history.json"),
        ("programs refused for a leak that training opened", len(leaking), "fitness_history.json"),
        ("R2 of the fits, lowest", min(fits), "fitness_history.json"),
        ("troubles of the machine", len(run.told.troubles), "events.jsonl"),
        ("notices", len(run.told.notices), "events.jsonl"),
        ("damaged lines of events", run.events.num_damaged, "events.jsonl"),
        (
            "lines of events of another release",
            run.events.num_unknown,
            "events.jsonl",
        ),
    )
