"""The operators that a traced mechanism may use, and what to say about the others.

The list is generous: whether a mechanism is causal, finite or deterministic is decided by checks,
not here. What is missing on purpose: random numbers, in-place writes, uninitialised memory, outputs
whose shape depends on data, files, devices, global state. No torch is imported here.
"""

from __future__ import annotations

_POINTWISE = """
abs acos acosh add addcdiv addcmul angle asin asinh atan atan2 atanh bitwise_and bitwise_not
bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift ceil celu clamp clamp_max clamp_min
clip complex conj copysign cos cosh deg2rad digamma div divide elu eq erf erfc erfinv exp exp2 expm1
fix floor floor_divide fmax fmin fmod frac ge gelu glu greater greater_equal gt hardshrink
hardsigmoid hardswish hardtanh heaviside hypot i0 imag isfinite isinf isnan ldexp le leaky_relu lerp
less less_equal lgamma log log10 log1p log2 log_sigmoid logaddexp logaddexp2 logical_and logical_not
logical_or logical_xor logit lt masked_fill maximum minimum mish mul multiply nan_to_num ne neg
negative not_equal polar positive pow prelu rad2deg real reciprocal relu relu6 remainder round rsqrt
rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink special_entr special_erf
special_erfc special_erfcx special_exp2 special_expit special_expm1 special_i0 special_i0e
special_i1 special_i1e special_log1p special_log_ndtr special_logit special_ndtr special_sinc
special_xlog1py special_xlogy sqrt square sub subtract tan tanh threshold true_divide trunc where
xlogy float_power view_as_real view_as_complex resolve_conj resolve_neg softsign tanhshrink
__and__ __or__ __xor__ __lshift__ __rshift__
"""
_REDUCTIONS = """
all amax amin aminmax any argmax argmin count_nonzero cummax cummin cumprod cumsum diff
linalg_matrix_norm linalg_norm linalg_vector_norm frobenius_norm log_softmax logcumsumexp logsumexp
max mean median min nanmean nansum norm prod softmax special_log_softmax special_logsumexp
special_softmax std std_mean sum var var_mean softmin trace kthvalue mode quantile nanmedian
cosine_similarity renorm dist cov corrcoef
"""
_PRODUCTS = """
addmm addmv addr baddbmm bmm chain_matmul conv1d conv2d dot einsum inner
kron linalg_cross linalg_multi_dot linear matmul mm mv outer tensordot vdot linalg_vecdot cross
ger linalg_matmul cdist pairwise_distance
"""
_SHAPES = """
alias atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cat chunk clone
column_stack concat concatenate constant_pad_nd contiguous detach diag diag_embed diagonal
diagonal_scatter diagflat dsplit dstack expand expand_as flatten flip fliplr flipud hsplit hstack
meshgrid moveaxis movedim mT mH adjoint matrix_H numpy_T narrow pad permute ravel repeat
repeat_interleave reshape reshape_as roll rot90 row_stack select select_scatter slice slice_scatter
split split_with_sizes squeeze stack swapaxes swapdims t tensor_split tile transpose tril triu
unbind unflatten unfold unsqueeze view view_as vsplit vstack lift_fresh_copy
to type_as _to_copy _unsafe_view _conj _neg_view slice_copy expand_copy permute_copy view_copy
vander circular_pad replication_pad1d reflection_pad1d channel_shuffle pixel_shuffle trapezoid
cumulative_trapezoid
"""
_INDEXING = """
argsort bucketize embedding gather index index_add index_copy index_fill index_put index_select
masked_scatter one_hot put scatter scatter_add scatter_reduce searchsorted sort take take_along_dim
topk msort isin _unsafe_index _unsafe_index_put
"""
_FACTORIES = """
arange eye fill full full_like linspace logspace new_full new_ones new_zeros ones ones_like
scalar_tensor tril_indices triu_indices zeros zeros_like bartlett_window blackman_window
hamming_window hann_window
"""
_NORMS = """
group_norm layer_norm native_layer_norm native_group_norm rms_norm _fused_rms_norm
avg_pool1d max_pool1d adaptive_avg_pool1d
"""
_LINALG = """
cholesky cholesky_inverse cholesky_solve inverse linalg_cholesky linalg_cholesky_ex linalg_det
linalg_diagonal linalg_eigh linalg_eigvalsh linalg_inv linalg_inv_ex
linalg_lu_factor linalg_lu_solve linalg_lstsq linalg_matrix_exp
linalg_matrix_power linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_ex
linalg_solve_triangular linalg_svd linalg_svdvals logdet matrix_exp matrix_power slogdet
triangular_solve _linalg_solve_ex _linalg_slogdet _linalg_det _linalg_eigh _linalg_svd
lu_unpack
"""
_FOURIER = """
fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn
fft_ifftshift fft_ihfft fft_irfft fft_irfftn fft_rfft fft_rfftfreq fft_rfftn _fft_c2c _fft_c2r
_fft_r2c
"""

