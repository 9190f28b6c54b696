"""Genomes as matrix mixers: structured factors, and how they become one matrix."""

from __future__ import annotations

from openevolve_unified.plugin.proposer import delta_rules, fragments
from openevolve_unified.plugin.proposer.fragments import Method
from openevolve_unified.plugin.proposer.genome import Genome


def methods(genome: Genome) -> list[Method]:
    """The methods of the rendered class, the evolvable one last."""
    result = []
    if "rope" in genome:
        result.append(fragments.turn_method())
    if "one_step_delta" in genome:
        result.append(fragments.erased_method())
    if "t5_buckets" in genome:
        result.append(fragments.bucket_method())
    mixing = fragments.preparation_lines(genome)
    if "rope" in genome:
        mixing += [] if fragments.POSITION in mixing else [fragments.POSITION]
        mixing.append("q, k = self.turn(q, position), self.turn(k, position)")
    mixing.append(f"return self.combine(self.factors(q, k, x, mask), {fragments.reach(genome)})")
    return [
        *result,
        Method(
            "factors(self, q, k, x, mask)",
            f"The structured matrices: {', '.join(_factor_names(genome))}.",
            tuple(_factors(genome)),
        ),
        Method("combine(self, factors, mask)", "One matrix of all.", tuple(_combine(genome))),
        Method("mixing_matrix(self, q, k, x, mask)", "M.", tuple(mixing)),
    ]


def _factor_names(genome: Genome) -> list[str]:
    names = ["first", "second"] if "differential" in genome else ["scores"]
    if _position_terms(genome):
        names.append("log_weights")
    for name, factor in (
        ("toeplitz_taps", "convolution"),
        ("free_diagonal", "own"),
        ("moving_average", "average"),
    ):
        if name in genome:
            names.append(factor)
    return names


def _factors(genome: Genome) -> list[str]:
    lines = _score_lines(genome)
    if "kerple" in genome:
        lines += fragments.kerple_lines()
    if "near_taps" in genome:
        lines.append("T = q.shape[-2]")
    decay = fragments.log_decay(genome, "q")
    lines += [] if decay is None else [f"log_decay = {decay}"]
    terms = _position_terms(genome)
    lines += [
        f"log_weights = {term}" if index == 0 else f"log_weights = log_weights + {term}"
        for index, term in enumerate(terms)
    ]
    if "toeplitz_taps" in genome:
        lines += [] if "near_taps" in genome else ["T = q.shape[-2]"]
        lines.append(f"convolution = {_toeplitz('taps')}")
    if "free_diagonal" in genome:
        lines.append("own = self.diagonal(self.own(x).transpose(1, 2))")
    if "moving_average" in genome:
        lines += [
            "rate = (-self.average_log_rate.exp()).expand(q.shape[:-1])",
            "average = self.row_normalise(self.decay_matrix(rate, mask), mask)",
        ]
    names = _factor_names(genome)
    return [*lines, f"return ({', '.join(names)}{',' if len(names) == 1 else ''})"]


def _score_lines(genome: Genome) -> list[str]:
    if "differential" in genome:
        key = fragments.scaled_key(genome, "k_first")
        lines = [
            "(q_first, q_second), (k_first, k_second) = q.chunk(2, dim=-1), k.chunk(2, dim=-1)",
            f"first = self.low_rank(q_first, {key})",
            f"second = self.low_rank(q_second, {fragments.scaled_key(genome, 'k_second')})",
        ]
        if "softcap" in genome:
            lines += [f"{name} = 15 * torch.tanh({name} / 15)" for name in ("first", "second")]
        return lines
    key = fragments.scaled_key(genome)
    per_channel = fragments.channel_decay_lines(genome, "rates")
    if delta_rules.is_delta_rule(genome):
        return [*delta_rules.lines(genome), f"scores = {delta_rules.matrix(genome)}"]
    if per_channel:
        lines = [
            *per_channel,
            f"scores = self.semiseparable(q, {key}, rates, mask)",
        ]
    elif "one_step_delta" in genome:
        lines = [
            f"written = {key}",
            "own_score = (q * written).sum(dim=-1, keepdim=True)",
            "scores = self.low_rank(q, self.erased(written, k, x))",
            "scores = torch.where(mask & mask.transpose(0, 1), own_score, scores)",
        ]
    else:
        lines = [f"scores = self.low_rank(q, {key})"]
    if "softcap" in genome:
        lines.append("scores = 15 * torch.tanh(scores / 15)")
    return lines


