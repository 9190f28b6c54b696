"""Malformed and hostile operator programs, drawn from seeds: each is invalid by construction.

A family is a function of a random generator and of an honest program in JSON form, which it may
change; what it returns must be refused. ``FAMILIES`` gives each family's share and the words that
one of its reasons must hold.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from hostile_calls import REFUSED_OPERATORS, hostile_calls

from openevolve_unified.candidate.program.operators import ALLOWED

Json = Any
Family = Callable[[random.Random, Json], Json]
MAX_NODES = 40
HUGE = (2**63, -(2**63), 2**64, -(2**80), 10**400)
Q, K, V = ({"i": name} for name in "qkv")


def _program(*nodes: Json) -> Json:
    return {"nodes": list(nodes), "output": {"n": len(nodes) - 1}, "num_literals": 0}


HONEST: dict[str, Json] = {
    "softmax": _program(
        ["aten.mT.default", [K], {}],
        ["aten.matmul.default", [Q, {"n": 0}], {}],
        ["aten.bitwise_not.default", [{"i": "mask"}], {}],
        ["aten.masked_fill.Scalar", [{"n": 1}, {"n": 2}, {"f": "-inf"}], {}],
        ["aten.softmax.int", [{"n": 3}, -1], {}],
    ),
    "decay": _program(
        ["aten.arange.default", [8], {"dtype": {"dtype": "float32"}}],
        ["aten.unsqueeze.default", [{"n": 0}, 1], {}],
        ["aten.sub.Tensor", [{"n": 1}, {"n": 0}], {}],
        ["aten.sum.default", [{"p": 0}], {}],
        ["aten.mul.Tensor", [{"n": 2}, {"n": 3}], {}],
        ["aten.expand.default", [{"n": 4}, [{"b": 1}, 2, 8, 8]], {}],
        ["aten.contiguous.default", [{"n": 5}], {}],
    ),
    "halves": _program(
        ["aten.chunk.default", [Q, 2, -1], {}],
        ["aten.cat.default", [[{"n": 0, "o": 1}, {"n": 0, "o": 0}], -1], {}],
        ["aten.index_select.default", [K, 3, {"c": 0}], {}],
        ["aten.cat.default", [[{"n": 2}, {"n": 2}], -1], {}],
        ["aten.einsum.default", ["bhid,bhjd->bhij", [{"n": 1}, {"n": 3}]], {}],
        ["aten.tril.default", [{"n": 4}], {}],
    ),
}
"""For a matrix mixer with one parameter of shape (3,) and one int64 constant (two indices)."""


def _anywhere(rng: random.Random, program: Json, value: Json) -> Json:
    """Put ``value`` in the place of one argument."""
    node = rng.choice(program["nodes"])
    node[1][rng.randrange(len(node[1]))] = value
    return program


def _then(program: Json, *nodes: Json, keep_output: bool = False) -> Json:
    """Append nodes; the last one is returned unless ``keep_output``."""
    program["nodes"] += nodes
    if not keep_output:
        program["output"] = {"n": len(program["nodes"]) - 1}
    return program


def _last(program: Json) -> Json:
    return {"n": len(program["nodes"]) - 1}


def wrong_json_types(rng: random.Random, program: Json) -> Json:
    junk = rng.choice([None, True, 0, -1.5, "nodes", [], [[]], {}, {"n": 0}, [None] * 3, {"x": []}])
    node = rng.choice(program["nodes"])
    place = rng.randrange(7)
    if place == 0:
        return junk
    if place == 1:
        name = rng.choice(["nodes", "output", "num_literals"])
        if name == "num_literals":
            junk = rng.choice([None, "0", [], 1.0, False])
        program[name] = {"x": 1} if name == "output" and junk == {"n": 0} else junk
    elif place == 2:
        del program[rng.choice(list(program))]
    elif place == 3:
        program["nodes"][rng.randrange(len(program["nodes"]))] = junk
    elif place == 4:
        node[0] = rng.choice([None, 1, [], {}, True, ["aten.relu.default"]])
    elif place == 5:
        node[rng.choice([1, 2])] = rng.choice([None, 1, "q", True, 0.5])
    else:
        node[1].append({"x": junk, "y": junk})
    if place == 1 and program.get("nodes") == []:
        program["output"] = {"n": 0}
    return program


def huge_integers(rng: random.Random, program: Json) -> Json:
    huge = rng.choice(HUGE) + rng.randrange(-9, 9) * 2**70
    tagged = rng.choice([huge, {"n": huge}, {"p": huge}, {"b": huge}, [huge], {"n": 0, "o": huge}])
    if rng.random() < 0.1:
        program["num_literals"] = huge
        return program
    return _anywhere(rng, program, tagged)


def numbers_that_are_not_finite(rng: random.Random, program: Json) -> Json:
    number = rng.choice([math.nan, math.inf, -math.inf])
    word = rng.choice(["1e999", "NaN", "Infinity", "0x1", "", number, None])
    return _anywhere(rng, program, rng.choice([number, [number], {"f": word}, {"b": number}]))


def deep_nesting(rng: random.Random, program: Json) -> Json:
    nested: Json = rng.choice([0, Q, [], "x"])
    for _ in range(rng.choice([4, 5, 10, 100, 800])):
        nested = [nested]
    return _anywhere(rng, program, nested if rng.random() < 0.8 else {"n": nested})


def unknown_tags(rng: random.Random, program: Json) -> Json:
    name = rng.choice(["__class__", "float128", "cuda", "meta", "q.grad", "\ud800", "", "run "])
    tag = rng.choice(["i", "dtype", "memory_format", "device", "f", "exec", "__class__", "\ud800"])
    both = rng.choice([{tag: name}, {"n": 0, "o": 0, "x": 0}, {"n": -1}, {"n": True}, {"p": "0"}])
    return _anywhere(rng, program, both)


def unknown_operators(rng: random.Random, program: Json) -> Json:
    known = rng.choice(sorted(ALLOWED))
    letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(1, 30)))
    name = rng.choice(
        [
            f"aten.{known}x{letters}.default",
            f"aten.{known}.Zz{letters}",
            f"{rng.choice(['prim', 'prims', 'c10d', 'torch', 'os', 'quantized'])}.{known}.default",
            f"aten.__{letters}__.default",
            f"aten.{known}.default.{letters}",
            f"aten::{known}",
            known,
            "",
            f"aten.{known}\u00e9.default",
            f"aten.{known}.\ud800",
            f"aten.{known}.\x1b[31m",
            "aten." + "x" * rng.randint(200, 400) + ".default",
        ]
    )
    rng.choice(program["nodes"])[0] = name
    return program


def refused_operators(rng: random.Random, program: Json) -> Json:
    name = rng.choice(REFUSED_OPERATORS)
    args = rng.choice([[Q], [Q, K], [], [[2, 2, 8, 8]], [Q, 0.5, True], [_last(program), Q]])
    return _then(program, [name, args, {}], keep_output=rng.random() < 0.5)


def wrong_arity(rng: random.Random, program: Json) -> Json:
    node = rng.choice(program["nodes"])
    place = rng.randrange(4)
    if place == 0:
        node[1] = []
    elif place == 1:
        node[1] += [rng.choice([Q, 0, None, {"n": 0}])] * rng.randint(9, 60)
    elif place == 2:
        node[2]["".join(rng.choices("xyzw\u00e9\ud800", k=3))] = 0
    else:
        node[2][rng.choice(["self", "input", "tensors", "equation", "end", "size"])] = Q
        node[2]["also_unknown"] = 1
    return program


def wrong_kinds(rng: random.Random, program: Json) -> Json:
    """A value of a kind that the schema does not take; places and kinds written out by hand."""
    text, dtype, device = "q", {"dtype": "int64"}, {"device": "run"}
    number_for = rng.choice([text, dtype, device, Q, [1, Q], None, 0.5, True])
    tensor_for = rng.choice([text, dtype, device, [Q], None, {"b": 1}])
    node = rng.choice(
        [
            ["aten.softmax.int", [Q, number_for], {}],
            ["aten.transpose.int", [Q, number_for, 1], {}],
            ["aten.relu.default", [tensor_for], {}],
            ["aten.matmul.default", [Q, tensor_for], {}],
            ["aten.zeros.default", [rng.choice([text, [text], [0.5], [Q], dtype])], {}],
            ["aten.cat.default", [rng.choice([text, [text], [None], 1, dtype]), 0], {}],
            ["aten.to.dtype", [Q, rng.choice(["float32", 6, None, device, Q])], {}],
            ["aten.einsum.default", [rng.choice([1, None, Q, dtype]), [Q, K]], {}],
            ["aten.gelu.default", [Q], {"approximate": rng.choice([1, None, Q, dtype])}],
            ["aten.sum.dim_IntList", [Q, [0], rng.choice([text, 3, Q, dtype])], {}],
            ["aten.layer_norm.default", [Q, [4]], {"eps": rng.choice([text, Q, True, dtype])}],
        ]
    )
    return _then(program, node, keep_output=True)


def bad_dimensions(rng: random.Random, program: Json) -> Json:
    far = rng.choice([4, 5, 99, 2**31, 2**62, -5, -6, -(2**31), -(2**62)])
    size = rng.choice([-2, -3, -(2**40), 3, 5, 2**40])
    node = rng.choice(
        [
            ["aten.transpose.int", [Q, far, 1], {}],
            ["aten.select.int", [Q, far, 0], {}],
            ["aten.select.int", [Q, 2, rng.choice([8, 100, -9, 2**62])], {}],
            ["aten.cumsum.default", [Q, far], {}],
            ["aten.flip.default", [Q, [far]], {}],
            [
                "aten.permute.default",
                [Q, rng.choice([[0, 1, 2], [0, 0, 1, 2], [far, 0, 1, 2]])],
                {},
            ],
            ["aten.view.default", [Q, [2, 2, 8, size]], {}],
            ["aten.expand.default", [Q, [{"b": 1}, 2, 8, size]], {}],
            ["aten.zeros.default", [[2, -abs(size)]], {}],
            ["aten.cat.default", [[Q, K], far], {}],
            ["aten.sum.dim_IntList", [Q, [far]], {}],
            ["aten.topk.default", [Q, rng.choice([5, 99, 2**40, -1])], {}],
            ["aten.unfold.default", [Q, 2, rng.choice([9, 2**40, -1]), 1], {}],
        ]
    )
    return _then(program, node, keep_output=True)


def too_many_elements(rng: random.Random, program: Json) -> Json:
    huge = rng.choice([2**27, 2**31, 2**40, 2**62]) + rng.randrange(1, 9)
    wide = rng.choice([2**14, 2**20, 2**31])
    node = rng.choice(
        [
            [f"aten.{rng.choice(['zeros', 'ones'])}.default", [[huge]], {}],
            ["aten.zeros.default", [[wide, wide, rng.choice([1, wide])]], {}],
            ["aten.full.default", [[wide, wide], 1.5], {}],
            ["aten.eye.default", [wide], {}],
            ["aten.arange.default", [huge], {}],
            ["aten.arange.start_step", [0.0, 1e9, 1e-9], {}],
            ["aten.linspace.default", [0, 1, huge], {}],
            ["aten.tril_indices.default", [wide, wide], {}],
            ["aten.new_zeros.default", [Q, [wide, wide]], {}],
            ["aten.new_full.default", [Q, [huge], 1], {}],
            ["aten.repeat.default", [Q, [huge, 1, 1, 1]], {}],
            ["aten.expand.default", [{"p": 0}, [wide, wide, 3]], {}],
            ["aten.constant_pad_nd.default", [Q, [0, huge]], {}],
            ["aten.vander.default", [{"p": 0}, huge], {}],
            ["aten.repeat_interleave.self_int", [Q, huge], {}],
            ["aten.hann_window.default", [huge], {}],
            ["aten.fft_fft.default", [Q, huge], {}],
            ["aten.zeros.default", [[1] * rng.randint(9, 60)], {}],
        ]
    )
    return _then(program, node, keep_output=True)


def too_many_nodes(rng: random.Random, program: Json) -> Json:
    more = rng.randint(MAX_NODES, 3 * MAX_NODES)
    return _then(program, *[["aten.relu.default", [_last(program)], {}]] * more)


def dangling_references(rng: random.Random, program: Json) -> Json:
    far = rng.choice([rng.randint(2, 50), 2**31])
    missing = rng.choice([{"p": far}, {"c": far}, {"l": far - 2}, V, {"n": 0, "o": far}])
    if rng.random() < 0.2:
        program["output"] = missing
        return program
    return _then(program, ["aten.relu.default", [missing], {}], keep_output=True)


def forward_references(rng: random.Random, program: Json) -> Json:
    index = rng.randrange(len(program["nodes"]))
    later = {"n": rng.choice([index, index + 1, len(program["nodes"]) + rng.randint(0, 9), 2**31])}
    if rng.random() < 0.2:
        program["output"] = {"n": len(program["nodes"]) + rng.randint(0, 99)}
        return program
    program["nodes"][index] = ["aten.matmul.default", [Q, rng.choice([later, [later]])], {}]
    if isinstance(program["nodes"][index][1][1], list):
        program["nodes"][index] = ["aten.cat.default", [[Q, later]], {}]
    return program


def repeated_names(rng: random.Random, program: Json) -> Json:
    node = rng.choice(
        [
            ["aten.relu.default", [Q], {"self": K}],
            ["aten.softmax.int", [Q, 1], {"dim": rng.randint(-4, 3)}],
            ["aten.matmul.default", [Q, K], {"other": rng.choice([K, {"n": 0}])}],
            ["aten.add.Tensor", [Q, K], {"self": Q, "other": K}],
            ["aten.zeros.default", [[2]], {"size": [rng.randint(1, 9)]}],
        ]
    )
    return _then(program, node, keep_output=True)


def confused_types(rng: random.Random, program: Json) -> Json:
    other = rng.choice(["float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"])
    if rng.random() < 0.5:
        return _then(program, ["aten.to.dtype", [_last(program), {"dtype": other}], {}])
    node = rng.choice(
        [
            ["aten.embedding.default", [Q, K], {}],
            ["aten.gather.default", [Q, 0, K], {}],
            ["aten.index.Tensor", [Q, [{"i": "mask"}]], {}],
            ["aten.mm.default", [{"i": "mask"}, {"p": 0}], {}],
            ["aten.where.self", [Q, Q, K], {}],
            ["aten.masked_fill.Scalar", [Q, K, 0], {}],
            ["aten.complex.default", [{"c": 0}, {"c": 0}], {}],
            ["aten.view_as_real.default", [Q], {}],
            ["aten.one_hot.default", [{"c": 0}], {}],
        ]
    )
    return _then(program, node, keep_output=True)


def wrong_results(rng: random.Random, program: Json) -> Json:
    """Another shape than the framework's, at every batch size or only at one."""
    last = _last(program)
    node = rng.choice(
        [
            ["aten.slice.Tensor", [last, 1, 0, 1], {}],
            ["aten.slice.Tensor", [last, rng.choice([2, 3]), 0, rng.randint(0, 7)], {}],
            ["aten.slice.Tensor", [last, 0, 0, rng.randint(0, 4)], {}],
            ["aten.unsqueeze.default", [last, rng.randint(0, 4)], {}],
            ["aten.sum.default", [last], {}],
            ["aten.sum.dim_IntList", [last, [rng.randint(0, 3)]], {}],
            ["aten.transpose.int", [last, 1, rng.choice([2, 3])], {}],
            ["aten.zeros.default", [[2, 2, 8, 8]], {}],
            ["aten.zeros.default", [[5, 2, 8, 8]], {}],
            ["aten.zeros.default", [[{"b": rng.choice([2, 3, -1, 0])}, 2, 8, 8]], {}],
            ["aten.cat.default", [[last, last], rng.randint(0, 3)], {}],
            ["aten.topk.default", [last, rng.randint(1, 8)], {}],
            ["aten.unbind.int", [last, rng.randint(0, 3)], {}],
        ]
    )
    return _then(program, node)


