"""The ledger of a race: read from its file, held to the configuration, asked for a rule."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from openevolve_unified.config.schema import ScalingLawConfig
from openevolve_unified.config.user_path import user_path
from openevolve_unified.errors import ConfigError
from openevolve_unified.judgement.race import QUANTILE, RaceRule, Unsupported, race_rule

_SETTING = "scaling_law.early_stopping"


def supported_rule(
    law: ScalingLawConfig, base_dir: Path, baseline_jobs: Collection[str], num_candidates: int
) -> RaceRule:
    """The rule by which candidates of this configuration may be stopped early.

    Args:
        law: with a ledger.
        base_dir: what its path is relative to.
        baseline_jobs: keys of the initial program's models at the seeds of ``training.seeds``.
        num_candidates: of the run.

    Raises:
        ConfigError: no ledger in the file is of this configuration, or it does not support a race.
    """
    path = base_dir / user_path(str(law.early_stopping.ledger), f"{_SETTING}.ledger")
    found = [(_difference(ledger, law, baseline_jobs), ledger) for ledger in _ledgers(path)]
    alike = [ledger for difference, ledger in found if difference is None]
    if not alike:
        raise ConfigError(
            f"{_SETTING}.ledger: {path} has no ledger of this configuration: {found[0][0]}; "
            "measure one with it: openevolve-unified rank CONFIG, then openevolve-unified horizon "
            "STORE --output FILE"
        )
    rule = _rule(alike[0], law, num_candidates)
    if isinstance(rule, Unsupported):
        raise ConfigError(
            f"{_SETTING}: {path} does not support a race at {law.early_stopping.at:g} of the "
            f"horizon with a regret of at most {law.early_stopping.regret:g} in {QUANTILE:.0%} of "
            f"runs: {rule.reason}; look later, allow more regret, or train to the end (ledger: "
            "null)"
        )
    return rule


def _ledgers(path: Path) -> list[dict[str, Any]]:
    try:
        ledgers = json.loads(path.read_text(encoding="utf-8"))["ledgers"]
        if not isinstance(ledgers, list) or not ledgers:
            raise ValueError("no ledgers")
        for one in ledgers:
            one["ledger"]["final_fitness"], one["baseline_jobs"], one["sizes"], one["seeds"]
            one["horizon"], one["fitness_kind"], one["target_params"], one["ledger"]["rows"]
        return ledgers
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{_SETTING}.ledger: {path} cannot be read ({type(error).__name__}); wanted the file "
            "that openevolve-unified horizon RUN_DIR --output FILE writes"
        ) from None


def _difference(
    ledger: dict[str, Any], law: ScalingLawConfig, baseline_jobs: Collection[str]
) -> str | None:
    """What the ledger was trained with otherwise, in words; None where it is this configuration."""
    pairs: dict[str, tuple[Any, Any]] = {
        "horizon": (ledger["horizon"], law.training.horizon),
        "sizes": (list(ledger["sizes"]), [size.name for size in law.sizes]),
        "seeds": (sorted(ledger["seeds"]), sorted(law.training.seeds)),
        "fitness.kind": (ledger["fitness_kind"], law.fitness.kind),
    }
    if law.fitness.kind == "predicted_loss" and law.fitness.target_params is not None:
        pairs["fitness.target_params"] = (ledger["target_params"], law.fitness.target_params)
    for name, (theirs, ours) in pairs.items():
        if theirs != ours:
            return f"{name}: it has {theirs}, the configuration {ours}"
    if not set(baseline_jobs) <= set(ledger["baseline_jobs"]):
        return (
            "its initial program was trained otherwise: the text, framework, initial program, "
            "batch size, learning rate, schedule, evaluation points, precision, device or release "
            "differ"
        )
    return None


def _rule(
    ledger: dict[str, Any], law: ScalingLawConfig, num_candidates: int
) -> RaceRule | Unsupported:
    share = law.early_stopping.at
    rows = {
        row["share"]: row["fitness"] for row in ledger["ledger"]["rows"] if row["how"] == "measured"
    }
    early = next((fitness for at, fitness in rows.items() if abs(at - share) < 1e-9), None)
    if early is None:
        known = ", ".join(f"{at:g}" for at in sorted(rows)) or "none"
        return Unsupported(reason=f"it was measured at other shares ({known})")
    return race_rule(
        early, ledger["ledger"]["final_fitness"], share, law.early_stopping.regret, num_candidates
    )
