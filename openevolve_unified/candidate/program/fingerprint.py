"""The fingerprint of a traced mechanism: equal exactly when training it would be the same.

Comments, names and layout of the source do not enter; operators, numbers, initial values, the
framework, size and time length do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch

from openevolve_unified.candidate.program.graph import OperatorProgram, program_text
from openevolve_unified.config.schema import SizeConfig
from openevolve_unified.plain.canonical import content_hash


def fingerprint_size(
    framework: str,
    size: SizeConfig,
    seq_len: int,
    program: OperatorProgram,
    tensors: Iterable[torch.Tensor],
) -> str:
    """Hash one size's program with its literals and initial values, in a fixed order."""
    digest = hashlib.sha256()
    digest.update(content_hash({"framework": framework, "size": size, "time": seq_len}).encode())
    digest.update(program_text(program).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_candidate(fingerprints: Iterable[str]) -> str:
    """One hash over the sizes and seeds of a candidate."""
    return content_hash(list(fingerprints))
