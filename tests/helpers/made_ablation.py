"""Ablations that nobody trained: effects as they are asked for, and luck of each program."""

from __future__ import annotations

import numpy as np
from ladders import COUNTS

from openevolve_unified.judgement.ablation import Part, judge_ablation
from openevolve_unified.judgement.noise import measure_noise
from openevolve_unified.validation.ablations import ALL_CONSTANTS, AblatedGroup, AblationReport

NOISE = 0.002


def made_losses(levels, num_seeds=10, noise=NOISE, seed=0):
    """Losses of programs: a level each, luck of the seed that all share, and luck of their own."""
    rng = np.random.default_rng(seed)
    shape = (num_seeds, len(COUNTS))
    shared = rng.normal(0, 10 * noise, shape) + np.linspace(1.3, 1.0, len(COUNTS))
    return {name: shared + level + rng.normal(0, noise, shape) for name, level in levels.items()}


def made_floor(num_seeds=8, seed=9):
    luck = np.random.default_rng(seed).normal(0, NOISE, (num_seeds, len(COUNTS)))
    return measure_noise(COUNTS, 1.2 + luck)


def additive(effects):
    """The level of every program when hunks of these effects do not interact."""
    whole = sum(effects.values())
    levels = {"standard": 0.0, "evolved": whole}
    for name, effect in effects.items():
        levels |= {f"+{name}": effect, f"-{name}": whole - effect}
    return levels


def parts_of(*names):
    return [Part(name=name, kept=f"+{name}", reverted=f"-{name}") for name in names]


def made_report(changes=None, num_seeds=10, floor=None, failed=(), seed=0):
    """A mechanism in two hunks, two constants, of which one harms, a rename, and their union.

    Args:
        changes: levels of programs other than the additive ones.
        failed: programs that did not train.
    """
    levels = additive({"hunks 1+3": -0.08, "hunk 2": -0.02, "hunk 4": 0.0})
    levels |= {f"+{ALL_CONSTANTS}": -0.02, f"-{ALL_CONSTANTS}": -0.08}
    losses = made_losses(levels | (changes or {}), num_seeds, seed=seed)
    parts = parts_of("hunks 1+3", "hunk 2", "hunk 4")
    parts.append(Part(name="hunk 5", kept="standard", reverted="evolved"))
    unions = parts_of(ALL_CONSTANTS)

    def trained(part):
        kept, reverted = (None if name in failed else name for name in (part.kept, part.reverted))
        return Part(name=part.name, kept=kept, reverted=reverted)

    judgement = judge_ablation(
        COUNTS, losses, "standard", "evolved", [*map(trained, parts)], unions, floor
    )
    return AblationReport(
        framework="coefficient_dynamics",
        horizon="pilot, 20 of 100,000 steps",
        sizes=("16x1", "24x1", "32x1", "48x1"),
        num_params=COUNTS,
        seeds=tuple(range(2042, 2042 + num_seeds)),
        has_noise=floor is not None,
        groups=tuple(
            AblatedGroup(
                name=part.name,
                numbers=tuple(map(int, part.name.partition(" ")[2].split("+"))),
                kind="constants" if part.name in ("hunk 2", "hunk 4") else "code",
                text=f"@@ line 30 of the standard program @@\n-old\n+{part.name}",
            )
            for part in parts
        ),
        text_only=(6,),
        losses={name: rows.tolist() for name, rows in losses.items()},
        fingerprints={name: name * 2 for name in losses},
        same_as={"standard with hunk 5": "standard"},
        failures=dict.fromkeys(failed, "at seed 2042: diverged: not finite"),
        judgement=judgement,
    )
