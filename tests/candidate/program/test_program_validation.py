"""Hostile and malformed programs are clean rejections; nothing of them is allocated or run."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.candidate.program.graph import program_from_json, program_to_json
from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.candidate.program.validate import ProgramInterface, validate_program
from openevolve_unified.config.schema import GatesConfig, SizeConfig
from openevolve_unified.errors import CandidateError

SIZE = SizeConfig(hidden_dim=8, num_layers=1, num_heads=2)
INTERFACE = ProgramInterface(
    framework="matrix_mixer",
    size=SIZE,
    time=8,
    parameters=(torch.zeros(3),),
    constants=(torch.zeros(2, dtype=torch.int64),),
    literals=(),
)
MATMUL = ["aten.matmul.default", [{"i": "q"}, {"n": 0}], {}]
GOOD = [["aten.mT.default", [{"i": "k"}], {}], MATMUL]


def validate(nodes: list, output: object = None):
    data = {"nodes": nodes, "output": output or {"n": len(nodes) - 1}, "num_literals": 0}
    return validate_program(program_from_json(data, 1_000), INTERFACE)


def reason(nodes: list, output: object = None) -> str:
    with pytest.raises(CandidateError) as caught:
        validate(nodes, output)
    assert caught.value.stage == "program"
    return caught.value.reason


def test_a_good_program_is_accepted_and_costed():
    valid = validate(GOOD)
    assert valid.flops_per_sequence == 2 * 2 * 8 * 8 * 4
    assert program_from_json(program_to_json(valid.graph), 10) == valid.graph


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([["aten.rand.default", [[2, 2, 8, 8]], {}]], "random numbers"),
        ([["aten.add_.Tensor", [{"i": "q"}, 1], {}]], "in-place"),
        ([["aten.add.out", [{"i": "q"}, 1], {"out": {"i": "k"}}]], "in place"),
        ([["aten.set_.source_Storage", [{"i": "q"}], {}]], "not in the allowed list"),
        ([["aten.from_file.default", ["/etc/passwd"], {}]], "not in the allowed list"),
        ([["prim.device.default", [{"i": "q"}], {}]], "not in the allowed list"),
        ([["aten.add.NoSuch", [{"i": "q"}, 1], {}]], "no operator"),
        ([["aten.__class__.x", [], {}]], "not in the allowed list"),
        ([["os.system.x", ["true"], {}]], "not in the allowed list"),
        ([["aten.relu.default", [{"n": 0}], {}]], "later node"),
        ([["aten.relu.default", [{"n": 7}], {}]], "later node"),
        ([["aten.relu.default", [{"p": 1}], {}]], "p1 that does not exist"),
        ([["aten.relu.default", [{"l": 0}], {}]], "l0 that does not exist"),
        ([["aten.relu.default", [{"i": "v"}], {}]], "'v'"),
        ([["aten.relu.default", [], {}]], "no argument 'self'"),
        ([["aten.relu.default", [{"i": "q"}, 1], {}]], "positional"),
        ([["aten.relu.default", [{"i": "q"}], {"self": {"i": "k"}}]], "twice"),
        ([["aten.relu.default", [{"i": "q"}], {"device": {"device": "run"}}]], "unknown argument"),
        ([["aten.relu.default", ["q"], {}]], "'self' = q"),
        ([["aten.softmax.int", [{"i": "q"}, {"i": "k"}], {}]], "'dim'"),
        ([["aten.mul.Tensor", [{"i": "q"}, {"b": 1}], {}]], "'other'"),
        ([["aten.transpose.int", [{"i": "q"}, 0, 99], {}]], "fails"),
        ([["aten.zeros.default", [[2**40, 2**40]], {}]], "overflow"),
        ([["aten.zeros.default", [[2**40, 0]], {}]], "elements per sequence"),
        ([["aten.zeros.default", [[-1]], {}]], "fails"),
        ([["aten.arange.default", [2**50], {}]], "elements per sequence"),
        ([["aten.repeat.default", [{"i": "q"}, [9**9, 1, 1, 1]], {}]], "elements per sequence"),
        ([["aten.one_hot.default", [{"c": 0}], {}]], "fails"),
        ([["aten.index.Tensor", [{"i": "q"}, [{"i": "mask"}]], {}]], "fails"),
        ([["aten.relu.default", [{"i": "q"}], {}]], "returns shape"),
        ([*GOOD, ["aten.to.dtype", [{"n": 1}, {"dtype": "float64"}], {}]], "wanted float32"),
        ([*GOOD, ["aten.topk.default", [{"n": 1}, 1], {}]], "returns shape"),
        (
            [
                ["aten.expand.default", [{"p": 0}, [2**20, 3]], {}],
                ["aten.unbind.int", [{"n": 0}], {}],
            ],
            "too many tensors",
        ),
    ],
)
def test_a_hostile_program_is_a_clean_rejection(nodes, words):
    assert words in reason(nodes)


def test_a_missing_output_of_several_is_refused():
    topk = ["aten.topk.default", [{"i": "q"}, 1], {}]
    assert "no output 5" in reason([topk, ["aten.relu.default", [{"n": 0, "o": 5}], {}]])


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"nodes": [], "output": {"n": 0}},
        {"nodes": {}, "output": {"n": 0}, "num_literals": 0},
        {"nodes": [], "output": 3, "num_literals": 0},
        {"nodes": [], "output": {"i": "q"}, "num_literals": -1},
        {"nodes": [["aten.relu.default", []]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["x" * 999, [], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["aten.relu.default", [1] * 99, {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [[[[[1]]]]], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [{"n": 0, "o": 0, "x": 0}], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [{"dtype": "__class__"}], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [{"f": "1e9"}], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [{"n": True}], {}]], "output": {"n": 0}, "num_literals": 0},
        {"nodes": [["a", [2**80], {}]], "output": {"n": 0}, "num_literals": 0},
    ],
)
def test_malformed_json_is_a_clean_rejection(data):
    with pytest.raises(CandidateError, match="malformed"):
        program_from_json(data, 100)


@pytest.fixture(scope="module")
def honest_file(desk, tmp_path_factory) -> Path:
    members = "self.gate = nn.Linear(hidden_dim, num_heads)"
    body = """
