"""The recorded and the compiled form of the training step against the plain one.

Without a GPU the recording is played by ``RecordedCalls``: it keeps every operator call with its
tensors, as a CUDA graph does, and replays the calls with no Python of ours in between.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
import warnings

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_jobs import (
    CPU,
    NUM_STEPS,
    batches,
    losses_of,
    make_job,
    make_step,
    repeating_tokens,
    softmax,
)

from openevolve_unified.execution import lifetime
from openevolve_unified.training import captured, fastest
from openevolve_unified.training.batches import TrainBatches
from openevolve_unified.training.captured import CapturedStep
from openevolve_unified.training.fastest import choose_step
from openevolve_unified.training.step import TrainStep, build_model


class RecordedCalls(TorchDispatchMode):
    """A stand-in for ``torch.cuda.CUDAGraph``: fixed calls on fixed tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("the step waits for the device")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        with torch.no_grad():
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class FakeStream:
    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


class WatchesForWaiting(TorchDispatchMode):
    """A stand-in for torch's sync debug mode."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("called a synchronizing CUDA operation")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def played_graphs(monkeypatch):
    """Recording works on the CPU."""
    watching = contextlib.ExitStack()

    def set_mode(mode):
        watching.close()
        if mode == "error":
            watching.enter_context(WatchesForWaiting())

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    monkeypatch.setattr(lifetime, "_is_spoilt", threading.Event())
    captured._side_stream.cache_clear()
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", RecordedCalls)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: graph)
    yield
    captured._side_stream.cache_clear()


def test_a_recorded_step_trains_like_the_plain_one(played_graphs):
    step = make_step(rate_is_tensor=True)
    run = CapturedStep(step, batches().at(7), 0)
    assert losses_of(run) == pytest.approx(losses_of(make_step()), rel=1e-5)


def test_recording_in_the_middle_changes_nothing(played_graphs):
    step = make_step(rate_is_tensor=True)
    losses = losses_of(step, last=5)
    run = CapturedStep(step, batches().at(0), 5)
    losses += losses_of(run, first=5, last=9)
    losses += losses_of(step, first=9)  # the two forms can take turns
    assert losses == pytest.approx(losses_of(make_step()), rel=1e-5)


def test_a_rate_that_is_not_a_tensor_would_be_frozen_into_the_recording(played_graphs):
    """The twin of the first test: the player does catch what a graph would not see."""
    run = CapturedStep(make_step(), batches().at(7), 0)
    assert losses_of(run)[-1] != pytest.approx(losses_of(make_step())[-1], rel=1e-5)


def test_a_step_that_cannot_be_recorded_is_left_as_it_was_and_run_plainly(caplog):
    step = make_step()
    kind, run = choose_step("captured", step, batches().at(0), 0, NUM_STEPS)
    assert kind == "plain"
    assert "no captured training step here: a recording needs a GPU" in caplog.text
    assert losses_of(run) == losses_of(make_step())


def test_a_recording_that_fails_at_its_end_gives_the_stream_back(played_graphs, monkeypatch):
    ours = FakeStream()
    current = [ours]

    @contextlib.contextmanager
    def stream(other):
        before, current[0] = current[0], other
        try:
            yield
        finally:
            current[0] = before

    class FailsAtItsEnd:
        def __enter__(self):
            current[0] = FakeStream()

        def __exit__(self, *_):
            raise RuntimeError("the recording was invalidated")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: FailsAtItsEnd())
    with pytest.raises(RuntimeError, match="invalidated"):
        CapturedStep(make_step(rate_is_tensor=True), batches().at(0), 0)
    assert current == [ours]
    assert lifetime.is_process_spoilt()


def test_a_step_that_waits_for_the_device_is_found_out_before_a_recording_begins(
    played_graphs, monkeypatch
):
    """A recording that fails would leave its memory and torch's allocator in a bad state."""
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: pytest.fail("it was recorded"))
    step = make_step(rate_is_tensor=True)
    step.flat.clip_gradients = lambda max_norm: step.flat.gradients.norm().item()
    with pytest.raises(RuntimeError, match="synchronizing"):
        CapturedStep(step, batches().at(0), 0)
    assert not lifetime.is_process_spoilt()
    step.flat.gradients.norm().item()  # outside, waiting is allowed again


def test_all_recordings_use_one_stream(played_graphs, monkeypatch):
    """For each stream that it saw cuBLAS keeps a workspace."""
    streams = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: streams.append(device) or FakeStream())
    used = []
    monkeypatch.setattr(
        torch.cuda, "graph", lambda graph, stream: used.append(stream) or contextlib.nullcontext()
    )
    for _ in range(2):
        CapturedStep(make_step(rate_is_tensor=True), batches().at(0), 0)
    assert streams == [CPU]
    assert isinstance(used[0], FakeStream)
    assert used[0] is used[1]


