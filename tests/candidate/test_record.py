"""Recording a mechanism gives what exporting it gives, or leaves it to the export."""

from __future__ import annotations

import json

import pytest
from assembled_programs import build_program
from safetensors.torch import load

from openevolve_unified.candidate.capture import CaptureRequest, capture, capture_by, export
from openevolve_unified.candidate.layout import METADATA_KEY
from openevolve_unified.candidate.record import NotRecorded, record
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.mechanisms.catalog import mechanisms

CD = "coefficient_dynamics"
SIZES = tuple(SizeConfig(hidden_dim=d, num_layers=1, num_heads=2) for d in (8, 12))
SOFTMAX = "return s.masked_fill(~mask, -torch.inf).softmax(-1)"
pytestmark = pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")  # torch.export's own


def request_for(source, framework=CD):
    return CaptureRequest(
        source=source,
        framework=framework,
        sizes=SIZES,
        seq_len=16,
        seeds=(3, 4),
        gates=GatesConfig(),
    )


def sampled(items):
    return [
        item if position % 12 == 0 else pytest.param(item, marks=pytest.mark.slow)
        for position, item in enumerate(items)
    ]


@pytest.mark.parametrize(
    "mechanism", sampled(mechanisms()), ids=lambda m: f"{m.framework}-{m.name}"
)
def test_a_published_mechanism_is_recorded_as_it_is_exported(mechanism):
    request = request_for(mechanism.source, mechanism.framework)
    assert capture_by(request, record) == capture_by(request, export)


RECORDED = {
    "a literal": f"s = q @ k.mT * torch.tensor(0.5)\n{SOFTMAX}",
    "new tensors without a device": f"s = q @ k.mT + torch.arange(q.shape[2]) * 0.1\n{SOFTMAX}",
    "several results": f"a, b = q.chunk(2, -1)\ns = a @ k.chunk(2, -1)[0].mT + b.amax()\n{SOFTMAX}",
    "a size that is the batch": "s = q.reshape(q.shape[0] * 2, -1, q.shape[3]).cos()\n"
    f"s = s.view(q.shape) @ k.mT\n{SOFTMAX}",
    "a buffer, a parameter, a detach": f"s = (q @ k.mT).detach() * self.p + self.c\n{SOFTMAX}",
    "uninitialised memory": f"s = q @ k.mT + torch.empty_like(q)[..., :1]\n{SOFTMAX}",
}
MEMBERS = "self.p = nn.Parameter(torch.randn(1))\nself.register_buffer('c', torch.ones(1))\n"


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED.keys())
def test_ordinary_code_is_recorded_as_it_is_exported(body):
    request = request_for(build_program(body, CD, MEMBERS))
    assert capture_by(request, record) == capture_by(request, export)


LEFT_TO_THE_EXPORT = {
    "a write in place": f"s = q @ k.mT\ns += 1.0\n{SOFTMAX}",
    "a tensor of unknown origin": f"s = q @ k.mT * self.hidden_table\n{SOFTMAX}",
    "a literal made on the inputs' device": "s = q @ k.mT * torch.tensor(0.5, device=q.device)\n"
    + SOFTMAX,
}


@pytest.mark.parametrize("body", LEFT_TO_THE_EXPORT.values(), ids=LEFT_TO_THE_EXPORT.keys())
def test_what_cannot_be_recorded_is_exported(body):
    request = request_for(build_program(body, CD, "self.hidden_table = torch.ones(2, 1, 1)"))
    with pytest.raises(NotRecorded):
        capture_by(request, record)
    assert capture(request) == capture_by(request, export)


REFUSED = {
    "no gradient inside": f"with torch.no_grad():\n    s = q @ k.mT\n{SOFTMAX}",
    "another precision inside": "with torch.autocast('cpu', torch.bfloat16):\n    s = q @ k.mT\n"
    + SOFTMAX,
    "a branch on a value": f"s = q @ k.mT\nif s.mean() > 0:\n    s = 2 * s\n{SOFTMAX}",
    "the base's projection": f"s = self.q_proj(x)[:, None, :, :1] + q @ k.mT\n{SOFTMAX}",
    "two results": "return q, k",
    "a detach in place, which an export drops": f"s = q @ k.mT\ns.detach_()\n{SOFTMAX}",
    "a backward of its own": "class Twice(torch.autograd.Function):\n"
    "    @staticmethod\n    def forward(ctx, z):\n"
    "        with torch.enable_grad():\n            return z.sin()\n"
    f"s = Twice.apply(q @ k.mT)\n{SOFTMAX}",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_a_recording_never_takes_what_changes_the_meaning_of_operators(body):
    with pytest.raises(NotRecorded):
        capture_by(request_for(build_program(body, CD, "")), record)


def test_a_recording_leaves_nothing_behind_for_the_export():
    """The first attempt stores tensors without data; the second must not meet them."""
    body = f"Store.seen.append(k)\ns = q @ k.mT\ns += 0 * len(Store.seen)\n{SOFTMAX}"
    block = build_program(body, CD, "").replace(
        "class Evolv", "class Store:\n    seen = []\n\n\nclass Evolv"
    )
    metadata = capture(request_for(block))
    assert load(metadata) == {}
    header = json.loads(metadata[8 : 8 + int.from_bytes(metadata[:8], "little")])
    sizes = json.loads(header["__metadata__"][METADATA_KEY])["sizes"]
    assert [size["hidden_dim"] for size in sizes] == [8, 12]


def test_everything_is_exported_where_torch_lacks_the_internals_of_recording(monkeypatch):
    request = request_for(build_program(f"s = q @ k.mT\n{SOFTMAX}", CD, ""))
    recorded = capture_by(request, record)
    monkeypatch.delattr("torch._C._TorchDispatchModeKey")
    with pytest.raises(NotRecorded, match="_TorchDispatchModeKey"):
        capture_by(request, record)
    assert recorded