POINTWISE = frozenset(_POINTWISE.split())
"""Operators that work element by element on broadcast tensors, up to a few that reshape."""

ALLOWED = frozenset(
    " ".join(
        (_POINTWISE, _REDUCTIONS, _PRODUCTS, _SHAPES, _INDEXING, _FACTORIES, _NORMS, _LINALG)
    ).split()
) | frozenset(_FOURIER.split())
"""Operators of ``torch.ops.aten`` by name; every functional overload of them is allowed."""

FACTORIES = frozenset(_FACTORIES.split())
SHAPES = frozenset(_SHAPES.split())
"""Operators that arrange elements without computing with them."""

ROUNDING_MIXERS = frozenset((_LINALG + _FOURIER).split()) - {
    "linalg_solve_triangular",
    "triangular_solve",
    "linalg_diagonal",
}
"""Operators that may carry rounding errors, but no more, from late to early positions."""

_RANDOM = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "multinomial",
        "normal",
        "uniform",
        "exponential",
        "poisson",
        "cauchy",
        "geometric",
        "log_normal",
        "random",
        "rrelu",
        "native_dropout",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
    ]
)
_RECURRENT = frozenset(
    f"{kind}{part}" for kind in ("gru", "lstm", "rnn_tanh", "rnn_relu") for part in ("", "_cell")
)
_DATA_DEPENDENT = frozenset(
    [
        "item",
        "_local_scalar_dense",
        "nonzero",
        "nonzero_static",
        "masked_select",
        "unique",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "is_nonzero",
        "equal",
        "allclose",
        "sym_size",
        "sym_numel",
        "_assert_scalar",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
        "histc",
    ]
)


def operator_name(operator: str) -> str:
    """``aten.add.Tensor`` -> ``add``; an empty string when it is not an ATen operator."""
    parts = operator.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == "aten" else ""


def objection(operator: str) -> str | None:
    """Why ``operator`` may not be used and what to write instead; None when it may."""
    name = operator_name(operator)
    base = name.rstrip("_")
    if name in ALLOWED:
        return None
    if base in ("dropout", "native_dropout", "alpha_dropout", "feature_dropout"):
        return "dropout inside the mechanism: dropout is fixed and applied once, to the result"
    if base in _RANDOM:
        return (
            f"random numbers ({name}) inside the mechanism: it must be deterministic; random "
            "numbers may only set initial values in __init__"
        )
    if base in _DATA_DEPENDENT:
        return (
            f"the mechanism reads tensor values or makes shapes from them ({name}): use "
            "torch.where or multiply by the mask, and keep numbers as tensors"
        )
    if base in _RECURRENT:
        return (
            f"a recurrent layer ({name}) hides a loop over time: write the gate from x itself, "
            "such as torch.sigmoid(self.gate(x)), and what runs over time by cumsum (of "
            "logarithms for a product of gates), a causal convolution or "
            "torch.linalg.solve_triangular"
        )
    if base in ("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu"):
        return "write attention explicitly: (q @ k.transpose(-2, -1)), mask, softmax"
    if name.endswith("_") and base in ALLOWED:
        return f"the in-place write {name}: write the functional form ({base})"
    return f"the operator {operator[:80]} is not in the allowed list: use ordinary tensor operators"
