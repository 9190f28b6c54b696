"""Tensors that a recorded call did not make: members of the mechanism, and constants elsewhere."""

from __future__ import annotations

import torch
import torch.nn as nn

from openevolve_unified.candidate.program.graph import TensorRef
from openevolve_unified.candidate.tracing.explain import Refusal, program_line
from openevolve_unified.candidate.tracing.inside.writes import Place, fresh
from openevolve_unified.frameworks.attention import FIXED_ATTRIBUTES


class Origins:
    """Finds what such a tensor is; none of them may be written.

    Args:
        prefix: what stands before the candidate's own names in the names of ``module``.
        parameters: the candidate's own parameters, in order.
        constants: names of the constants seen so far; new ones are appended.
    """

    def __init__(self, module: nn.Module, prefix: str, parameters: list[str], constants: list[str]):
        self.literals: list[torch.Tensor] = []
        """Tensors that belong to the program itself."""
        self._parameters = {name: index for index, name in enumerate(parameters)}
        self._constants = constants
        self._members = {id(t): (name.removeprefix(prefix), t) for name, t in _members(module)}
        """By identity; the tensor is kept so that its identity is not used again."""

    def literal(self, tensor: torch.Tensor) -> TensorRef:
        """Keep the numbers of ``tensor`` as they are now."""
        self.literals.append(tensor.detach().clone())
        return TensorRef("l", len(self.literals) - 1)

    def find(self, tensor: torch.Tensor) -> Place:
        """Where a tensor comes from.

        Raises:
            Refusal: the mechanism may not use it.
        """
        name, _ = self._members.get(id(tensor), (None, None))
        if tensor.is_meta:
            raise Refusal(
                "it reads a tensor that another call made: state between calls is not allowed; "
                "compute it from the arguments",
                program_line(),
            )
        if name is None:
            return self._find_outside(tensor)
        if name.split(".")[0] in FIXED_ATTRIBUTES:
            raise Refusal(
                f"the mechanism uses self.{name}, which is fixed: q, k, v and x are given; "
                "register projections of your own under names of their own",
                program_line(),
            )
        reason = (
            f"the mechanism writes into its member {name!r}: state between calls is not allowed"
        )
        if name in self._parameters:
            return fresh(TensorRef("p", self._parameters[name]), reason)
        if name not in self._constants:
            self._constants.append(name)
        return fresh(TensorRef("c", self._constants.index(name)), reason)

    def _find_outside(self, tensor: torch.Tensor) -> Place:
        if tensor.requires_grad:
            raise Refusal(
                "it uses a trainable tensor that is not registered: assign an nn.Parameter to self",
                program_line(),
            )
        return fresh(
            self.literal(tensor),
            "the mechanism writes into a tensor that it did not make: state between calls is not "
            "allowed; write into a .clone()",
        )


def _members(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Names and tensors of the parameters, the buffers, and what is kept unregistered."""
    found: list[tuple[str, torch.Tensor]] = []
    for prefix, part in module.named_modules():
        for name, member in vars(part).items():
            items = member if isinstance(member, (list, tuple)) else [member]
            is_list = items is member
            for index, item in enumerate(items):
                if isinstance(item, torch.Tensor):
                    path = f"{prefix}.{name}" if prefix else name
                    found.append((f"{path}.{index}" if is_list else path, item))
    return [*found, *module.named_parameters(), *module.named_buffers()]
