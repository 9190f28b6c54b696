"""The capture: a candidate's source is run, traced at every size, its initial values collected.

Runs only in the forked child of ``zygote``. Whatever happens here concerns nobody else: the result
is plain data that the other side validates. The same instance is traced at several batch sizes, the
training batch and 1 among them, in train and in eval mode. All traces must be one program, so that
what is trained is what the source says; state between calls shows as a difference, too.
"""

from __future__ import annotations

import json
import types
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save

from openevolve_unified import frameworks
from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.candidate.program.graph import (
    OperatorProgram,
    TensorRef,
    program_to_json,
)
from openevolve_unified.candidate.tracing.explain import FILE_NAME, Refusal, explain, place
from openevolve_unified.candidate.tracing.inside.eager import require_same_on_real_tensors
from openevolve_unified.candidate.tracing.inside.instances import (
    Mechanism,
    input_shapes,
    instantiate,
    member,
    require_untrained,
)
from openevolve_unified.candidate.tracing.inside.nodes import EncodedTrace
from openevolve_unified.candidate.tracing.inside.recorder import record
from openevolve_unified.candidate.tracing.inside.stand_ins import stand_ins
from openevolve_unified.candidate.tracing.inside.unify import TracesDiffer, unify
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError
from openevolve_unified.frameworks.attention import CausalAttention
from openevolve_unified.notations import NOTATIONS

_BASES: dict[str, type[CausalAttention]] = {
    name: getattr(frameworks, notation.base_class) for name, notation in NOTATIONS.items()
}
_PREFIX = "mechanism."
_SHAPE_MARKS = ("is invalid for input of size", "don't multiply up to the size", "must match")
_ODD_HEADS_ADVICE = (
    "; the number of heads may be odd, as here: do not pair heads, and write shapes by "
    "self.num_heads and self.head_dim"
)
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
    batch_size: int
    """Of training and of the loss on the validation split."""


def capture(request: CaptureRequest) -> bytes:
    """Trace the program and return a safetensors file in memory.

    Raises:
        CandidateError: the program cannot be traced; the reason is for its author.
    """
    try:
        with stand_ins():
            return _capture(request)
    except CandidateError:
        raise
    # The one place where foreign code meets ours: anything it raises, SystemExit included, is
    # a reason for its author.
    except BaseException as error:
        raise _rejection(error, "", request.source) from None


def _capture(request: CaptureRequest) -> bytes:
    attention_class = _load_class(request.source, request.framework)
    tensors: dict[str, torch.Tensor] = {}
    sizes = []
    for size in request.sizes:
        try:
            sizes.append(_capture_size(attention_class, request, size, tensors))
        except BaseException as error:
            where = f"at {size.name}, with {size.num_heads} heads: "
            rejection = _rejection(error, where, request.source)
            if size.num_heads % 2 and any(mark in rejection.reason for mark in _SHAPE_MARKS):
                rejection = CandidateError(rejection.stage, rejection.reason + _ODD_HEADS_ADVICE)
            raise rejection from None
    description = {
        "format": layout.FORMAT,
        "framework": request.framework,
        "seq_len": request.seq_len,
        "seeds": list(request.seeds),
        "sizes": sizes,
    }
    return save(tensors, {layout.METADATA_KEY: json.dumps(description, separators=(",", ":"))})


def _rejection(error: BaseException, where: str, source: str) -> CandidateError:
    """``error`` as a reason for the author, with where it happened in front."""
    if isinstance(error, CandidateError):
        return CandidateError(error.stage, where + error.reason)
    stage = error.stage if isinstance(error, Refusal) else "trace"
    return CandidateError(stage, where + explain(error, source))


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


def _capture_size(
    attention_class: type[CausalAttention],
    request: CaptureRequest,
    size: SizeConfig,
    tensors: dict[str, torch.Tensor],
) -> dict[str, Any]:
    attention = instantiate(attention_class, size, request.seeds[0], 0)
    parameters = _own_parameters(attention, request.framework, size, request.gates)
    constants: list[str] = []
    programs = []
    recorded: dict[int, tuple[OperatorProgram, EncodedTrace]] = {}
    tracer = _SizeTracer(attention, request, size, parameters, constants)
    for time in (request.seq_len, *layout.short_lengths(size, request.sizes, request.seq_len)):
        program, trace = recorded[time] = _trace_at(tracer, time, request)
        _require_few_operators(trace, request)
        for index, literal in enumerate(trace.literals):
            _require_plain_constant(f"a literal of {size.name}", literal)
            tensors[layout.literal_key(size, time, index)] = literal.contiguous()
        programs.append(
            {"time": time, "program": program_to_json(program), "lines": list(trace.lines)}
        )
    _require_same_when_run(attention_class, request, size, (parameters, constants), recorded)
    _collect_initial_values(attention_class, request, size, parameters, constants, tensors)
    return {
        "hidden_dim": size.hidden_dim,
        "num_layers": size.num_layers,
        "num_heads": size.num_heads,
        "parameters": parameters,
        "constants": constants,
        "programs": programs,
    }


