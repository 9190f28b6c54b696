"""A traced candidate on the trusted side: read from its file, validated, ready to be built.

The file comes from a process that ran candidate code, so every part of it is checked here; whatever
is wrong with it is a ``CandidateError``, never another exception.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.fx
import torch.nn as nn
from safetensors import SafetensorError, safe_open

from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.candidate.program.fingerprint import fingerprint_candidate, fingerprint_size
from openevolve_unified.candidate.program.graph import program_from_json
from openevolve_unified.candidate.program.interpreter import (
    build_double_mechanism,
    build_mechanism,
    build_rounding_mechanism,
    with_values,
)
from openevolve_unified.candidate.program.operators import ROUNDING_MIXERS, operator_name
from openevolve_unified.candidate.program.validate import (
    ProgramInterface,
    ValidProgram,
    validate_program,
)
from openevolve_unified.config.schema import GatesConfig, MechanismPrecision, SizeConfig
from openevolve_unified.errors import CandidateError, ConfigError
from openevolve_unified.notations import FRAMEWORKS

MAX_TENSORS = 100_000
MAX_INITIAL_VALUES = 1_000_000
"""Tensors over all sizes, seeds and layers; one that is shared between layers counts for each."""
MAX_INITIAL_ELEMENTS = 2**30
"""Numbers in them: all are hashed for the fingerprint."""
_PROGRAM_KEYS = {"time", "program", "lines"}
_DTYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)


@dataclass(frozen=True)
class TracedSize:
    """One size of a traced candidate."""

    framework: str
    size: SizeConfig
    seq_len: int
    seeds: tuple[int, ...]
    parameter_names: tuple[str, ...]
    """The author's names, for messages only."""
    programs: Mapping[int, ValidProgram]
    """By time length: ``seq_len`` and the shorter ones."""
    tensors: Mapping[str, torch.Tensor]
    num_constants: int

    @property
    def program(self) -> ValidProgram:
        """The program that is trained."""
        return self.programs[self.seq_len]

    @property
    def num_parameters_per_layer(self) -> int:
        """Trainable numbers of one layer's mechanism, beyond the fixed projections."""
        return sum(tensor.numel() for tensor in self.initial_parameters(self.seeds[0], 0))

    @property
    def mixes_rounding(self) -> bool:
        """Whether an operator is used that may carry rounding errors from late to early."""
        names = {operator_name(node.operator) for node in self.program.graph.nodes}
        return bool(names & ROUNDING_MIXERS)

    def initial_parameters(self, seed: int, layer: int) -> tuple[torch.Tensor, ...]:
        """Initial values of the trainable parameters at a training seed and layer."""
        return self._slots("p", len(self.parameter_names), seed, layer)

    def constants(self, seed: int, layer: int) -> tuple[torch.Tensor, ...]:
        """Values of the constants at a training seed and layer."""
        return self._slots("c", self.num_constants, seed, layer)

    def literals(self, time: int) -> tuple[torch.Tensor, ...]:
        """Tensors that the program of one time length carries for itself."""
        count = self.programs[time].graph.num_literals
        return tuple(self.tensors[layout.literal_key(self.size, time, i)] for i in range(count))

    def mechanism(
        self, seed: int, layer: int, precision: MechanismPrecision = "float32"
    ) -> nn.Module:
        """A fresh module ``forward(q, k, v, x, mask)`` with the initial values of that layer, whose
        products have this ``precision`` in training; outside a training step they are float32."""
        module = self._build(seed, layer, precision)
        module.meta["fingerprint"] = self.fingerprint(seed)
        return module

    def distinct_places(self) -> list[tuple[int, int]]:
        """One (seed, layer) for each set of initial values and constants; in order, all of them.

        What is stored once for all layers and seeds is one tensor here.
        """
        found: dict[tuple[int, ...], tuple[int, int]] = {}
        for seed in self.seeds:
            for layer in range(self.size.num_layers):
                values = (*self.initial_parameters(seed, layer), *self.constants(seed, layer))
                found.setdefault(tuple(map(id, values)), (seed, layer))
        return list(found.values())

    def mechanism_with(
        self, parameters: tuple[torch.Tensor, ...], seed: int, layer: int = 0
    ) -> nn.Module:
        """The mechanism as it is trained, with the given parameters, for checks."""
        constants, literals = self.constants(seed, layer), self.literals(self.seq_len)
        return with_values(self._single, parameters, constants, literals)

    def double_mechanism(
        self, time: int, parameters: tuple[torch.Tensor, ...], seed: int, layer: int = 0
    ) -> nn.Module:
        """The mechanism of one time length in float64 with the given parameters, for checks."""
        constants, literals = self.constants(seed, layer), self.literals(time)
        return with_values(self._doubles[time], parameters, constants, literals)

    def fingerprint(self, seed: int) -> str:
        """Hash of everything that decides how this size trains at ``seed``."""
        tensors = list(self.literals(self.seq_len))
        for layer in range(self.size.num_layers):
            tensors += [*self.initial_parameters(seed, layer), *self.constants(seed, layer)]
        return fingerprint_size(
            self.framework, self.size, self.seq_len, self.program.graph, tensors
        )

    @functools.cached_property
    def _single(self) -> nn.Module:
        """Only for its code; as the doubles, so that every check finds it generated."""
        return self._build(self.seeds[0], 0, "float32")

    @functools.cached_property
    def _doubles(self) -> dict[int, nn.Module]:
        seed = self.seeds[0]
        initial, constants = self.initial_parameters(seed, 0), self.constants(seed, 0)
        return {
            time: build_double_mechanism(program, initial, constants, self.literals(time))
            for time, program in self.programs.items()
        }

    def _build(self, seed: int, layer: int, precision: str) -> torch.fx.GraphModule:
        build = build_rounding_mechanism if precision == "bfloat16" else build_mechanism
        initial, constants = self.initial_parameters(seed, layer), self.constants(seed, layer)
        return build(self.program, initial, constants, self.literals(self.seq_len))

    def _slots(self, kind: str, count: int, seed: int, layer: int) -> tuple[torch.Tensor, ...]:
        if seed not in self.seeds:
            raise ValueError(f"seed: got {seed}, traced for {self.seeds}")
        return tuple(
            _initial(self.tensors, self.size, f"{kind}{i}", seed, layer) for i in range(count)
        )


