"""Genomes as regression at test time: association weights and a solver."""

from __future__ import annotations

from openevolve_unified.plugin.proposer import delta_rules, fragments
from openevolve_unified.plugin.proposer.fragments import NUM_TAPS, Method
from openevolve_unified.plugin.proposer.genome import Genome


def methods(genome: Genome) -> list[Method]:
    """The methods of the rendered class, the evolvable one last."""
    result = [fragments.turn_method()] if "rope" in genome else []
    if "t5_buckets" in genome:
        result.append(fragments.bucket_method())
    regress = fragments.preparation_lines(genome)
    if "rope" in genome:
        regress += [] if fragments.POSITION in regress else [fragments.POSITION]
        regress.append("q, k = self.turn(q, position), self.turn(k, position)")
    if "delta_rule" in genome or delta_rules.is_delta_rule(genome):
        regress += _delta_rule(genome) if "delta_rule" in genome else _delta_steps(genome)
        return [*result, Method("regress(self, q, k, v, x, mask)", "y.", tuple(regress))]
    regress.append("weights = self.association_weights(q, k, x, mask)")
    regress.append(f"return self.solver(k, v, weights, x, {fragments.reach(genome)})")
    is_log = genome.choice("kernel") in ("softmax", "sink")
    summary = "log gamma." if is_log else "gamma, not negative."
    return [
        *result,
        Method("association_weights(self, q, k, x, mask)", summary, tuple(_association(genome))),
        _solver(genome),
        Method("regress(self, q, k, v, x, mask)", "y.", tuple(regress)),
    ]


def _association(genome: Genome) -> list[str]:
    key = fragments.scaled_key(genome)
    lines = [f"scores = q @ ({key}).transpose(-2, -1)"]
    if key == "k":
        lines = ["scores = q @ k.transpose(-2, -1)"]
    if "gaussian" in genome:
        lines = [
            f"key = {key}",
            "scores = q @ key.transpose(-2, -1) - 0.5 * (k * key).sum(dim=-1).unsqueeze(-2)",
        ]
    if "softcap" in genome:
        lines.append("scores = 15 * torch.tanh(scores / 15)")
    if "kerple" in genome:
        lines += fragments.kerple_lines()
    if "near_taps" in genome:
        lines += [] if "kerple" in genome else [fragments.POSITION, fragments.DISTANCE]
        lines += [
            f"lags = torch.arange({NUM_TAPS}, device=q.device, dtype=q.dtype)",
            "is_lag = (distance.unsqueeze(-1) == lags).to(q.dtype)",
            "near = (is_lag @ self.near).permute(2, 0, 1)",
        ]
    if "t5_buckets" in genome:
        lines += [
            "T = q.shape[-2]",
            "windows = F.pad(self.by_distance(q).flip(-1), (0, T - 1)).unfold(-1, T, 1)",
            "near = windows.flip(-2)",
        ]
    decay = fragments.log_decay(genome, "q")
    lines += [] if decay is None else [f"log_decay = {decay}"]
    terms = _position_terms(genome)
    kernel = genome.choice("kernel")
    if kernel in ("softmax", "sink", "stick_breaking"):
        lines += [f"scores = scores + {term}" for term in terms]
        if kernel == "stick_breaking":
            return [*lines, *fragments.stick_breaking_lines("scores"), "return weights"]
        return [*lines, "return scores"]
    if kernel == "taylor":
        lines.append("scores = 1 + scores + 0.5 * scores * scores")
    lines += [f"scores = scores * torch.exp({term})" for term in terms]
    return [*lines, "return scores"]


def _position_terms(genome: Genome) -> list[str]:
    terms = []
    if fragments.log_decay(genome, "q") is not None:
        terms.append("self.cumulative_decay(log_decay, mask)")
    if "kerple" in genome:
        terms.append("far")
    if "input_gate" in genome:
        terms.append(fragments.log_gate())
    if "near_taps" in genome or "t5_buckets" in genome:
        terms.append("near")
    return terms


def _solver(genome: Genome) -> Method:
    kernel = genome.choice("kernel")
    signature = "solver(self, k, v, weights, x, mask)"
    if "local_slope" in genome:
        return Method(
            signature,
            "A local line: the local constant, corrected by a learned slope in the keys.",
            (
                "weights = self.masked_softmax(weights, mask)",
                "slope = self.slope(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)",
                "drift = slope @ k[..., : slope.shape[-1]].transpose(-2, -1)",
                "mean = (weights * drift).sum(dim=-1, keepdim=True)",
                "return (weights * (1 + mean - drift)) @ v",
            ),
        )
    if kernel == "softmax":
        lines: tuple[str, ...] = ("return self.local_constant(v, weights, mask)",)
        return Method(signature, "The local constant.", lines)
    if kernel == "sink":
        summary = "The local constant beside a pseudo-observation of zero."
        return Method(signature, summary, (*fragments.sink_lines("weights"), "return weights @ v"))
    if kernel == "stick_breaking":
        return Method(signature, "The weights sum to one already.", ("return weights @ v",))
    lines = ("return self.weighted_mean(v, weights, mask)",)
    return Method(signature, "The weighted mean.", lines)


def _delta_rule(genome: Genome) -> list[str]:
    """One gradient step per token; half the width pays for the second product of keys."""
    decay = fragments.log_decay(genome, "q") or "None"
    return [
        "half = max(1, self.head_dim // 2)",
        "q, k = F.normalize(q[..., :half], dim=-1), F.normalize(k[..., :half], dim=-1)",
        "step = torch.sigmoid(self.step(x)).transpose(1, 2)",
        f"log_decay = {decay}",
        "return self.online_gradient(q, k, v, step, log_decay)",
    ]


def _delta_steps(genome: Genome) -> list[str]:
    """Gradient steps that decay by channel, or two per token."""
    decay = fragments.log_decay(genome, "q")
    faded = [
        f"log_decay = {decay}",
        "matrix = matrix * self.decay_matrix(log_decay, mask)",
    ]
    return [
        *delta_rules.lines(genome),
        f"matrix = {delta_rules.matrix(genome)}",
        *([] if decay is None else faded),
        "return matrix.masked_fill(~mask, 0.0) @ v",
    ]