def _require_same_when_run(
    attention_class: type[CausalAttention],
    request: CaptureRequest,
    size: SizeConfig,
    names: tuple[list[str], list[str]],
    recorded: dict[int, tuple[OperatorProgram, EncodedTrace]],
) -> None:
    """Hold what was recorded to what an instance of its own computes on real tensors."""
    # The prefix check holds other lengths to a short one; at length 1 there is no past.
    time = min(time for time in recorded if time > 1)
    program, trace = recorded[time]
    attention = instantiate(attention_class, size, request.seeds[0], 0)
    by_kind = dict(zip("pc", names, strict=True))

    def read(tensor: TensorRef) -> torch.Tensor:
        if tensor.kind == "l":
            return trace.literals[tensor.index]
        return member(attention, by_kind[tensor.kind][tensor.index])

    require_same_on_real_tensors(
        Mechanism(attention, request.framework).train(),
        program,
        input_shapes(size, layout.SHORT_BATCH, time),
        read,
        request.source,
    )


def _trace_at(
    tracer: _SizeTracer, time: int, request: CaptureRequest
) -> tuple[OperatorProgram, EncodedTrace]:
    """The program of one time length, and one of its traces."""
    if time == request.seq_len:
        return tracer.trace_for_any_batch(time)
    try:
        trace = tracer.trace(layout.SHORT_BATCH, time, is_training=True)
    except Exception as error:
        where = f"at time length {time} instead of {request.seq_len}: "
        raise _rejection(error, where, request.source) from None
    return unify(trace, trace, (1, 1)), trace


def _require_few_operators(trace: EncodedTrace, request: CaptureRequest) -> None:
    count, allowed = len(trace.nodes), request.gates.max_nodes
    if count > allowed:
        ((line, most),) = Counter(trace.lines).most_common(1)
        raise CandidateError(
            "program",
            f"{place(line, request.source)}the mechanism traces to {count:,} operators; at most "
            f"{allowed:,} are allowed, and {most:,} come from this line: replace the loop over "
            "time by batched tensor operators (torch.stack of rows, cumsum, "
            "torch.linalg.solve_triangular)",
        )


class _SizeTracer:
    def __init__(
        self,
        attention: CausalAttention,
        request: CaptureRequest,
        size: SizeConfig,
        parameters: list[str],
        constants: list[str],
    ):
        self.module = Mechanism(attention, request.framework)
        self.size = size
        self.request = request
        self.parameters = parameters
        self.constants = constants

    def trace(self, batch: int, time: int, *, is_training: bool) -> EncodedTrace:
        """One trace; the inputs hold no data, because only shapes and types enter it."""
        inputs = {
            name: torch.empty(
                shape, dtype=torch.bool if name == "mask" else torch.float32, device="meta"
            )
            for name, shape in input_shapes(self.size, batch, time).items()
        }
        self.module.train(is_training)
        max_nodes = self.request.gates.max_nodes
        return record(self.module, inputs, _PREFIX, self.parameters, self.constants, max_nodes)

    def trace_for_any_batch(self, time: int) -> tuple[OperatorProgram, EncodedTrace]:
        """One program from all batch sizes and both modes, and the first trace."""
        (batch, is_training), *others = layout.trace_batches(self.request.batch_size)
        first = self.trace(batch, time, is_training=is_training)
        program: OperatorProgram | None = None
        for other, mode in others:
            try:
                again = unify(first, self._trace_again(other, time, mode), (batch, other))
                if program is not None and again != program:
                    raise TracesDiffer("a number that is no multiple of the batch size")
                program = again
            except TracesDiffer as difference:
                reason = self._why_different(first, (batch, other), mode, time)
                raise CandidateError("trace", f"{reason} (difference: {difference})") from None
        assert program is not None
        return program, first

    def _trace_again(self, batch: int, time: int, mode: bool) -> EncodedTrace:
        try:
            return self.trace(batch, time, is_training=mode)
        except Exception as error:
            where = f"in a batch of {batch} (but not in one of {layout.SHORT_BATCH}): "
            raise _rejection(error, where, self.request.source) from None

    def _why_different(
        self, first: EncodedTrace, batches: tuple[int, int], mode: bool, time: int
    ) -> str:
        """What the difference between the first trace and another comes from."""
        if not _is_same(first, self.trace(batches[0], time, is_training=True)):
            return (
                "two traces of the same call differ: the mechanism uses Python random numbers "
                "or keeps state between calls, and state between calls is not allowed; make it a "
                "function of its arguments"
            )
        if not _is_same(first, self.trace(batches[0], time, is_training=mode)):
            return (
                "the mechanism differs between train and eval mode: it must be the same in "
                "both (no dropout, no self.training)"
            )
        return (
            f"the mechanism depends on the batch size (it is another one at batch {batches[1]} "
            f"than at batch {batches[0]}): no branch on it, no loop or vmap over the batch, no "
            "mean over it, no number computed from it; treat every sequence alike"
        )


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
        for name, held in vars(module).items():
            if isinstance(held, (list, tuple)) and not name.startswith("_"):
                for item in held:
                    if isinstance(item, torch.Tensor):
                        require_untrained(f"a tensor in self.{name}", item)
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
    instances = [instantiate(attention_class, size, *place) for place in places]
    again = instantiate(attention_class, size, *places[0])
    for slot, name in slots:
        values = [member(instance, name) for instance in instances]
        if slot.startswith("c"):
            _require_plain_constant(f"self.{name}", values[0])
        if not _equal(values[0], member(again, name)):
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