s = q @ k.mT / 4 + F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(-1)[..., None, :]
return (s + torch.tensor([0.5])).masked_fill(~mask, -torch.inf).softmax(-1)
"""
    desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    path = tmp_path_factory.mktemp("honest") / "honest.safetensors"
    path.write_bytes((desk.folder / "candidate.safetensors").read_bytes())
    return path


def read(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[layout.METADATA_KEY]), load_file(path)


def write(path: Path, description: object, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, path, {layout.METADATA_KEY: json.dumps(description)})
    return path


def test_an_untouched_file_loads(honest_file, tmp_path):
    description, tensors = read(honest_file)
    assert load_traced(write(tmp_path / "same", description, tensors), GatesConfig())


def test_a_file_that_is_no_file_of_ours_is_refused(honest_file, tmp_path):
    content = honest_file.read_bytes()
    for index, damaged in enumerate((b"", content[:100], content[:-1], b"\xff" * 64)):
        path = tmp_path / str(index)
        path.write_bytes(damaged)
        with pytest.raises(CandidateError, match="malformed"):
            load_traced(path, GatesConfig())


def test_missing_or_mistyped_tensors_are_refused(honest_file, tmp_path):
    description, tensors = read(honest_file)
    for name, tensor in tensors.items():
        without = {key: value for key, value in tensors.items() if key != name}
        for changed in (without, without | {name: tensor.double()}):
            with pytest.raises(CandidateError):
                load_traced(write(tmp_path / "changed", description, changed), GatesConfig())


def test_random_damage_is_a_clean_rejection_or_a_valid_program(honest_file, tmp_path):
    generator = random.Random(0)
    description, tensors = read(honest_file)
    refusals = []
    for _ in range(300):
        damaged = copy.deepcopy(description)
        for _ in range(generator.randint(1, 3)):
            _damage(damaged, generator)
        try:
            load_traced(write(tmp_path / "damaged", damaged, tensors), GatesConfig())
        except CandidateError as error:
            refusals.append(error)
    assert len(refusals) > 200
    assert {error.stage for error in refusals} == {"program"}
    assert max(len(error.reason) for error in refusals) < 600


def _damage(node: object, generator: random.Random) -> None:
    """Replace one random leaf or branch of nested JSON."""
    values = (None, True, -1, 0, 7, 2**62, 1e308, "x", "aten.sum.default", [], [[]], {}, {"n": 0})
    values += ({"i": "v"}, {"b": 3}, {"p": 0}, {"f": "nan"}, {"dtype": "int64"})
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))  # type: ignore[call-overload, arg-type]
        if not keys:
            return
        key = generator.choice(keys)
        child = node[key]  # type: ignore[index]
        if isinstance(child, (dict, list)) and child and generator.random() < 0.85:
            node = child
            continue
        node[key] = copy.deepcopy(generator.choice(values))  # type: ignore[index]
        return