def test_a_failed_recording_is_told_by_what_failed_in_it(played_graphs, monkeypatch, caplog):
    class Invalidated(contextlib.AbstractContextManager):
        def __exit__(self, *exception):
            raise RuntimeError("the recording was invalidated")

    step = make_step(rate_is_tensor=True)
    compute, calls = step.compute, []

    def fail_when_recorded(tokens):
        calls.append(tokens)
        if len(calls) > captured.WARM_UP_STEPS:
            raise RuntimeError("an operator waits\nmore")
        return compute(tokens)

    step.compute = fail_when_recorded
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: Invalidated())
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    assert fastest._Trial(step, batches().at(0), 0).build("captured") is None
    assert "no captured training step here: an operator waits" in caplog.text
    assert "more" not in caplog.text


def test_a_compiled_step_is_recorded_too_on_a_gpu(played_graphs, monkeypatch):
    step = make_step(rate_is_tensor=True)
    monkeypatch.setattr(step, "with_compiled_loss", lambda: step)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    for kind in ("captured", "compiled"):
        assert isinstance(fastest._Trial(step, batches().at(0), 0).build(kind), CapturedStep)


def test_every_job_compiles_into_an_empty_cache(monkeypatch):
    """Past the limit of its cache the compiler would run everything as it is, without a word."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    resets = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(True))
    make_step().with_compiled_loss()
    assert resets


def test_the_compiler_does_not_ask_for_rounded_products(monkeypatch):
    def advises(*inputs):
        warnings.warn("TensorFloat32 tensor cores for float32 ... not enabled", stacklevel=1)
        return inputs[0].float().mean()

    monkeypatch.setattr(torch, "compile", lambda function, **options: advises)
    twin = make_step().with_compiled_loss()
    assert twin._loss(torch.ones(3)) == 1  # a warning would be an error here


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Inductor imports deprecated parts of torch
@pytest.mark.parametrize(
    ("precision", "own", "tolerance"),
    [("float32", "float32", 1e-4), ("bfloat16", "float32", 2e-2), ("bfloat16", "bfloat16", 2e-2)],
)
def test_a_compiled_step_trains_like_the_plain_one(precision, own, tolerance):
    step = make_step(precision=precision, mechanism_precision=own)
    kind, run = choose_step("compiled", step, batches().at(0), 0, NUM_STEPS)
    assert kind == "compiled"
    expected = losses_of(make_step(precision=precision, mechanism_precision=own))
    assert losses_of(run) == pytest.approx(expected, rel=tolerance)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("mechanism_precision", ["float32", "bfloat16"])
def test_compiling_leaves_a_mechanism_and_its_gradients_in_their_precision(
    mechanism_precision, monkeypatch
):
    """The compiler would put the whole backward pass under the autocast of the forward one."""
    forward, backward = [], []

    def keep_in(graphs):
        return lambda graph, inputs: graphs.append(graph) or make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=keep_in(forward), bw_compiler=keep_in(backward))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    step = make_step(precision="bfloat16", mechanism_precision=mechanism_precision)
    step.with_compiled_loss().compute(batches().at(0))
    own = getattr(torch, mechanism_precision)
    for (graph,) in (forward, backward):
        types = collections.defaultdict(set)
        for node in graph.graph.nodes:
            for value in tree_leaves(node.meta.get("val")):
                types[node.target].add(getattr(value, "dtype", None))
        assert types[torch.ops.aten.bmm.default] == {own}  # of the mechanism alone
        # The mechanism has a matrix too; the projections are bfloat16.
        assert types[torch.ops.aten.mm.default] == {own, torch.bfloat16}


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["captured", "compiled"])
@pytest.mark.parametrize(
    ("precision", "own"),
    [("float32", "float32"), *(("bfloat16", own) for own in ("float32", "tf32", "bfloat16"))],
)
def test_on_a_gpu_every_form_trains_like_the_plain_one(kind, precision, own):
    device = torch.device("cuda")
    job = make_job(precision=precision, mechanism_precision=own)
    data = TrainBatches(repeating_tokens().train, 8, 3, device)

    def trained(form: str) -> list[float]:
        step = TrainStep(job, build_model(job, softmax, device), device)
        name, run = choose_step(form, step, data.at(0), 0, NUM_STEPS)
        assert name == form
        return [run(data.at(index), index).item() for index in range(NUM_STEPS)]

    tolerance = 1e-4 if precision == "float32" else 2e-2
    assert trained(kind) == pytest.approx(trained("plain"), rel=tolerance)
