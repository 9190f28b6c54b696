"""Torch's own operators: those that are refused, and hostile calls of those that are allowed."""

from __future__ import annotations

import random
from typing import Any

import torch

from openevolve_unified.candidate.program.graph import INPUTS
from openevolve_unified.candidate.program.operators import ALLOWED

Json = Any


def _refused_operators() -> list[str]:
    """Torch's own operators that write in place, draw numbers, or are not on the list."""
    names = []
    for schema in torch._C._jit_get_all_schemas():
        namespace, name = schema.name.split("::", 1)
        overload = schema.overload_name or "default"
        is_functional = not schema.is_mutable and not any(a.is_out for a in schema.arguments)
        if not (namespace == "aten" and name in ALLOWED and is_functional):
            names.append(f"{namespace}.{name}.{overload}")
    return sorted(names)


REFUSED_OPERATORS = _refused_operators()


def hostile_calls(rng: random.Random, program: Json) -> Json:
    """Any allowed operator with hostile arguments; what comes back is not what is wanted anyway."""
    operator, schema = rng.choice(_functional_operators())
    positional = [argument for argument in schema.arguments if not argument.kwarg_only]
    required = sum(not argument.has_default_value() for argument in positional)
    given = positional[: rng.randint(required, len(positional))]
    args = [_hostile_value(rng, str(argument.real_type)) for argument in given]
    kwargs = {
        argument.name: _hostile_value(rng, str(argument.real_type))
        for argument in schema.arguments
        if argument.kwarg_only and (not argument.has_default_value() or rng.random() < 0.4)
    }
    program["nodes"] = [["aten.unsqueeze.default", [{"i": "q"}, 0], {}], [operator, args, kwargs]]
    program["output"] = rng.choice([{"i": "mask"}, {"i": "q"}, {"p": 0}, {"n": 0}])
    return program


_SCHEMAS: list[tuple[str, Any]] = []


def _functional_operators() -> list[tuple[str, Any]]:
    if not _SCHEMAS:
        for name in sorted(ALLOWED):
            packet = getattr(torch.ops.aten, name, None)
            for overload in packet.overloads() if packet is not None else ():
                schema = getattr(packet, overload)._schema
                if not schema.is_mutable and not any(a.is_out for a in schema.arguments):
                    _SCHEMAS.append((f"aten.{name}.{overload}", schema))
    return _SCHEMAS


_WHOLE = (0, 1, -1, 2, 3, 7, 8, 64, 100, 8_192, 2**20, 2**31, 2**40, 2**63 - 1, 1 - 2**63)
_TENSORS = (*({"i": name} for name in INPUTS if name != "v"), {"p": 0}, {"c": 0}, {"n": 0})
_TEXTS = ("", "bij,bjk->bik", "...", "floor", "none", "mean", "x" * 200, "ij", "i" * 99 + "->i")


def _hostile_value(rng: random.Random, kind: str) -> Json:
    if kind.startswith("Optional["):
        return None if rng.random() < 0.4 else _hostile_value(rng, kind[9:-1])
    if kind.startswith("List["):
        count = rng.choice([0, 1, 1, 2, 2, 3, 4, 9, 65, 300])
        if count > 9:
            return [_hostile_value(rng, kind[5:-1])] * count
        return [_hostile_value(rng, kind[5:-1]) for _ in range(count)]
    if kind == "Tensor":
        return rng.choice(_TENSORS) if rng.random() < 0.9 else rng.choice([1, 0.5, -3, True])
    choices: dict[str, list[Json]] = {
        "int": [*_WHOLE, {"b": 1}, {"b": -1}, {"b": 2**31}],
        "float": [0.0, -1.0, 1e308, 1e-308, {"f": "nan"}, {"f": "inf"}, {"f": "-inf"}, 2**62],
        "bool": [True, False],
        "str": list(_TEXTS),
        "ScalarType": [{"dtype": name} for name in ("float32", "int64", "bool", "complex64")],
        "Device": [{"device": "run"}],
        "MemoryFormat": [{"memory_format": "contiguous_format"}],
    }
    choices["SymInt"] = choices["int"]
    choices["number"] = choices["Scalar"] = [*_WHOLE, *choices["float"]]
    return rng.choice(choices.get(kind, [None]))
