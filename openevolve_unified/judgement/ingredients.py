"""Ingredients: parts that published mechanisms are made of, recognised by their operators.

Coarse on purpose: an operator says that something is there, not what it is for. Sources are those
of the catalogue's mechanisms.
"""

from __future__ import annotations

from collections.abc import Iterable

INGREDIENTS: dict[str, frozenset[str]] = {
    name: frozenset(operators.split())
    for name, operators in {
        "softmax": "softmax log_softmax logsumexp special_softmax special_log_softmax",
        "gate": "sigmoid log_sigmoid silu glu softplus hardsigmoid hardswish special_expit",
        "running sum": "cumsum cumprod logcumsumexp cummax cummin",
        "exponential": "exp exp2 expm1 logaddexp logaddexp2",
        "convolution": "conv1d conv2d",
        "normaliser": "linalg_vector_norm linalg_norm norm layer_norm native_layer_norm rms_norm "
        "_fused_rms_norm group_norm native_group_norm rsqrt std var std_mean var_mean",
        "rotation": "cos sin polar view_as_complex",
        "bounded": "tanh softsign hardtanh erf atan",
        "feature map": "relu elu gelu celu selu square leaky_relu relu6 mish softmin",
        "solve": "linalg_solve_triangular triangular_solve linalg_solve linalg_solve_ex "
        "_linalg_solve_ex linalg_cholesky_ex linalg_cholesky linalg_inv linalg_inv_ex inverse "
        "cholesky_solve linalg_pinv linalg_lstsq",
        "own projection": "linear",
        "selection": "topk sort argsort kthvalue msort",
        "fourier": "_fft_r2c _fft_c2r _fft_c2c fft_rfft fft_irfft fft_fft fft_ifft",
    }.items()
}
"""By name: operators of ``torch.ops.aten``, any of which shows the part."""


def ingredients_of(bigrams: Iterable[str]) -> tuple[str, ...]:
    """The ingredients of a program, in the order of ``INGREDIENTS``.

    Args:
        bigrams: ``source>reader``; see ``candidate.program.bigrams``.
    """
    operators = {bigram.partition(">")[2] for bigram in bigrams}
    return tuple(name for name, known in INGREDIENTS.items() if known & operators)
