"""Proof by dependence analysis that no output can depend on a later position.

The program runs once on arbitrary numbers, and beside every tensor travels which input positions
each element may depend on, with the zeros and infinities of masks known exactly (abstract
interpretation over the latest position). What is proved holds for any one sequence of this length,
alone in its batch, and all parameters, as long as the output is finite; that other sequences and
their number change nothing is tested elsewhere, on the trained weights too. A program that cannot
be proved is not wrong: it is then only tested.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map

from openevolve_unified.candidate.checks.attention import apply_mechanism
from openevolve_unified.candidate.checks.dependence.hidden import with_hidden
from openevolve_unified.candidate.checks.dependence.reach import Reach
from openevolve_unified.candidate.checks.dependence.rules import apply_rule
from openevolve_unified.candidate.program.observe import OperatorObserver, tensors_in
from openevolve_unified.candidate.program.traced import TracedSize

_CONSTANT = ("new_full", "new_ones", "new_zeros", "full_like", "ones_like", "zeros_like")
"""Operators that read only the shape of their tensor."""


class UnprovableError(Exception):
    """The program does something that the analysis does not follow."""


def proves_causality(traced: TracedSize) -> bool:
    """Whether the program of full length is causal for all inputs and parameters.

    At every layer and training seed, because constants may differ there.
    """
    proved: list[tuple[torch.Tensor, ...]] = []
    for seed in traced.seeds:
        for layer in range(traced.size.num_layers):
            constants = traced.constants(seed, layer)
            if any(all(map(torch.equal, constants, others)) for others in proved):
                continue
            if not _is_causal(traced.framework, traced.mechanism(seed, layer), traced):
                return False
            proved.append(constants)
    return True


def _is_causal(framework: str, mechanism: nn.Module, traced: TracedSize) -> bool:
    size, T = traced.size, traced.seq_len
    generator = torch.Generator().manual_seed(0)
    heads = (1, size.num_heads, T, size.head_dim)
    q, k, v = (torch.randn(heads, generator=generator) for _ in range(3))
    x = torch.randn(1, T, size.hidden_dim, generator=generator)
    order = torch.arange(1.0, T + 1)
    analysis = Analysis()
    for tensor in (q, k, v, x):
        late = order[:, None].expand(tensor.shape[-2:]).expand(tensor.shape).clone()
        analysis.note(tensor, Reach(tensor, late, torch.ones(tensor.shape)))
    for parameter in mechanism.parameters():
        zero, one = torch.zeros(parameter.shape), torch.ones(parameter.shape)
        analysis.note(parameter, Reach(parameter.detach(), zero, one))
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    try:
        with torch.no_grad(), analysis:
            y = apply_mechanism(framework, mechanism(q, k, v, x, mask), v)
    except (UnprovableError, RuntimeError, IndexError):
        return False  # not followed, or an operator that fails on arbitrary numbers
    late = analysis.reach(y).late
    return bool((late <= order[:, None]).all())


class Analysis(OperatorObserver):
    """Keeps what is known of every tensor that depends on an input or a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[torch.Tensor, Reach]] = {}
        """By identity; the tensor is kept so that its identity is not used again."""

    def note(self, tensor: torch.Tensor, reach: Reach) -> None:
        self._known[id(tensor)] = (tensor, reach)

    def reach(self, tensor: torch.Tensor) -> Reach:
        known = self._known.get(id(tensor))
        return known[1] if known is not None else Reach.certain(tensor)

    def observe(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Note what the results of ``func`` depend on.

        Raises:
            UnprovableError: it writes into its arguments.
        """
        name = func._schema.name.removeprefix("aten::")
        if name in _CONSTANT or not any(
            id(tensor) in self._known for tensor in tensors_in((args, kwargs))
        ):
            return
        if func._schema.is_mutable:
            raise UnprovableError(name)
        names = [argument.name for argument in func._schema.arguments]
        bound = dict(zip(names, args, strict=False)) | kwargs
        bound = {key: tree_map(self._look_up, item) for key, item in bound.items()}
        for index, output in enumerate(tree_leaves(result)):
            if isinstance(output, torch.Tensor):
                reach = apply_rule(func, bound, output, index)
                self.note(output, with_hidden(func, bound, reach))

    def _look_up(self, item: Any) -> Any:
        return self.reach(item) if isinstance(item, torch.Tensor) else item
