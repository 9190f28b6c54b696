"""Stages: where a program can be refused, in the order in which it is looked at.

``docs/rejections.md`` lists every message of each, and a test keeps the list complete.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Stage: TypeAlias = Literal[
    "read",
    "block",
    "policy",
    "trace",
    "program",
    "budget",
    "sizes",
    "numerics",
    "determinism",
    "batch",
    "causality",
    "gradient",
    "overfit",
    "diverged",
    "trained_causality",
    "too_good",
    "stopped_early",
    "deadline",
    "worker",
    "machine",
    "set-up",
    "internal",
]

STAGE_MEANINGS: dict[Stage, str] = {
    "read": "The file of the program cannot be read as text.",
    "block": "The evolve block is missing or damaged, or the text outside it was changed.",
    "policy": "The text of the block holds what a mechanism may not write; nothing was run.",
    "trace": "The mechanism cannot be recorded as a fixed list of tensor operators.",
    "program": "The recorded program uses what is not allowed, or returns the wrong shape or type.",
    "budget": "The model has more parameters or operations than the initial program's allows.",
    "sizes": "The mechanism is not the same one at every size of the ladder.",
    "numerics": "Outputs, gradients or initial values are not finite, or the mechanism fails.",
    "determinism": "Two identical calls give different results.",
    "batch": "A sequence's output depends on the other sequences or on their number.",
    "causality": "An output depends on a later position, or on the length of the input.",
    "gradient": "A parameter of the mechanism's own cannot be trained.",
    "overfit": "The smallest model cannot learn a few texts by heart, so the mechanism is broken.",
    "diverged": "A loss became infinite or not a number, or a training could not recover.",
    "trained_causality": "The trained model reads the future or mixes sequences.",
    "too_good": "The loss is lower than an honest model's can be.",
    "stopped_early": "No refusal: the race stopped it, because it trailed the best so far.",
    "deadline": "The time for one candidate ran out; this says nothing about the program.",
    "worker": "A worker process was lost; this says nothing about the program.",
    "machine": "The machine could not finish; this says nothing about the program.",
    "set-up": "The experiment is wrong as it is written; this says nothing about the program.",
    "internal": "A fault of this package; this says nothing about the program.",
}
