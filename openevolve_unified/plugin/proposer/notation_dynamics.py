"""Genomes as coefficient dynamics: transition, impulse, readout, normaliser."""

from __future__ import annotations

from openevolve_unified.plugin.proposer import delta_rules, fragments
from openevolve_unified.plugin.proposer.fragments import Method
from openevolve_unified.plugin.proposer.genome import Genome

_EXPONENTIAL = frozenset({"softmax", "sink", "sigmoid"})
_READOUTS = {
    "softmax": ("log phi(z) = z.", "return z"),
    "sink": ("log phi(z) = z.", "return z"),
    "sigmoid": ("phi is applied with its position bias in the normaliser.", "return z"),
    "relu": ("phi(z) = max(z, 0).", "return F.relu(z)"),
    "elu": ("phi(z) = z, positive because the features are.", "return z"),
    "taylor": ("phi(z) = 1 + z + z^2 / 2, at least 1/2.", "return 1 + z + 0.5 * z * z"),
}
_NORMALISERS = {
    "softmax": ("Row sum.", ["return self.masked_softmax(phi, mask)"]),
    "sink": (
        "Row sum and a learned sink.",
        [*fragments.sink_lines("phi").copy(), "return weights"],
    ),
    "sigmoid": (
        "No row sum: each weight is a sigmoid, lowered by the log of the position.",
        [
            "position = mask.sum(dim=-1, keepdim=True).to(phi.dtype)",
            "return torch.sigmoid(phi - position.log()).masked_fill(~mask, 0.0)",
        ],
    ),
    "relu": (
        "The number of readable positions.",
        [
            "position = mask.sum(dim=-1, keepdim=True).to(phi.dtype)",
            "return phi.masked_fill(~mask, 0.0) / position",
        ],
    ),
    "elu": ("Row sum, floored.", ["return self.row_normalise(phi, mask)"]),
    "taylor": ("Row sum, floored.", ["return self.row_normalise(phi, mask)"]),
}


def methods(genome: Genome) -> list[Method]:
    """The methods of the rendered class, the evolvable one last."""
    if delta_rules.is_delta_rule(genome):
        return [_delta_coefficients(genome)]
    kernel = genome.choice("kernel")
    readout_summary, readout = _READOUTS[kernel]
    if "softcap" in genome:
        readout_summary = "Responses capped at 15 in size."
        capped = "z = 15 * torch.tanh(z / 15)"
        readout_lines: tuple[str, ...] = (capped, readout)
    else:
        readout_lines = (readout,)
    normaliser_summary, normaliser_lines = _NORMALISERS[kernel]
    result = [
        Method("transition(self, k, x)", "A_t.", tuple(_transition(genome))),
        Method("impulse(self, k, x)", "b_j k_j.", tuple(_impulse(genome))),
    ]
    if "one_step_delta" in genome:
        result.append(fragments.erased_method())
    result += [
        Method("readout(self, z)", readout_summary, readout_lines),
        Method("normaliser(self, phi, mask)", normaliser_summary, tuple(normaliser_lines)),
        Method("coefficients(self, q, k, x, mask)", "alpha.", tuple(_coefficients(genome))),
    ]
    return result


def _transition(genome: Genome) -> list[str]:
    lines, entries = [], []
    if "rope" in genome:
        lines += fragments.frequency_lines("k")
        entries.append('"angle": rate.expand(k.shape[-2], half)')
    per_channel = fragments.channel_decay_lines(genome, "log_decay")
    if per_channel:
        lines += per_channel
        entries.append('"log_decay": log_decay')
    decay = fragments.log_decay(genome, "k")
    if decay is not None:
        # An exponential readout turns the added shear into a factor; others need the factor.
        key = "log_bias" if genome.choice("kernel") in _EXPONENTIAL else "log_decay"
        lines.append(f"{key} = {decay}")
        entries.append(f'"{key}": {key}')
    return [*lines, "return {" + ", ".join(entries) + "}"]


def _impulse(genome: Genome) -> list[str]:
    if "input_gate" not in genome:
        return [f"return {fragments.scaled_key(genome)}"]
    return [
        "gate = 2 * torch.sigmoid(self.input_gate(x)).transpose(1, 2).unsqueeze(-1)",
        "k = gate * k",
        f"return {fragments.scaled_key(genome)}",
    ]


def _coefficients(genome: Genome) -> list[str]:
    lines = fragments.preparation_lines(genome)
    if "one_step_delta" in genome:
        lines += [
            "impulse = self.impulse(k, x)",
            "erased = self.erased(impulse, k, x)",
            "z = self.impulse_response(q, erased, self.transition(k, x), mask)",
            "own = (q * impulse).sum(dim=-1, keepdim=True)",
            "z = torch.where(mask & mask.transpose(0, 1), own, z)",
        ]
    else:
        lines.append(
            "z = self.impulse_response(q, self.impulse(k, x), self.transition(k, x), mask)"
        )
    return [*lines, "return self.normaliser(self.readout(z), mask)"]


def _delta_coefficients(genome: Genome) -> Method:
    """Transition and impulse from the same gates, read linearly."""
    decay = fragments.log_decay(genome, "q")
    entries = '"direction": direction, "strength": strength'
    if decay is not None:
        entries += ', "log_decay": log_decay'
    elif delta_rules.fade(genome) != "None":
        entries += ', "log_decay": fade'
    return Method(
        "coefficients(self, q, k, x, mask)",
        "alpha: impulses read linearly through delta steps.",
        (
            *fragments.preparation_lines(genome),
            *delta_rules.lines(genome),
            *([] if decay is None else [f"log_decay = {decay}"]),
            f"transition = {{{entries}}}",
            "z = self.impulse_response(q, written, transition, mask)",
            "return z.masked_fill(~mask, 0.0)",
        ),
    )