def _position_terms(genome: Genome) -> list[str]:
    terms = []
    if fragments.log_decay(genome, "q") is not None:
        terms.append("self.cumulative_decay(log_decay, mask)")
    if "kerple" in genome:
        terms.append("far")
    if "input_gate" in genome:
        terms.append(fragments.log_gate())
    if "near_taps" in genome:
        terms.append(_toeplitz("near"))
    if "t5_buckets" in genome:
        terms.append("self.toeplitz(self.by_distance(q))")
    return terms


def _combine(genome: Genome) -> list[str]:
    names = _factor_names(genome)
    lines = [f"{', '.join(names)}{',' if len(names) == 1 else ''} = factors"]
    if len(names) == 1:
        lines = ["(scores,) = factors"]
    logits = "scores + log_weights" if "log_weights" in names else "scores"
    factor = " * log_weights.exp()" if "log_weights" in names else ""
    if "talking_heads" in genome:
        lines.append(_talk("scores", "before"))
    lines += _matrix_lines(genome, logits, factor)
    if "talking_heads" in genome:
        lines.append(_talk("weights", "after"))
    if "toeplitz_taps" in genome:
        return [*lines, "return weights + convolution"]
    if "free_diagonal" in genome:
        return [*lines, "return weights + own"]
    if "moving_average" in genome:
        lines.append("share = torch.sigmoid(self.share)")
        return [*lines, "return (1 - share) * weights + share * average"]
    return [*lines, "return weights"]


def _matrix_lines(genome: Genome, logits: str, factor: str) -> list[str]:
    if "differential" in genome:
        plus = " + log_weights" if factor else ""
        return [
            f"weights = self.masked_softmax(first{plus}, mask)",
            f"noise = self.masked_softmax(second{plus}, mask)",
            "weights = weights - torch.sigmoid(self.share) * noise",
        ]
    position = "position = mask.sum(dim=-1, keepdim=True).to(scores.dtype)"
    taylor = "1 + scores + 0.5 * scores * scores"
    taylor = f"({taylor}){factor}" if factor else taylor
    delta = [f"weights = (scores{factor}).masked_fill(~mask, 0.0)"]
    if not factor:
        delta = ["weights = scores.masked_fill(~mask, 0.0)"]
    lines = {
        **dict.fromkeys(delta_rules.NAMES, delta),
        "softmax": [f"weights = self.masked_softmax({logits}, mask)"],
        "sink": fragments.sink_lines(logits),
        "sigmoid": [
            position,
            f"weights = torch.sigmoid({logits} - position.log()).masked_fill(~mask, 0.0)",
        ],
        "relu": [
            position,
            f"weights = (F.relu(scores){factor}).masked_fill(~mask, 0.0) / position",
        ],
        "elu": [f"weights = self.row_normalise(scores{factor}, mask)"],
        "taylor": [f"weights = self.row_normalise({taylor}, mask)"],
        "stick_breaking": [
            *([f"scores = {logits}"] if factor else []),
            *fragments.stick_breaking_lines("scores"),
        ],
    }
    return lines[genome.choice("kernel")]


def _toeplitz(name: str) -> str:
    return f"self.toeplitz(F.pad(self.{name}, (0, T))[:, :T])"


def _talk(name: str, weights: str) -> str:
    return f'{name} = torch.einsum("bfij,fg->bgij", {name}, self.{weights})'
