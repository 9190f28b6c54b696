"""A program writes to its own names only: what the trace would drop is refused with the line."""

from __future__ import annotations

import pytest

from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError

FRAMEWORK = "coefficient_dynamics"
BODY = "return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)"


def look(source):
    check_source(source, FRAMEWORK, GatesConfig())


def refusal_line(source, words):
    """The text of the line that a program is refused for."""
    with pytest.raises(CandidateError) as caught:
        look(source)
    assert caught.value.stage == "policy"
    assert words in caught.value.reason
    line = int(caught.value.reason.removeprefix("line ").split(":")[0])
    return source.splitlines()[line - 1].strip()


def with_preamble(desk, preamble, body=BODY, members=""):
    source = desk.program(body, members=members)
    return source.replace("class EvolvableAttention", preamble + "\n\nclass EvolvableAttention", 1)


ELSEWHERE = [
    "F.gelu = lambda z: z",
    "F.gelu, a = q, k",
    "[F.gelu, *a] = q, k",
    "F.gelu += 1",
    "F.gelu: object = None",
    "del F.gelu",
    "for F.gelu in (1, 2): a = 1",
    "with F.context() as F.gelu: a = 1",
    "a = [0 for F.gelu in (1, 2)]",
    "torch.Tensor.abs = torch.neg",
    "f = F; f.gelu = None",
    "CoefficientDynamics.mix = None",
    "EvolvableAttention.forward = None",
    "type(self).calls = 1",
    "super().calls = 1",
    "mask.seen = k",
    "torch.abs(q).seen = k",
    "(torch, F)[1].gelu = None",
]


@pytest.mark.parametrize("line", ELSEWHERE)
def test_an_attribute_of_something_else_is_not_assigned(desk, line):
    found = refusal_line(desk.program(line + "\n" + BODY), "the trace drops what is written to")
    assert found == line


@pytest.mark.parametrize("line", ["F.gelu = None", "setattr(F, 'gelu', None)"])
def test_nor_while_initial_values_are_set(desk, line):
    words = "the trace drops" if "setattr" not in line else "'setattr' is not available"
    assert refusal_line(desk.program(BODY, members=line), words) == line


def test_nor_at_the_top_of_the_block(desk):
    assert refusal_line(with_preamble(desk, "F.gelu = None"), "F.gelu is assigned") == (
        "F.gelu = None"
    )


def test_a_call_that_assigns_is_an_assignment(desk):
    line = "torch.nn.setattr(F, 'gelu', None)"
    assert refusal_line(desk.program(line + "\n" + BODY), "write the assignment") == line


OWN = [
    "out = torch.zeros_like(q); out[:, :, 0] = q[:, :, 0]",
    "rows = []; rows.append(q); rows[0] = k; del rows[0]",
    "out = q.clone(); out.masked_fill_(q > 0, 0.0).add_(1)",
    "torch.diagonal(q.clone(), 0, -2, -1).fill_(0)",
    "q.new_zeros(3)[0] = 1",
    "state = {'a': q}; state['a'] = k; state.update(b=k)",
    "a = b = q + 1; a += 1; b[0] -= 1",
    "if (n := q.shape[2]) > 1: k = k * n",
    "first, *rest = [q, k]; rest[0] = q",
    "f = F.relu; q = f(q)",
    "for i in range(3): q = q + i",
    "w = self.head_dim; w = w + 1",
    "out = torch.empty_like(q); torch.add(q, k, out=out)",
    "nn.init.zeros_(torch.empty(3))",
    "torch.Tensor.add_(q.clone(), 1)",
]


@pytest.mark.parametrize("line", OWN)
def test_local_names_are_written_as_the_author_likes(desk, line):
    look(desk.program(line + "\n" + BODY))


def test_a_function_inside_a_method_writes_to_the_methods_locals(desk):
    body = """
rows, state = [], {}
def keep(row):
    rows.append(row)
    state[len(rows)] = row
keep(q)
"""
    look(desk.program(body + BODY))


