"""Programs put through the recorder: requests, what comes back, and what it must equal."""

from __future__ import annotations

import json
import types

import pytest
import torch
from assembled_programs import build_program

from openevolve_unified.candidate.program.file_layout import METADATA_KEY
from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.candidate.tracing.inside.capture import CaptureRequest, capture
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError

CD = "coefficient_dynamics"
SIZES = tuple(SizeConfig(hidden_dim=d, num_layers=1, num_heads=h) for d, h in ((8, 2), (12, 3)))
TIME = 9
SOFTMAX = "return s.masked_fill(~mask, -torch.inf).softmax(-1)"
SCORES = "s = q @ k.mT\n"


def request_for(source, framework=CD, **changes):
    settings = {
        "sizes": SIZES,
        "seq_len": TIME,
        "seeds": (3,),
        "gates": GatesConfig(),
        "batch_size": 4,
        **changes,
    }
    return CaptureRequest(source=source, framework=framework, **settings)


def description_of(traced: bytes):
    header = json.loads(traced[8 : 8 + int.from_bytes(traced[:8], "little")])
    return json.loads(header["__metadata__"][METADATA_KEY])


def operators_of(traced: bytes):
    (program, *_) = description_of(traced)["sizes"][0]["programs"]
    return {node[0].split(".")[1] for node in program["program"]["nodes"]}


def refusal_of(body, members="", **changes):
    with pytest.raises(CandidateError) as caught:
        capture(request_for(build_program(body, CD, members), **changes))
    return caught.value


def result_and_gradients(run, tensors, mask):
    """The result, and the gradients of a weighted sum of it with respect to ``tensors``."""
    leaves = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
    result = run(*leaves, mask)
    if not result.requires_grad:
        return result, ()
    weights = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype).view_as(result)
    gradients = torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True)
    return result, gradients


def assert_traced_as_it_is_run(source, framework, folder):
    """In float64: the module's own method against the traced program, values and gradients."""
    path = folder / "traced.safetensors"
    path.write_bytes(capture(request_for(source, framework)))
    size = SIZES[1]
    traced = load_traced(path, GatesConfig()).sizes[size.name]
    module = types.ModuleType("direct")
    exec(source, module.__dict__)
    attention = module.EvolvableAttention(size.hidden_dim, size.num_heads).double()
    own = dict(attention.named_parameters())
    for name, value in zip(traced.parameter_names, traced.initial_parameters(3, 0), strict=True):
        own[name].data = value.double()
    method = getattr(attention, attention.evolvable_method)
    if framework == "test_time_regression":
        direct = method
    else:
        direct = lambda q, k, v, x, mask: method(q, k, x, mask)  # noqa: E731
    generator = torch.Generator().manual_seed(5)
    heads = (3, size.num_heads, TIME, size.head_dim)
    shapes = (heads, heads, heads, (3, TIME, size.hidden_dim))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    mask = torch.ones(TIME, TIME, dtype=torch.bool).tril()
    mechanism = traced.double_mechanism(TIME, traced.initial_parameters(3, 0), 3)
    found, found_gradients = result_and_gradients(mechanism, tensors, mask)
    torch.set_default_dtype(torch.float64)
    try:
        wanted, wanted_gradients = result_and_gradients(direct, tensors, mask)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, equal_nan=True)
    for one, other in zip(found_gradients, wanted_gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12, equal_nan=True)