@dataclass(frozen=True)
class TracedCandidate:
    """A validated candidate at every size."""

    framework: str
    seq_len: int
    sizes: Mapping[str, TracedSize]
    """By ``SizeConfig.name``, in the order of the ladder."""
    fingerprint: str


def load_traced(path: Path, gates: GatesConfig) -> TracedCandidate:
    """Read and validate a file that ``Tracer.trace`` wrote.

    Raises:
        CandidateError: stage ``program``; the file is malformed, or the mechanism in it uses what
            is not allowed, exceeds a bound or returns the wrong shape.
    """
    metadata, tensors = _read(path)
    description = _description(metadata)
    framework, seq_len, seeds = _head(description)
    raw_sizes = description["sizes"]
    if not isinstance(raw_sizes, list) or not 1 <= len(raw_sizes) <= 32:
        raise _malformed("sizes must be a list of 1 to 32")
    configs = [_size_config(raw) for raw in raw_sizes]
    if len({size.name for size in configs}) != len(configs):
        raise _malformed("two sizes have the same name")
    _require_few_values(raw_sizes, configs, len(seeds), tensors)
    sizes = {}
    for raw, size in zip(raw_sizes, configs, strict=True):
        lengths = (seq_len, *layout.short_lengths(size, configs, seq_len))
        sizes[size.name] = _size(raw, size, framework, lengths, seeds, tensors, gates)
    fingerprints = [traced.fingerprint(seed) for traced in sizes.values() for seed in seeds]
    return TracedCandidate(
        framework=framework,
        seq_len=seq_len,
        sizes=sizes,
        fingerprint=fingerprint_candidate(fingerprints),
    )


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise _malformed(f"it has {len(names)} tensors")
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise _malformed(str(error)[:120]) from None
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise _malformed(f"tensor {name[:60]!r} has type {tensor.dtype}")
    return metadata, tensors