def too_many_tensors(rng: random.Random, program: Json) -> Json:
    many = rng.choice([8_193, 10**5, 2**26, 2**40, 2**62]) + rng.randrange(9)
    chain = rng.choice(["linalg_multi_dot", "chain_matmul", "meshgrid"])
    length = rng.randint(65, 2_000)
    nodes = rng.choice(
        [
            [["aten.tensor_split.sections", [Q, many], {}]],
            [["aten.tensor_split.tensor_indices_or_sections", [many, Q], {}]],
            [["aten.meshgrid.default", [[rng.choice([1, 0.5, True]), Q]], {}]],
            [[f"aten.{chain}.default", [[{"i": "mask"}] * length], {}]],
            [["aten.roll.default", [Q, [1] * length, [0] * length], {}]],
            [["aten.repeat.default", [Q, [1] * length], {}]],
            [["aten.diff.default", [Q, many, 2], {}]],
            [["aten.cat.default", [[Q] * 8_193], {}]],
            [
                ["aten.expand.default", [{"p": 0}, [min(many, 2**22), 3]], {}],
                ["aten.unbind.int", [{"n": len(program["nodes"])}], {}],
            ],
            [
                ["aten.zeros.default", [[3, 0]], {}],
                ["aten.hsplit.int", [{"n": len(program["nodes"])}, many], {}],
            ],
        ]
    )
    return _then(program, *nodes, keep_output=True)


