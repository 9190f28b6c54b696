"""Run a candidate's source, trace its mechanism at every size, and collect its initial values.

Runs only in the forked child of ``zygote``. Whatever happens here concerns nobody else: the result
is plain data that the other side validates. The same instance is traced twice, at batch 2 in train
mode and at batch 3 in eval mode, so that state between calls shows as a difference. What can be
recorded is recorded; everything else, and every refusal, is left to ``torch.export``.
"""

from __future__ import annotations

import json
import random
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn as nn
from safetensors.torch import save

from openevolve_unified import frameworks
from openevolve_unified.candidate import layout
from openevolve_unified.candidate.encode import encode
from openevolve_unified.candidate.explain import FILE_NAME, explain
from openevolve_unified.candidate.graph import OperatorProgram, program_to_json
from openevolve_unified.candidate.nodes import EncodedTrace
from openevolve_unified.candidate.record import NotRecorded, record
from openevolve_unified.candidate.unify import TracesDiffer, unify
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.frameworks.attention import CausalAttention

_BASES: dict[str, type[CausalAttention]] = {
    "coefficient_dynamics": frameworks.CoefficientDynamics,
    "test_time_regression": frameworks.TestTimeRegression,
    "matrix_mixer": frameworks.MatrixMixer,
}
_PREFIX = "mechanism."
Trace: TypeAlias = Callable[
    [nn.Module, Mapping[str, torch.Tensor], str, list[str], list[str]], EncodedTrace
]
"""``record`` or ``export``."""
_BATCHES = (layout.SHORT_BATCH, 3)
_CONSTANT_DTYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)


@dataclass(frozen=True)
class CaptureRequest:
    """What to trace; see ``tracer.Tracer.trace``."""

    source: str
    framework: str
    sizes: tuple[SizeConfig, ...]
    seq_len: int
    seeds: tuple[int, ...]
    gates: GatesConfig


def capture(request: CaptureRequest) -> bytes:
    """Trace the program and return a safetensors file in memory.

    Raises:
        CandidateError: the program cannot be traced; the reason is for its author.
    """
    try:
        try:
            return capture_by(request, record)
        except (NotRecorded, CandidateError):
            return capture_by(request, export)
    except CandidateError:
        raise
    # The one place where foreign code meets ours: anything it raises, SystemExit included, is
    # a reason for its author.
    except BaseException as error:
        raise CandidateError("trace", explain(error, request.source)) from None


def capture_by(request: CaptureRequest, trace: Trace) -> bytes:
    """All sizes from a class of its own: what an earlier attempt left behind is gone."""
    attention_class = _load_class(request.source, request.framework)
    tensors: dict[str, torch.Tensor] = {}
    sizes = []
    for size in request.sizes:
        lengths = layout.short_lengths(size, request.sizes, request.seq_len)
        sizes.append(_capture_size(attention_class, request, size, lengths, tensors, trace))
    description = {
        "format": layout.FORMAT,
        "framework": request.framework,
        "seq_len": request.seq_len,
        "seeds": list(request.seeds),
        "sizes": sizes,
    }
    return save(tensors, {layout.METADATA_KEY: json.dumps(description, separators=(",", ":"))})


def export(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    prefix: str,
    parameters: list[str],
    constants: list[str],
) -> EncodedTrace:
    """Trace as ``record`` does, by an export; only the shapes and types of ``inputs`` matter."""
    zeros = tuple(torch.zeros(value.shape, dtype=value.dtype) for value in inputs.values())
    exported = torch.export.export(module, zeros, strict=False)
    return encode(exported, prefix, parameters, constants)


def _load_class(source: str, framework: str) -> type[CausalAttention]:
    module = types.ModuleType("candidate_program")
    exec(compile(source, FILE_NAME, "exec", dont_inherit=True), module.__dict__)
    found = module.__dict__.get("EvolvableAttention")
    base = _BASES[framework]
    if not isinstance(found, type) or not issubclass(found, base):
        raise CandidateError(
            "trace",
            f"the program must define class EvolvableAttention({base.__name__}), because the "
            f"framework is {framework}",
        )
    return found


