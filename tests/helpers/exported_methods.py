"""The evolvable method of an attention, exported as the operators that it consists of."""

from __future__ import annotations

import warnings

import torch
import torch.nn as nn


def exported_method(
    attention: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> torch.export.ExportedProgram:
    """Export what the framework calls, on ``inputs``: q, k, v, x and the mask."""

    class Method(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, q, k, v, x, mask):
            if attention.evolvable_method == "regress":
                return attention.regress(q, k, v, x, mask)
            return getattr(attention, attention.evolvable_method)(q, k, x, mask)

    with warnings.catch_warnings():
        # torch 2.13 warns about its own use of LeafSpec.
        warnings.simplefilter("ignore", FutureWarning)
        return torch.export.export(Method(), inputs, strict=False).run_decompositions({})