def long_texts_and_lists(rng: random.Random, program: Json) -> Json:
    text = rng.choice(["x", "\u00e9", "\x00", "\ud800", "\x1b[2J"]) * rng.randint(201, 2_000)
    item = rng.choice(
        [text, [0] * rng.randint(8_193, 9_000), {text: 0}, {"dtype": text}, {"i": text}]
    )
    return _anywhere(rng, program, item)


def literals_that_are_not_there(rng: random.Random, program: Json) -> Json:
    program["num_literals"] = rng.choice([-1, -5, MAX_NODES + rng.randint(1, 99), 2**40, None, "1"])
    return program


FAMILIES: dict[Family, tuple[int, str]] = {
    wrong_json_types: (500, "malformed"),
    huge_integers: (400, "whole number between"),
    numbers_that_are_not_finite: (300, "not finite"),
    deep_nesting: (200, "too deep"),
    unknown_tags: (400, "tagged"),
    unknown_operators: (700, "not in the allowed list"),
    refused_operators: (1_600, "in place"),
    wrong_arity: (400, "argument"),
    wrong_kinds: (700, "malformed"),
    bad_dimensions: (700, "fails"),
    too_many_elements: (600, "elements per sequence"),
    too_many_nodes: (100, f"at most {MAX_NODES}"),
    dangling_references: (400, "does not exist"),
    forward_references: (300, "later node"),
    repeated_names: (300, "twice"),
    confused_types: (500, "wanted float32"),
    wrong_results: (700, "returns shape"),
    too_many_tensors: (300, "too many tensors"),
    long_texts_and_lists: (200, "too long"),
    literals_that_are_not_there: (100, "num_literals"),
    hostile_calls: (1_600, "fails"),
}
"""Family to its number of programs and words of one of its reasons."""