class _Mechanism(nn.Module):
    """The evolvable method as a module with the five arguments that every mechanism has."""

    def __init__(self, attention: CausalAttention, framework: str):
        super().__init__()
        self.mechanism = attention
        self.sees_values = framework == "test_time_regression"

    def forward(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        x: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        method = getattr(self.mechanism, self.mechanism.evolvable_method)
        return method(q, k, v, x, mask) if self.sees_values else method(q, k, x, mask)


def _instantiate(
    attention_class: type[CausalAttention], size: SizeConfig, seed: int, layer: int
) -> CausalAttention:
    torch.manual_seed(layout.initial_seed(seed, layer))
    random.seed(layout.initial_seed(seed, layer))
    return attention_class(size.hidden_dim, size.num_heads)


def _capture_size(
    attention_class: type[CausalAttention],
    request: CaptureRequest,
    size: SizeConfig,
    lengths: Sequence[int],
    tensors: dict[str, torch.Tensor],
    trace: Trace,
) -> dict[str, Any]:
    attention = _instantiate(attention_class, size, request.seeds[0], 0)
    parameters = _own_parameters(attention, request.framework, size, request.gates)
    constants: list[str] = []
    programs = []
    tracer = _SizeTracer(attention, request.framework, size, parameters, constants, trace)
    for time in (request.seq_len, *lengths):
        program, literals = _trace_at(tracer, time, request)
        for index, literal in enumerate(literals):
            _require_plain_constant(f"a literal of {size.name}", literal)
            tensors[layout.literal_key(size, time, index)] = literal.contiguous()
        programs.append({"time": time, "program": program_to_json(program)})
    _collect_initial_values(attention_class, request, size, parameters, constants, tensors)
    return {
        "hidden_dim": size.hidden_dim,
        "num_layers": size.num_layers,
        "num_heads": size.num_heads,
        "parameters": parameters,
        "constants": constants,
        "programs": programs,
    }


def _trace_at(
    tracer: _SizeTracer, time: int, request: CaptureRequest
) -> tuple[OperatorProgram, tuple[torch.Tensor, ...]]:
    if time == request.seq_len:
        return tracer.trace_for_any_batch(time)
    where = f"at time length {time} instead of {request.seq_len}: "
    try:
        trace = tracer.trace(_BATCHES[0], time, is_training=True)
        return unify(trace, trace, (1, 1)), trace.literals
    except NotRecorded:
        raise
    except CandidateError as error:
        raise CandidateError(error.stage, where + error.reason) from None
    except Exception as error:
        raise CandidateError("trace", where + explain(error, request.source)) from None


class _SizeTracer:
    def __init__(
        self,
        attention: CausalAttention,
        framework: str,
        size: SizeConfig,
        parameters: list[str],
        constants: list[str],
        trace: Trace,
    ):
        self.module = _Mechanism(attention, framework)
        self.size = size
        self.parameters = parameters
        self.constants = constants
        self.trace_module = trace

    def trace(self, batch: int, time: int, *, is_training: bool) -> EncodedTrace:
        """One trace; the inputs hold no data, because only shapes and types enter it."""
        per_head = (batch, self.size.num_heads, time, self.size.head_dim)
        inputs = {name: torch.empty(per_head, device="meta") for name in ("q", "k", "v")}
        inputs["x"] = torch.empty(batch, time, self.size.hidden_dim, device="meta")
        inputs["mask"] = torch.empty(time, time, dtype=torch.bool, device="meta")
        self.module.train(is_training)
        return self.trace_module(self.module, inputs, _PREFIX, self.parameters, self.constants)

    def trace_for_any_batch(self, time: int) -> tuple[OperatorProgram, tuple[torch.Tensor, ...]]:
        """Unify train and eval at two batch sizes; on a difference, find out what causes it."""
        train = self.trace(_BATCHES[0], time, is_training=True)
        evaluation = self.trace(_BATCHES[1], time, is_training=False)
        try:
            return unify(train, evaluation, _BATCHES), train.literals
        except TracesDiffer as difference:
            again = self.trace(_BATCHES[0], time, is_training=True)
            if not _is_same(train, again):
                reason = (
                    "two traces of the same call differ: the mechanism uses Python random numbers "
                    "or keeps state between calls; make it a function of its arguments"
                )
            elif not _is_same(train, self.trace(_BATCHES[0], time, is_training=False)):
                reason = (
                    "the mechanism differs between train and eval mode: it must be the same in "
                    "both (no dropout, no self.training)"
                )
            else:
                reason = (
                    "the mechanism depends on the batch size: no loop over the batch, no mean over "
                    "it, no number computed from it; treat every sequence alike"
                )
            raise CandidateError("trace", f"{reason} (difference: {difference})") from None


def _is_same(one: EncodedTrace, other: EncodedTrace) -> bool:
    try:
        unify(one, other, (1, 1))
    except TracesDiffer:
        return False
    return True


def _own_parameters(
    attention: CausalAttention, framework: str, size: SizeConfig, gates: GatesConfig
) -> list[str]:
    """Names of the trainable parameters beyond the base's, in order of registration."""
    fixed = dict(_BASES[framework](size.hidden_dim, size.num_heads).named_parameters())
    found = dict(attention.named_parameters())
    for name, parameter in fixed.items():
        if name not in found or found[name].shape != parameter.shape:
            raise CandidateError("trace", f"self.{name} is fixed and may not be replaced")
    for module in attention.modules():
        for name, member in vars(module).items():
            if isinstance(member, (list, tuple)) and not name.startswith("_"):
                for item in member:
                    if isinstance(item, torch.Tensor):
                        _require_untrained(f"a tensor in self.{name}", item)
    own = [name for name, p in found.items() if name not in fixed and p.requires_grad]
    for name in own:
        if found[name].dtype != torch.float32:
            raise CandidateError(
                "trace", f"parameter {name} is {found[name].dtype}; parameters must be float32"
            )
    count = sum(found[name].numel() for name in own)
    allowed = int(24 * size.hidden_dim**2 * gates.max_params_ratio)
    if count > allowed:
        raise CandidateError(
            "budget",
            f"the mechanism has {count:,} parameters per layer at {size.name}; that is far over "
            f"the budget (the whole layer has about {12 * size.hidden_dim**2:,})",
        )
    return own


def _require_untrained(name: str, tensor: torch.Tensor) -> None:
    """Refuse a trainable tensor that the trainer would not find among the parameters."""
    if tensor.requires_grad:
        raise CandidateError(
            "trace",
            f"{name} is trainable but not registered: assign an nn.Parameter to self, and put "
            "several into an nn.ParameterList",
        )


def _collect_initial_values(
    attention_class: type[CausalAttention],
    request: CaptureRequest,
    size: SizeConfig,
    parameters: list[str],
    constants: list[str],
    tensors: dict[str, torch.Tensor],
) -> None:
    """Store every parameter and constant for each (seed, layer), once where all are equal."""
    slots = [(f"p{i}", name) for i, name in enumerate(parameters)]
    slots += [(f"c{i}", name) for i, name in enumerate(constants)]
    if not slots:
        return
    places = [(seed, layer) for seed in request.seeds for layer in range(size.num_layers)]
    instances = [_instantiate(attention_class, size, *place) for place in places]
    again = _instantiate(attention_class, size, *places[0])
    for slot, name in slots:
        values = [_member(instance, name) for instance in instances]
        if slot.startswith("c"):
            _require_plain_constant(f"self.{name}", values[0])
        if not _equal(values[0], _member(again, name)):
            raise CandidateError(
                "trace",
                f"the initial value of {name} differs between two instances at the same seed: "
                "draw it with torch in __init__, and keep no state outside the instance",
            )
        if all(_equal(values[0], value) for value in values[1:]):
            tensors[layout.shared_key(size, slot)] = values[0]
            continue
        for (seed, layer), value in zip(places, values, strict=True):
            tensors[layout.initial_key(size, slot, seed, layer)] = value


def _member(instance: CausalAttention, name: str) -> torch.Tensor:
    member: Any = instance
    for part in name.split("."):
        member = member[int(part)] if isinstance(member, (list, tuple)) else getattr(member, part)
    if not isinstance(member, torch.Tensor):
        raise CandidateError("trace", f"self.{name} must be a tensor in every instance")
    if name not in dict(instance.named_parameters()):
        _require_untrained(f"self.{name}", member)
    return member.detach().clone().contiguous()


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and bool(((one == other) | ((one != one) & (other != other))).all())
    )


def _require_plain_constant(name: str, value: torch.Tensor) -> None:
    if value.dtype not in _CONSTANT_DTYPES or value.layout != torch.strided:
        raise CandidateError(
            "trace",
            f"{name} is a constant of type {value.dtype}; constants may be float32, int64, int32, "
            "uint8 or bool",
        )