def test_members_are_created_and_filled_while_initial_values_are_set(desk):
    members = """
self.sizes = [1]
self.sizes.append(2)
self.gate = nn.Linear(hidden_dim, num_heads)
self.gate.bias.data[:] = 1.0
self.gate.weight.data = torch.zeros(num_heads, hidden_dim)
gate = self.gate
gate.bias.requires_grad = True
list(self.gate.parameters())[0].requires_grad = True
self.register_buffer("table", torch.zeros(3))
self.table[0] = 1
nn.init.ones_(self.gate.bias)
self._build(num_heads)
"""
    build = "    def _build(self, n):\n        self.n = n\n        self.sizes.append(n)\n"
    source = desk.program(BODY, members=members)
    look(source.replace("    def coefficients(", build + "    def coefficients("))


@pytest.mark.parametrize(
    "line",
    [
        "self.sizes.append(2)",
        "self.sizes[0] = 2",
        "sizes = self.sizes; sizes.append(2)",
        "me = self; me.sizes = q",
        "self.register_buffer('last', k)",
        "self.layers.add_module('x', None)",
    ],
)
def test_members_are_not_written_by_the_mechanism(desk, line):
    found = refusal_line(desk.program(line + "\n" + BODY), "is written outside __init__")
    assert found == line


def test_a_helper_that_the_mechanism_calls_too_is_part_of_the_mechanism(desk):
    helper = "    def _build(self, n):\n        self.n = n\n"
    source = desk.program("self._build(1)\n" + BODY, members="self._build(1)")
    source = source.replace("    def coefficients(", helper + "    def coefficients(")
    assert refusal_line(source, "self.n is written outside __init__") == "self.n = n"


KEPT = [
    ("SEEN = {}", "SEEN[0] = k"),
    ("SEEN = []", "SEEN.append(k)"),
    ("SEEN = set()", "SEEN.add(1)"),
    ("SEEN = list()", "SEEN.sort()"),
    ("SEEN = bytearray(4)", "del SEEN[0]"),
    ("SEEN = dict(a=1)", "seen = SEEN; seen.update(b=k)"),
    ("SEEN = [0]", "list.append(SEEN, k)"),
    ("SEEN = [0]", "SEEN[0] += 1"),
    ("SEEN = torch.zeros(3)", "SEEN.add_(1)"),
    ("SEEN = torch.zeros(3)", "SEEN[0] = 1"),
    ("SEEN = torch.zeros(3)", "torch.add(SEEN, 1, out=SEEN)"),
    ("class Box:\n    seen = []", "Box.seen.append(k)"),
    ("def seen():\n    return 1", "seen.__dict__"),
]


@pytest.mark.parametrize(("preamble", "line"), KEPT)
def test_what_outlives_a_call_is_not_written(desk, preamble, line):
    words = "outlives the call" if "__dict__" not in line else "reaches into"
    assert refusal_line(with_preamble(desk, preamble, line + "\n" + BODY), words) == line


def test_nor_while_initial_values_are_set_because_instances_share_it(desk):
    source = with_preamble(desk, "MADE = []", members="MADE.append(1)")
    assert refusal_line(source, "MADE is written, but it outlives the call") == "MADE.append(1)"
    inside = desk.program(BODY, members="self.made.append(1)")
    inside = inside.replace("    def __init__", "    made = []\n    def __init__", 1)
    assert refusal_line(inside, "self.made is written") == "self.made.append(1)"


DEFAULTS = [
    ("def kept(n, seen=[]):\n    seen.append(n)", "seen.append(n)"),
    ("def kept(n, *, seen={}):\n    seen[n] = 1", "seen[n] = 1"),
    ("def kept(n, seen=dict()):\n    seen.setdefault(n, 1)", "seen.setdefault(n, 1)"),
    ("def kept(n, seen=[]):\n    seen += [n]", "seen += [n]"),
]


