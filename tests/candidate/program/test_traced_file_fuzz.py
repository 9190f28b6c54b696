"""Files with damaged bytes, tensors or descriptions: each is a clean rejection."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rejections import reasons_of_clean_rejections
from safetensors import safe_open
from safetensors.torch import load_file, save

from openevolve_unified.candidate.program import file_layout as layout
from openevolve_unified.candidate.program.budget import require_within_budget
from openevolve_unified.candidate.program.traced import load_traced
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError

GATES = GatesConfig(max_nodes=200, max_constant_elements=100)
PER_FAMILY = 40


@dataclass
class File:
    """An honest file taken apart; ``content`` puts it together again."""

    description: Any
    tensors: dict[str, torch.Tensor]

    def content(self) -> bytes:
        return save(self.tensors, {layout.METADATA_KEY: json.dumps(self.description)})

    def header(self) -> tuple[dict[str, Any], bytes]:
        content = self.content()
        (length,) = struct.unpack("<Q", content[:8])
        return json.loads(content[8 : 8 + length]), content[8 + length :]

    def programs(self) -> list[dict[str, Any]]:
        return [item["program"] for size in self.description["sizes"] for item in size["programs"]]


def with_header(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture(scope="module")
def honest_path(desk) -> Path:
    members = "self.gate = nn.Linear(hidden_dim, num_heads)"
    body = """
s = q @ k.mT / 4 + F.logsigmoid(self.gate(x)).transpose(1, 2).cumsum(-1)[..., None, :]
return (s + torch.tensor([0.5])).masked_fill(~mask, -torch.inf).softmax(-1)
"""
    desk.trace(desk.program(body, members=members), "coefficient_dynamics")
    path = desk.folder / "honest.safetensors"
    path.write_bytes((desk.folder / "candidate.safetensors").read_bytes())
    return path


@pytest.fixture
def honest(honest_path) -> File:
    with safe_open(honest_path, framework="pt") as file:
        return File(json.loads(file.metadata()[layout.METADATA_KEY]), load_file(honest_path))


def truncated(rng: random.Random, file: File) -> bytes:
    content = file.content()
    return content[: rng.randrange(len(content))]


def prolonged(rng: random.Random, file: File) -> bytes:
    return file.content() + rng.randbytes(rng.randint(1, 64))


def noise(rng: random.Random, file: File) -> bytes:
    return rng.randbytes(rng.randint(0, 999))


def false_header_length(rng: random.Random, file: File) -> bytes:
    length = rng.choice([0, 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1, rng.randrange(2**64)])
    return struct.pack("<Q", length) + file.content()[8:]


def false_offsets(rng: random.Random, file: File) -> bytes:
    header, data = file.header()
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    begin, end = entry["data_offsets"]
    shift = rng.choice([1, 3, 4, 8, 2**31, 2**60])
    entry["data_offsets"] = rng.choice([[begin, end + shift], [begin + shift, end], [end, begin]])
    if begin == end:
        entry["data_offsets"] = [begin, end + 1]
    return with_header(header, data)


def false_shapes(rng: random.Random, file: File) -> bytes:
    """A shape that its bytes cannot fill: nothing may be allocated by it."""
    header, data = file.header()
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    huge = rng.choice([2**20, 2**31, 2**40, 2**62])
    entry["shape"] = rng.choice([[huge], [huge, huge], [*entry["shape"], huge], [-1], [0.5], "x"])
    return with_header(header, data)


def false_types(rng: random.Random, file: File) -> bytes:
    """Another type of the same width is no longer a parameter; of another width, no tensor."""
    header, data = file.header()
    names = [name for name in header if name != "__metadata__" and "/p" in name]
    entry = header[rng.choice(names)]
    types = ["I32", "U32", "F64", "F16", "BF16", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64"]
    entry["dtype"] = rng.choice([*types, "", "float32", None, 3])
    return with_header(header, data)


def lost_tensors(rng: random.Random, file: File) -> bytes:
    del file.tensors[rng.choice(list(file.tensors))]
    return file.content()


def other_shapes(rng: random.Random, file: File) -> bytes:
    """A parameter that has another shape at one seed or layer, or does not fit the program."""
    name = rng.choice([name for name in file.tensors if "/p" in name])
    extra = rng.choice([(2,), (3, 1), (7, 7, 7), (0,), ()])
    tensor = torch.zeros(*file.tensors[name].shape, *extra)
    file.tensors[name] = tensor if extra else tensor.double()
    return file.content()


def too_many_constants(rng: random.Random, file: File) -> bytes:
    program = rng.choice(file.programs())
    program["num_literals"] += 1
    time, count = rng.choice(
        [(item["time"], item["program"]["num_literals"]) for item in _items(file, program)]
    )
    size = _size_of(file, program)
    name = f"{size['hidden_dim']}x{size['num_layers']}/l{count - 1}/t{time}"
    file.tensors[name] = torch.zeros(GATES.max_constant_elements + rng.randint(1, 99))
    return file.content()


def _items(file: File, program: Any) -> list[dict[str, Any]]:
    return [i for i in _size_of(file, program)["programs"] if i["program"] is program]


def _size_of(file: File, program: Any) -> dict[str, Any]:
    for size in file.description["sizes"]:
        if any(item["program"] is program for item in size["programs"]):
            return size
    raise AssertionError("no such program")


def false_head(rng: random.Random, file: File) -> bytes:
    junk: list[Any] = [None, "", -1, 0, 2**40, 1e308, [], {}, [[]], "matrix_mixer ", True]
    file.description[rng.choice(list(file.description))] = rng.choice(junk)
    return file.content()


def false_sizes(rng: random.Random, file: File) -> bytes:
    size = rng.choice(file.description["sizes"])
    junk: list[Any] = [None, "", -1, 0, 2**40, 1.0, {}, [None], [2**40], True, [[]], ["x"] * 1_001]
    place = rng.randrange(4)
    if place == 0:
        size[rng.choice(list(size))] = rng.choice(junk)
    elif place == 1:
        file.description["sizes"] = rng.choice([[size, size], [size] * 40, [[]], [size, None]])
    elif place == 2:
        del size[rng.choice(list(size))]
    else:
        size["num_heads"] = rng.choice([5, 7, 11, 2**15])
    return file.content()


def claimed_layers(rng: random.Random, file: File) -> bytes:
    """Few shared tensors and a huge number of layers, seeds or names: looking would never end."""
    size = file.description["sizes"][0]
    shared = torch.zeros(2)
    size["num_layers"] = rng.randint(30_000, 2**16)
    size["parameters"] = [f"w{i}" for i in range(rng.randint(40, 80))]
    for index in range(len(size["parameters"])):
        file.tensors[f"{size['hidden_dim']}x{size['num_layers']}/p{index}"] = shared.clone()
    return file.content()


def other_times(rng: random.Random, file: File) -> bytes:
    """The programs of other lengths, or of another number of lengths, than training will use."""
    programs = rng.choice(file.description["sizes"])["programs"]
    place = rng.randrange(3)
    if place == 0:
        programs[rng.randrange(len(programs))]["time"] = rng.choice([-1, 0, 2, 9, 2**40, None, "7"])
    elif place == 1:
        del programs[rng.randrange(len(programs))]
    else:
        programs.append(rng.choice(programs))
    return file.content()


def swapped_programs(rng: random.Random, file: File) -> bytes:
    """A program traced at one length in the place of another's."""
    sizes = [size for size in file.description["sizes"] if len(size["programs"]) > 1]
    programs = rng.choice(sizes)["programs"]
    one, two = rng.sample(range(len(programs)), 2)
    programs[one]["program"] = programs[two]["program"]
    # The shape of the result is written out, whatever else would have followed the inputs.
    time, heads = programs[two]["time"], 2
    nodes = programs[one]["program"]["nodes"] = list(programs[one]["program"]["nodes"])
    nodes.append(
        ["aten.expand.default", [{"n": len(nodes) - 1}, [{"b": 1}, heads, time, time]], {}]
    )
    programs[one]["program"]["output"] = {"n": len(nodes) - 1}
    return file.content()


