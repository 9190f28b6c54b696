"""Doubts about a result: limitations, threats to validity, deviations, and the next steps.

Each line is (text, record): it is said because a record says so, or because none does.
"""

from __future__ import annotations

from openevolve_unified.config.schema import FULL_TRAINING_STEPS
from openevolve_unified.validation.dossier_records import Records

Lines = list[tuple[str, str]]
MIN_SEEDS = 10


def limitations(records: Records) -> Lines:
    """How far the numbers reach."""
    run, law = records.run, records.run.config
    counts = list(run.baseline["num_params_non_embedding"].values())
    lines: Lines = [
        (
            f"{len(counts)} sizes from {counts[0]:,} to {counts[-1]:,} non-embedding parameters; "
            "nothing is known beyond them but what a line promises",
            "fitness_history.json",
        ),
        (
            f"one corpus ({law.data.source}) and sequences of {law.data.seq_len} tokens",
            "config.yaml",
        ),
    ]
    if law.training.is_pilot:
        lines.append(
            (
                f"{law.training.horizon}: the order of mechanisms at a short horizon need not be "
                "the final one",
                "settings.json",
            )
        )
    if len(law.training.seeds) + max(0, law.selection.max_seeds - 1) < MIN_SEEDS:
        lines.append(
            (
                f"the search trained a program at {len(law.training.seeds)} to "
                f"{max(law.selection.max_seeds, len(law.training.seeds))} seeds",
                "config.yaml",
            )
        )
    if run.experiment.uses_grammar_only:
        lines.append(
            ("the proposer is a grammar: nothing here is said of language models", "settings.json")
        )
    if not run.has_winner:
        lines.append(
            ("there is no winner, so there is no effect to speak of", "fitness_history.json")
        )
    elif records.verdict is None:
        lines.append(("the winner was not validated", "validation.json"))
    return lines


def threats(records: Records) -> dict[str, Lines]:
    """By kind of validity."""
    return {
        "internal": _internal(records),
        "external": _external(records),
        "construct": _construct(records),
    }


def deviations(records: Records) -> Lines:
    """What was done otherwise than planned."""
    run, validation = records.run, records.validation
    lines: Lines = []
    if records.registration is None:
        lines.append(
            ("there is no registration that anything could deviate from", "registration.json")
        )
    elif validation is not None:
        lines += [(text, "validation.json, deviations") for text in validation.deviations]
    if run.unfinished is not None:
        lines.append((run.unfinished, "events.jsonl"))
    if run.told.stop_reason is not None:
        lines.append((f"stopped early: {run.told.stop_reason}", "events.jsonl"))
    if len(run.told.sessions) > 1:
        number = len(run.told.sessions)
        lines.append((f"the run was resumed: {number} sessions", "events.jsonl"))
    if len({session.started.config_hash for session in run.told.sessions}) > 1:
        lines.append(("its sessions had different settings", "events.jsonl, session_started"))
    planned = (run.told.plan or {}).get("candidate_s")
    if planned is None:
        lines.append(("there is no plan of its cost", "plan.json"))
    return lines or [("none is declared", "validation.json, deviations")]


def next_steps(records: Records) -> Lines:
    """What the records lack most, in the order in which it is needed."""
    run = records.run
    config = str(run.settings.get("config_path", "CONFIG"))
    evolved = f"--evolved programs/{run.best['file']}"
    lines: Lines = []
    if run.unfinished is not None:
        lines.append((f"finish the run: `openevolve {config} --resume`", "events.jsonl"))
    if run.told.noise is None:
        lines.append((f"measure the noise: `openevolve-unified noise {config}`", "noise.json"))
    if not run.has_winner:
        lines.append(
            (
                "more proposals, another proposer, or more seeds: no candidate is ahead",
                "fitness_history.json",
            )
        )
    elif not records.confirmation:
        lines.append(
            (
                "confirm the winner: --resume with scaling_law.selection.num_confirmation_seeds "
                "above 0",
                "confirmation.json",
            )
        )
    if run.has_winner and records.verdict is None:
        command = f"openevolve-unified validate {config} {evolved}"
        lines.append((f"validate the winner: `{command}`", "validation.json"))
    if run.has_winner and records.other("ablation.json") is None:
        command = f"openevolve-unified ablate {config} {evolved}"
        lines.append((f"take the change apart: `{command}`", "ablation.json"))
    if run.has_winner and records.other("replay.json") is None:
        command = "`openevolve-unified finding`, then `openevolve-unified replay`"
        lines.append((f"let somebody else repeat it: {command}", "replay.json"))
    if records.control is None:
        command = f"openevolve-unified control {config}"
        lines.append((f"the controls: `{command}`", "control/control.json"))
    if run.config.training.is_pilot:
        lines.append(
            (f"the full horizon of {FULL_TRAINING_STEPS:,} steps", "settings.json, horizon")
        )
    return lines or [("nothing that these records lack", "this record")]


def _internal(records: Records) -> Lines:
    """Whether the change is the cause of the difference."""
    run, gap = records.run, records.confirmation.get("gap")
    number = len(run.told.entries)
    lines: Lines = [
        (
            f"selection: the best of {number} programs is partly the luckiest; "
            + (
                f"its luck was {gap:+.4f} in score"
                if gap is not None
                else "how much was not measured, because nothing was confirmed"
            ),
            "confirmation.json, gap",
        )
    ]
    if records.registration is None:
        lines.append(
            (
                "equal tuning: learning rate and the like are the initial program's; no record "
                "says that they suit both arms",
                "registration.json",
            )
        )
    if run.told.noise is None:
        lines.append(
            ("noise: how far a program moves from seed to seed was not measured", "noise.json")
        )
    if run.has_winner and records.other("ablation.json") is None:
        lines.append(
            (
                "no piece of the change was reverted alone: what carries it is unknown",
                "ablation.json",
            )
        )
    return lines


def _external(records: Records) -> Lines:
    """Whether it holds elsewhere."""
    law = records.run.config
    lines: Lines = [
        (
            f"data: {law.data.source} alone, with a vocabulary of {law.data.vocab_size:,}",
            "config.yaml",
        ),
        (
            f"model: one transformer with fixed parts, at most {law.sizes[-1].num_layers} layers",
            "config.yaml",
        ),
        (
            f"proposer: {records.run.settings.get('proposer', 'unknown')}",
            "settings.json",
        ),
    ]
    if records.other("replay.json") is None:
        lines.append(("nobody else repeated it", "replay.json"))
    return lines


def _construct(records: Records) -> Lines:
    """Whether the number measures what is claimed."""
    run = records.run
    fitness, fits = run.config.fitness, [float(run.baseline["r2"]), float(run.best["r2"])]
    lines: Lines = [
        (
            f"fitness is '{fitness.kind}' after {run.config.training.training_steps:,} steps, a "
            "stand-in for how a mechanism does at scale",
            "config.yaml",
        ),
        (
            f"a straight line through {len(run.config.sizes)} sizes: R2 is {min(fits):.4f} or more "
            "for the initial program and the best",
            "fitness_history.json",
        ),
    ]
    if records.control is None or not records.beaten_arms:
        lines.append(
            (
                "what evolution finds was not shown to be more than luck, tuning or random search",
                "control/control.json",
            )
        )
    return lines