def _description(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        text = metadata.get(layout.METADATA_KEY, "")
        description = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise _malformed("its description is not JSON") from None
    keys = {"format", "framework", "seq_len", "seeds", "sizes"}
    if not isinstance(description, dict) or set(description) != keys:
        raise _malformed("its description has the wrong keys")
    if description["format"] != layout.FORMAT:
        raise _malformed("it has another format")
    return description


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping; JSON lets a key stand twice, and two readers may then read different programs."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _malformed("its description repeats a key")
    return mapping


def _head(description: dict[str, Any]) -> tuple[str, int, tuple[int, ...]]:
    framework, seq_len = description["framework"], description["seq_len"]
    seeds = description["seeds"]
    if framework not in FRAMEWORKS:
        raise _malformed("its framework is unknown")
    if not _is_int(seq_len, 8, 4096):
        raise _malformed("its time length is out of range")
    if (
        not isinstance(seeds, list)
        or not 1 <= len(seeds) <= 1_000
        or not all(_is_int(seed, 0, 2**31) for seed in seeds)
    ):
        raise _malformed("its seeds are out of range")
    return framework, seq_len, tuple(seeds)


def _size_config(raw: Any) -> SizeConfig:
    keys = {"hidden_dim", "num_layers", "num_heads", "parameters", "constants", "programs"}
    if not isinstance(raw, dict) or set(raw) != keys:
        raise _malformed("a size has the wrong keys")
    numbers = [raw[name] for name in ("hidden_dim", "num_layers", "num_heads")]
    if not all(_is_int(number, 1, 2**16) for number in numbers):
        raise _malformed("a size is out of range")
    try:
        return SizeConfig(hidden_dim=numbers[0], num_layers=numbers[1], num_heads=numbers[2])
    except ConfigError as error:
        raise _malformed(str(error)) from None


def _size(
    raw: dict[str, Any],
    size: SizeConfig,
    framework: str,
    lengths: tuple[int, ...],
    seeds: tuple[int, ...],
    tensors: dict[str, torch.Tensor],
    gates: GatesConfig,
) -> TracedSize:
    names, constants = _names(raw["parameters"]), _names(raw["constants"])
    initial = [_slot(tensors, size, f"p{i}", seeds) for i in range(len(names))]
    if any(tensor.dtype != torch.float32 for tensor in initial):
        raise _malformed("a parameter is not float32")
    fixed = [_slot(tensors, size, f"c{i}", seeds) for i in range(len(constants))]
    programs: dict[int, ValidProgram] = {}
    raw_programs = raw["programs"]
    if not isinstance(raw_programs, list) or len(raw_programs) != len(lengths):
        raise _malformed("a size has the wrong number of programs")
    for item, time in zip(raw_programs, lengths, strict=True):
        if not isinstance(item, dict) or set(item) != _PROGRAM_KEYS or item["time"] != time:
            raise _malformed("a program of the wrong time length")
        program = program_from_json(item["program"], gates.max_nodes)
        literals = _literals(tensors, size, time, program.num_literals)
        _require_few_constants(size, [*fixed, *literals], gates)
        interface = ProgramInterface(
            framework, size, time, tuple(initial), tuple(fixed), tuple(literals)
        )
        if time != lengths[0]:
            interface = replace(interface, batches=(layout.SHORT_BATCH,))
        programs[time] = validate_program(program, interface, _lines(item["lines"]))
    return TracedSize(
        framework=framework,
        size=size,
        seq_len=lengths[0],
        seeds=seeds,
        parameter_names=names,
        programs=programs,
        tensors=tensors,
        num_constants=len(constants),
    )


def _lines(raw: Any) -> tuple[int, ...]:
    """Line numbers of the source for messages; what is no such list is ignored."""
    is_list = isinstance(raw, list) and all(_is_int(line, 0, 10**6) for line in raw)
    return tuple(raw) if is_list else ()


def _require_few_values(
    raw_sizes: list[dict[str, Any]],
    configs: list[SizeConfig],
    num_seeds: int,
    tensors: dict[str, torch.Tensor],
) -> None:
    """A small file may claim so many layers and seeds that looking at each takes for ever."""
    count = elements = 0
    for raw, size in zip(raw_sizes, configs, strict=True):
        num_values = num_seeds * size.num_layers
        slots = len(_names(raw["parameters"])) + len(_names(raw["constants"]))
        count += slots * num_values
        shared = {layout.shared_key(size, f"{kind}{i}") for kind in "pc" for i in range(slots)}
        elements += num_values * sum(tensors[key].numel() for key in shared & tensors.keys())
    if count > MAX_INITIAL_VALUES:
        raise _malformed(f"it claims {count:,} initial values; at most {MAX_INITIAL_VALUES:,}")
    if elements > MAX_INITIAL_ELEMENTS:
        raise _malformed(f"its initial values have {elements:,} numbers over seeds and layers")


def _names(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or len(raw) > 1_000:
        raise _malformed("names must be a short list")
    if not all(isinstance(name, str) and len(name) <= 200 for name in raw):
        raise _malformed("a name is not a short string")
    return tuple("".join(c for c in name if c.isprintable()) for name in raw)


def _initial(
    tensors: Mapping[str, torch.Tensor], size: SizeConfig, slot: str, seed: int, layer: int
) -> torch.Tensor:
    own = tensors.get(layout.initial_key(size, slot, seed, layer))
    return tensors[layout.shared_key(size, slot)] if own is None else own


def _slot(
    tensors: Mapping[str, torch.Tensor], size: SizeConfig, slot: str, seeds: tuple[int, ...]
) -> torch.Tensor:
    """Require a slot's value at every seed and layer, all of one shape and type; return one."""
    values = []
    for seed in seeds:
        for layer in range(size.num_layers):
            try:
                values.append(_initial(tensors, size, slot, seed, layer))
            except KeyError:
                raise _malformed(f"tensor {slot} of {size.name} is missing") from None
    first = values[0]
    if any(value.shape != first.shape or value.dtype != first.dtype for value in values):
        raise CandidateError(
            "program", f"a parameter or constant of {size.name} changes its shape between layers"
        )
    return first


def _literals(
    tensors: Mapping[str, torch.Tensor], size: SizeConfig, time: int, count: int
) -> list[torch.Tensor]:
    try:
        return [tensors[layout.literal_key(size, time, index)] for index in range(count)]
    except KeyError:
        raise _malformed(f"a literal of {size.name} is missing") from None


def _require_few_constants(
    size: SizeConfig, constants: list[torch.Tensor], gates: GatesConfig
) -> None:
    count = sum(tensor.numel() for tensor in constants)
    if count > gates.max_constant_elements:
        raise CandidateError(
            "program",
            f"the mechanism carries {count:,} constant numbers at {size.name}; at most "
            f"{gates.max_constant_elements:,} are allowed: make them parameters or compute them",
        )


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _malformed(what: str) -> CandidateError:
    return CandidateError("program", f"the traced file is malformed: {what}")
