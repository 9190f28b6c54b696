"""The order of the checks of an untrained candidate: the most helpful reason comes first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from openevolve_unified.candidate.checks.attention import (
    ReferenceAttention,
    model_inputs,
    random_inputs,
    random_weights,
    scramble,
)
from openevolve_unified.candidate.checks.causality import (
    ROUNDING_TOLERANCE,
    require_causal,
    require_no_gradient_from_future,
    require_prefix_holds,
)
from openevolve_unified.candidate.checks.consistency import require_same_at_all_sizes
from openevolve_unified.candidate.checks.dependence import proves_causality
from openevolve_unified.candidate.checks.features import measure_features
from openevolve_unified.candidate.checks.gradients import require_gradients
from openevolve_unified.candidate.checks.independence import (
    require_independent_sequences,
    require_repeatable,
)
from openevolve_unified.candidate.checks.numerics import CASES, require_finite
from openevolve_unified.candidate.checks.precision import (
    SINGLE_ROUNDING_TOLERANCE,
    require_sound_at_batch_size,
    require_sound_in_training_formats,
)
from openevolve_unified.candidate.checks.traits import measure_traits
from openevolve_unified.candidate.program.budget import require_within_budget
from openevolve_unified.candidate.program.file_layout import SMALL_LENGTH
from openevolve_unified.candidate.program.traced import TracedCandidate, TracedSize
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.records import Traits

PROOF_COVERS = "any one sequence of the full length, all parameters, while the output is finite"
"""That a batch is treated sequence by sequence, and shorter lengths, are tested."""
PREFIX_TOLERANCE = 1e-8
"""Relative, in float64: products of other shapes and solves round otherwise."""
_SCRAMBLES = {"scrambled parameters": 1.0, "strongly scrambled parameters": 5.0}
_NUM_RANDOM_CUTS = 3
_LARGE_SCALE = 10.0
"""A second input scale: a shift by a maximum over the future shows when exp underflows."""


@dataclass(frozen=True)
class CheckReport:
    """What the checks found in an accepted candidate."""

    flops_ratio: float
    params_ratio: float
    traits: Traits
    evidence: dict[str, Any] = field(default_factory=dict)
    features: dict[str, float] = field(default_factory=dict)


def run_checks(
    candidate: TracedCandidate,
    baseline: TracedCandidate,
    seq_len: int,
    vocab_size: int,
    gates: GatesConfig,
    seed: int,
    batch_size: int,
) -> CheckReport:
    """Hold a candidate to everything that can be asked before training.

    Args:
        baseline: the initial program, traced at the same sizes.
        seed: a training seed that the candidate was traced for.
        batch_size: sequences per training batch.

    Raises:
        CandidateError: the first check that fails, with a reason for the author.
    """
    _require_comparable(candidate, baseline, seq_len)
    budget = require_within_budget(candidate, baseline, vocab_size, gates)
    require_same_at_all_sizes(candidate)
    traced_sizes = sorted(candidate.sizes.values(), key=lambda traced: traced.size.hidden_dim)
    evidence: dict[str, dict[str, Any]] = {}
    for traced in traced_sizes:
        with _failures_named(traced):
            evidence[traced.size.name] = _check_size(traced, seed, batch_size)
    is_proved = True
    for traced in traced_sizes:
        found = evidence[traced.size.name]
        with _failures_named(traced):
            if SMALL_LENGTH in traced.programs:
                found |= _check_all_cuts(traced, seed)
            is_size_proved = proves_causality(traced)
            found["initial_values"] = _check_every_layer(traced, seed, is_size_proved)
            is_proved = is_proved and is_size_proved
    with _failures_named(traced_sizes[-1]):
        features = measure_features(traced_sizes[-1], seed)
    with _failures_named(traced_sizes[0]):
        traits = measure_traits(traced_sizes[0], seed)
    return CheckReport(
        flops_ratio=budget.flops_ratio,
        params_ratio=budget.params_ratio,
        traits=traits,
        evidence={
            "causality": {
                "method": "proved" if is_proved else "tested",
                "proof_covers": PROOF_COVERS if is_proved else "nothing",
                "tolerance": ROUNDING_TOLERANCE if traced_sizes[0].mixes_rounding else 0.0,
                "modes": "train and eval trace to the same program",
                "sizes": evidence,
            },
            "operators": {t.size.name: len(t.program.graph.nodes) for t in traced_sizes},
        },
        features=features,
    )


@contextlib.contextmanager
def _failures_named(traced: TracedSize) -> Iterator[None]:
    """Operators may still fail on data: an index out of range, a singular matrix."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CandidateError(
            "numerics",
            f"at {traced.size.name} the mechanism fails when run: {line[:200]}; keep indices "
            "inside the length, and add eps times the identity to what is solved or factored",
        ) from None


def _require_comparable(
    candidate: TracedCandidate, baseline: TracedCandidate, seq_len: int
) -> None:
    for one, other, what in (
        (candidate.framework, baseline.framework, "framework"),
        (candidate.seq_len, baseline.seq_len, "time length"),
        (candidate.seq_len, seq_len, "time length"),
        (set(candidate.sizes), set(baseline.sizes), "sizes"),
    ):
        if one != other:
            raise CandidateError("program", f"{what}: the candidate has {one}, wanted {other}")