def repeated_keys(rng: random.Random, file: File) -> bytes:
    text = json.dumps(file.description)
    key = rng.choice(
        ["format", "framework", "seq_len", "hidden_dim", "num_layers", "time", "nodes"]
    )
    text = text.replace(f'"{key}":', f'"{key}": {rng.randint(0, 99)}, "{key}":', 1)
    return save(file.tensors, {layout.METADATA_KEY: text})


def broken_json(rng: random.Random, file: File) -> bytes:
    text = json.dumps(file.description)
    cut = rng.randrange(len(text))
    broken = [text[:cut], "[" * 10**5, '{"a":' * 10**4, "9" * 5_000, "", "NaN", text + "}"]
    return save(file.tensors, {rng.choice([layout.METADATA_KEY] * 9 + ["x"]): rng.choice(broken)})


FAMILIES: dict[Callable[[random.Random, File], bytes], str] = {
    truncated: "malformed",
    prolonged: "malformed",
    noise: "malformed",
    false_header_length: "malformed",
    false_offsets: "malformed",
    false_shapes: "malformed",
    false_types: "changes its shape",
    lost_tensors: "is missing",
    other_shapes: "changes its shape",
    too_many_constants: "constant numbers",
    false_head: "time length is out of range",
    false_sizes: "wrong keys",
    claimed_layers: "initial values",
    other_times: "wrong time length",
    swapped_programs: "returns shape",
    repeated_keys: "repeats a key",
    broken_json: "is not JSON",
}


def test_the_file_put_together_again_is_accepted(honest, tmp_path):
    path = tmp_path / "same"
    path.write_bytes(honest.content())
    assert load_traced(path, GATES).sizes
    path.write_bytes(with_header(*honest.header()))
    assert load_traced(path, GATES).sizes


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_damaged_file_is_a_clean_rejection(family, honest, tmp_path):
    path = tmp_path / "damaged"
    plain = json.dumps(honest.description)

    def make(seed: int) -> File:
        file = File(json.loads(plain), dict(honest.tensors))
        path.write_bytes(family(random.Random(f"{family.__name__} {seed}"), file))
        return file

    reasons = reasons_of_clean_rejections(PER_FAMILY, make, lambda _: load_traced(path, GATES))
    assert any(FAMILIES[family] in reason for reason in reasons), reasons


@pytest.mark.parametrize("num_products", [0, 60])
def test_compute_over_the_budget_is_refused_before_anything_is_run(num_products, honest, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(honest.content())
    baseline = load_traced(path, GATES)
    for program in honest.programs():
        nodes = program["nodes"]
        for _ in range(num_products):
            nodes.append(
                ["aten.matmul.default", [{"n": len(nodes) - 1}, {"n": len(nodes) - 1}], {}]
            )
        program["output"] = {"n": len(nodes) - 1}
    path.write_bytes(honest.content())
    candidate = load_traced(path, GATES)
    if not num_products:
        assert require_within_budget(candidate, baseline, 512, GATES).flops_ratio == 1.0
        return
    with pytest.raises(CandidateError, match="forward operations per token"):
        require_within_budget(candidate, baseline, 512, GATES)
