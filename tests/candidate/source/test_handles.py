"""``self`` and modules are used by their members; the module, data and devices are left alone."""

from __future__ import annotations

import pytest

from openevolve_unified.candidate.source.policy import check_source
from openevolve_unified.config.schema import GatesConfig
from openevolve_unified.errors import CandidateError

BODY = "return (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)"
VALUE = "as a value: name its members where they are used"
OUTLIVES = "is written, but it outlives the call"
STATE = "no state between calls"
DROPPED = "the trace drops what is written to"
CHANGES = "changes the module between calls"
DATA = ".data reaches around the trace: read the tensor itself"
DEVICES = "a mechanism does not look at devices"


def look(source):
    check_source(source, "coefficient_dynamics", GatesConfig())


def with_preamble(source, preamble):
    return source.replace("class EvolvableAttention", preamble + "class EvolvableAttention", 1)


REFUSED = [
    ("f, g = F, 1; f.gelu = None", DROPPED),
    ("f = F if 1 else 0; f.gelu = None", DROPPED),
    ("t, _ = nn.Linear, 1; t.forward = None", DROPPED),
    ("m, _ = self, 1; m.n = 1", STATE),
    ("(c := self.l).append(1)", STATE),
    ("c, d = self.l, 1; c.append(1)", STATE),
    ("c = self.l if True else []; c.append(1)", STATE),
    ("c = [] if True else self.l; c[0] = 1", STATE),
    ("ap = self.l.append; ap(1)", STATE),
    ("list(map(self.l.append, [1]))", STATE),
    ("d = self.l; d |= {}", STATE),
    ("d = self.l; d += [1]", STATE),
    ("ap = SEEN.append; ap(1)", OUTLIVES),
    ("seen = SEEN; seen += [1]", OUTLIVES),
    ("for f in (F,): f.gelu = None", VALUE),
    ("fs = [F]; fs[0].gelu = None", VALUE),
    ("d = {'a': F}; d['a'].gelu = None", VALUE),
    ("fs = [torch.nn]; fs[0].Linear = None", VALUE),
    ("m = [self]; m[0].n = 1", VALUE),
    ("me = self; m = [me]; m[0].n = 1", VALUE),
    ("bump(self)", VALUE),
    ("q = (lambda me=self: me)().scale * q", VALUE),
    ("return self", VALUE),
    ("self.train(False)", CHANGES),
    ("me = self; me.eval()", CHANGES),
    ("self.apply(print)", CHANGES),
    ("self.to(q.device)", CHANGES),
    ("self.requires_grad_(False)", CHANGES),
    ("self.gate.weight.requires_grad_(False)", CHANGES),
    ("self.zero_grad()", CHANGES),
    ("self.load_state_dict({})", CHANGES),
    ("q.data.mul_(2)", DATA),
    ("q = q * self.w.data", DATA),
    ("q = q * 2 if q.is_cuda else q", DEVICES),
    ("q = q * 2 if torch.cuda.is_available() else q", DEVICES),
]


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_a_trace_cannot_follow_is_refused_with_its_line(desk, line, words):
    source = with_preamble(desk.program(line + "\n" + BODY), "SEEN = []\n\n\n")
    with pytest.raises(CandidateError) as caught:
        look(source)
    assert (caught.value.stage, words in caught.value.reason) == ("policy", True), caught.value
    number = int(caught.value.reason.removeprefix("line ").split(":")[0])
    assert source.splitlines()[number - 1].strip() == line


ACCEPTED = [
    "q = self.gate(x) * self.is_causal(q) * self.heads[0](x)",
    "for layer in self.layers: q = layer(q)",
    "q = self.update(q, k); k = self.add(k)",
    "k = self.w.add(1).sort().values",
    "f, g = F.relu, torch.tanh; q = f(g(q))",
    "q = [F.relu, torch.sigmoid][0](q)",
    "B, H, T, F = q.shape; sizes = [B, F]",
    "for nn in range(3): sizes = (nn, 1)",
    "a, b = self.l, 1; rows = []; rows.append(a)",
    "state = self.w.clone() if 1 else q; state[0] = 1",
    "n = self.head_dim; n += 1; sizes = [n]",
    "rows = self.l; rows = list(rows); rows += [1]",
    "rows = []; keep = rows.append; keep(q)",
    "rows = []; list.append(rows, q)",
    "q = CoefficientDynamics.masked_softmax(self, q @ k.mT, mask) @ k",
    "q = q * type(self).taps[0] if hasattr(self, 'taps') else q",
    "q = super(EvolvableAttention, self).masked_softmax(q @ k.mT, mask) @ k",
    "me = self; q = q * me.w",
    "q = q.new_zeros(3, device=q.device).requires_grad_()",
    "q = q.to(torch.float32).float() * self.data",
]


@pytest.mark.parametrize("line", ACCEPTED)
def test_members_and_locals_are_used_as_the_author_likes(desk, line):
    look(desk.program(line + "\n" + BODY))


def test_initial_values_are_free(desk):
    members = """
self.w = nn.Parameter(torch.ones(3))
self.w.data.fill_(2.0)
self.w.requires_grad_(True)
self.apply(self._init_weights)
parts = [self, nn]
"""
    helper = "    def _init_weights(self, m):\n        m.train()\n    def coefficients("
    look(desk.program(BODY, members=members).replace("    def coefficients(", helper))


def test_a_method_of_the_programs_own_class_may_have_such_a_name(desk):
    gate = """class Gate(nn.Module):
    def apply(self, q):
        return q

    def forward(self, q):
        return self.apply(q)


"""
    look(with_preamble(desk.program(BODY), gate))