class _Bench:
    """One size's attentions in float64 with the same projections, and inputs for them."""

    def __init__(self, traced: TracedSize, seed: int, stream: int):
        self.traced, self.seed = traced, seed
        self.name = traced.size.name
        self.generator = torch.Generator().manual_seed(2 * seed + stream)
        self.weights = random_weights(traced.size, self.generator, torch.float64)
        self.initial = traced.initial_parameters(seed, 0)
        self.tolerance = ROUNDING_TOLERANCE if traced.mixes_rounding else 0.0
        self.parameters = {"initial parameters": self.initial}
        if self.initial:
            for label, strength in _SCRAMBLES.items():
                self.parameters[label] = scramble(self.initial, strength, self.generator)

    def attention(self, label: str, time: int) -> ReferenceAttention:
        mechanism = self.traced.double_mechanism(time, self.parameters[label], self.seed)
        return ReferenceAttention(self.traced.framework, self.traced.size, mechanism, self.weights)

    def single(self, parameters: tuple[torch.Tensor, ...]) -> ReferenceAttention:
        """The attention as it is trained, in float32 at full length."""
        mechanism = self.traced.mechanism_with(parameters, self.seed)
        weights = tuple(weight.float() for weight in self.weights)
        return ReferenceAttention(self.traced.framework, self.traced.size, mechanism, weights)

    def at_layer(self, time: int, seed: int, layer: int) -> ReferenceAttention:
        """The attention with the initial values of one seed and layer."""
        traced = self.traced
        parameters = traced.initial_parameters(seed, layer)
        mechanism = traced.double_mechanism(time, parameters, seed, layer)
        return ReferenceAttention(traced.framework, traced.size, mechanism, self.weights)

    def single_at_layer(self, seed: int, layer: int) -> ReferenceAttention:
        """The same as it is trained, in float32 at full length."""
        traced = self.traced
        parameters = traced.initial_parameters(seed, layer)
        mechanism = traced.mechanism_with(parameters, seed, layer)
        weights = tuple(weight.float() for weight in self.weights)
        return ReferenceAttention(traced.framework, traced.size, mechanism, weights)

    def inputs(self, batch: int, time: int) -> torch.Tensor:
        return random_inputs(batch, time, self.traced.size, self.generator, torch.float64)

    def model_inputs(self, batch: int, num_normed: int) -> torch.Tensor:
        """Full-length inputs like the first block's."""
        T, size = self.traced.seq_len, self.traced.size
        return model_inputs(batch, T, size, self.generator, torch.float64, num_normed)