@pytest.mark.parametrize(("preamble", "line"), DEFAULTS)
def test_a_default_argument_is_not_written(desk, preamble, line):
    assert refusal_line(with_preamble(desk, preamble), "seen is written, but it outlives") == line


def test_constants_of_the_module_and_the_class_and_defaults_are_read(desk):
    preamble = """
WIDTHS = [1, 2, 4]
NAMES = {"a": 1}
NAMES["b"] = 2
TABLE = torch.arange(3)
def widths(n, dims=[1, 2], seen=None):
    seen = [] if seen is None else seen
    seen.append(n)
    return dims + seen + sorted(WIDTHS)
"""
    body = "q = q * sum(widths(1)) * NAMES['a'] * self.taps[0] * TABLE.sum()\n" + BODY
    preamble = preamble.replace('NAMES["b"] = 2\n', "").strip()
    source = with_preamble(desk, preamble, body)
    look(source.replace("    def __init__", "    taps = [1, 2]\n    def __init__", 1))


def test_a_container_of_the_class_that_each_instance_replaces_is_its_own(desk):
    members = "self.sizes = []\nself.sizes.append(1)"
    source = desk.program(BODY, members=members)
    look(source.replace("    def __init__", "    sizes = []\n    def __init__", 1))


INITIAL = {
    "a context": "with torch.no_grad():\n    self.gate.weight.mul_(0.1).add_(0.1)",
    "inference mode": "with torch.inference_mode():\n    self.gate.weight.mul_(0.1)",
    "data": "self.gate.weight.data.fill_(0.0)\nself.gate.bias.data.copy_(torch.zeros(num_heads))",
    "init": "nn.init.orthogonal_(self.gate.weight)\nnn.init.constant_(self.gate.bias, 1.0)",
    "a helper": "self._fill()",
    "a function": "fill(self.gate)",
}
HELPER = "    @torch.no_grad()\n    def _fill(self):\n        self.gate.bias.fill_(1.0)\n"
FUNCTION = "def fill(gate):\n    with torch.no_grad():\n        gate.bias.fill_(1.0)"


@pytest.mark.parametrize("name", INITIAL)
def test_initial_values_are_the_authors_business(desk, name):
    members = "self.gate = nn.Linear(hidden_dim, num_heads)\n" + INITIAL[name]
    source = with_preamble(desk, FUNCTION if name == "a function" else "", members=members)
    helper = HELPER if name == "a helper" else ""
    look(source.replace("    def coefficients(", helper + "    def coefficients("))


@pytest.mark.parametrize("name", ["no_grad", "inference_mode", "enable_grad"])
def test_gradients_are_not_switched_in_the_mechanism(desk, name):
    body = f"with torch.{name}():\n    q = q * 2\n" + BODY
    assert refusal_line(desk.program(body), "write .detach()").startswith(f"with torch.{name}")


def test_gradients_are_not_switched_by_a_helper_of_the_mechanism(desk):
    source = with_preamble(desk, FUNCTION, "fill(self.gate)\n" + BODY, "fill(self.gate)")
    assert refusal_line(source, "write .detach()") == "with torch.no_grad():"


def test_no_grad_around_initial_values_reaches_the_trainer_as_values(desk):
    members = """
self.gate = nn.Linear(hidden_dim, num_heads)
with torch.no_grad():
    self.gate.weight.zero_()
    self.gate.bias.fill_(2.0)
"""
    body = "q = q * self.gate(x).transpose(1, 2)[..., None]\n" + BODY
    source = desk.program(body, members=members)
    look(source)
    traced = desk.trace(source, FRAMEWORK)
    weight, bias = next(iter(traced.sizes.values())).initial_parameters(7, 1)
    assert (float(weight.abs().max()), set(bias.tolist())) == (0.0, {2.0})