def _check_size(traced: TracedSize, seed: int, batch_size: int) -> dict[str, Any]:
    """The checks that every size gets: finite, independent, causal at random cuts, trainable."""
    bench = _Bench(traced, seed, stream=0)
    T, name = traced.seq_len, bench.name
    require_finite(bench.single(bench.initial), bench.inputs(2, T).float(), f"at {name}")
    attentions = {label: bench.attention(label, T) for label in bench.parameters}
    require_repeatable(attentions["initial parameters"], bench.inputs(2, T), f"at {name}")
    num_cuts, largest = 0, 0.0
    for label, attention in attentions.items():
        where = f"at {name}, {label}"
        x = bench.inputs(4, T)
        require_independent_sequences(attention, x, where)
        cuts = torch.randint(1, T, (_NUM_RANDOM_CUTS,), generator=bench.generator).tolist()
        found = require_causal(attention, x[:2], cuts, bench.tolerance, where)
        num_cuts, largest = num_cuts + found.num_cuts, max(largest, found.max_relative_change)
    x = bench.inputs(2, T)
    where = f"at {name}, inputs times {_LARGE_SCALE:g}"
    initial = attentions["initial parameters"]
    require_causal(initial, _LARGE_SCALE * x, (T // 2, T - 1), bench.tolerance, where)
    require_gradients(list(attentions.values()), traced.parameter_names, x, f"at {name}")
    prefix = _check_prefixes(bench, attentions)
    return {
        "cuts": num_cuts + 2,
        "model_inputs": _check_model_inputs(bench, attentions),
        "formats": _check_formats(bench),
        "training_batch": _check_training_batch(bench, batch_size),
        "max_relative_change": largest,
        "max_prefix_difference": prefix,
        "parameters": list(attentions),
    }


def _check_model_inputs(bench: _Bench, attentions: dict[str, ReferenceAttention]) -> dict[str, int]:
    """Independence and causality in float64 on what training will feed, and partly so."""
    T = bench.traced.seq_len
    kinds = {"layer-normed tokens": T, "partly normed tokens": T // 2}
    for label, attention in list(attentions.items())[:2]:
        for what, num_normed in kinds.items():
            x = bench.model_inputs(4, num_normed)
            where = f"at {bench.name}, {label}, {what}"
            require_independent_sequences(attention, x, where)
            require_causal(attention, x[:2], (T - 1,), bench.tolerance, where)
        kinds = {"layer-normed tokens": T}
    return {"kinds": 2, "cuts": 1}


def _check_formats(bench: _Bench) -> list[str]:
    """Causality and independence in float32 and bfloat16 on what training will feed."""
    traced, T = bench.traced, bench.traced.seq_len
    tested: set[str] = {"float64"}
    for label in list(bench.parameters)[:2]:
        attention = bench.single(bench.parameters[label])
        # Noise too: what only a trained LayerNorm shows, such as a mean, a fresh one hides.
        for what, x in (
            ("layer-normed tokens", bench.model_inputs(4, T)),
            ("noise", bench.inputs(4, T)),
        ):
            tested.update(
                require_sound_in_training_formats(
                    attention,
                    x.float(),
                    (T // 3, T - 2),
                    traced.mixes_rounding,
                    f"at {bench.name}, {label}, {what}",
                )
            )
    return sorted(tested)


def _check_training_batch(bench: _Bench, batch_size: int) -> int:
    """Causality at one cut and independence in a batch as large as those of training.

    Layer-normed tokens hide what only a trained LayerNorm shows, such as the batch's mean, and a
    program can tell noise from them; so both are fed at the initial values, the noise beside normed
    sequences. Once more at scrambled ones: a run costs as much as a training step at large sizes.

    Returns:
        The size of the batch.
    """
    normed = bench.model_inputs(batch_size + 1, bench.traced.seq_len)
    mixed = normed.clone()
    # Noise comes first: the first sequence is the one that the test of independence replaces.
    mixed[::2] = bench.inputs(len(mixed[::2]), bench.traced.seq_len)
    initial, *scrambled = list(bench.parameters)[:2]
    for label, x in [(initial, normed), *((label, mixed) for label in (initial, *scrambled))]:
        require_sound_at_batch_size(
            bench.single(bench.parameters[label]),
            x.float(),
            bench.traced.seq_len // 2,
            bench.traced.mixes_rounding,
            f"at {bench.name}, {label}",
        )
    return batch_size


def _check_prefixes(bench: _Bench, attentions: dict[str, ReferenceAttention]) -> float:
    """Shorter inputs give the leading outputs of longer ones, at initial and scrambled values."""
    T = bench.traced.seq_len
    x = bench.inputs(2, T)
    worst = 0.0
    for label, attention in list(attentions.items())[:2]:
        for time in bench.traced.programs:
            if time == T:
                continue
            short = bench.attention(label, time)
            where = f"at {bench.name}, {label}"
            difference = require_prefix_holds(attention, short, x, time, PREFIX_TOLERANCE, where)
            worst = max(worst, difference)
    return worst


def _check_all_cuts(traced: TracedSize, seed: int) -> dict[str, Any]:
    """Every cut at a short length, and gradients at full length."""
    bench = _Bench(traced, seed, stream=1)
    x = bench.inputs(2, SMALL_LENGTH)
    for label in bench.parameters:
        where = f"at {bench.name} and {SMALL_LENGTH} positions, {label}"
        short = bench.attention(label, SMALL_LENGTH)
        require_causal(short, x, range(1, SMALL_LENGTH), bench.tolerance, where)
        full = bench.attention(label, traced.seq_len)
        long_x = bench.inputs(2, traced.seq_len)
        where = f"at {bench.name}, {label}"
        for cut in (1, traced.seq_len // 2, traced.seq_len - 1):
            require_no_gradient_from_future(full, long_x, cut, bench.tolerance, where)
    return {"all_cuts_at": SMALL_LENGTH, "gradient_cuts": 3}


def _check_every_layer(traced: TracedSize, seed: int, is_proved: bool) -> int:
    """What hangs on values, at the initial values of every layer and training seed that differ.

    A constant or a parameter that is drawn once per layer may open a gate in a few of them, and all
    other checks look at the first layer only. Fewer inputs and cuts each: the same program has been
    checked at length there.

    Args:
        is_proved: causality holds for all parameters and at the constants of every layer.

    Returns:
        The number of different sets of values that were looked at, the first layer's included.
    """
    bench = _Bench(traced, seed, stream=1)
    T = traced.seq_len
    places = traced.distinct_places()
    for other, layer in places:
        if (other, layer) == (seed, 0):
            continue
        where = f"at {bench.name}, initial values of layer {layer} at seed {other}"
        x = bench.inputs(4, T)
        single = bench.single_at_layer(other, layer)
        require_finite(single, x[:2].float(), where, CASES[:1])
        double = bench.at_layer(T, other, layer)
        require_independent_sequences(double, x, where)
        if is_proved:
            continue
        cut = int(torch.randint(1, T, (), generator=bench.generator))
        require_causal(double, x[:2], (cut,), bench.tolerance, where)
        tolerance = SINGLE_ROUNDING_TOLERANCE if traced.mixes_rounding else 0.0
        require_causal(single, x[:2].float(), (cut,), tolerance, f"{where}, in float32")
        if SMALL_LENGTH in traced.programs:
            short, x = bench.at_layer(SMALL_LENGTH, other, layer), bench.inputs(2, SMALL_LENGTH)
            require_causal(short, x, range(1, SMALL_LENGTH), bench.tolerance, where)
    return len(places)
