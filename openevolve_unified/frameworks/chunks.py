"""Time cut into a few chunks.

Recurrences with matrix states cost time^2 or time^3 when every pair of tokens is taken, and time
steps in a row when none is. Pairs inside a chunk and one state per chunk cost least, and a loop
over four or eight chunks still traces to a small graph (arXiv 2312.06635, 2406.06484).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def chunk_length(time: int) -> int:
    """A power of two near the square root of ``2 * time``: 16 for 64 and 128, 32 for 256."""
    return 1 << (((time - 1).bit_length() + 2) // 2)


def in_chunks(z: torch.Tensor, chunk: int) -> torch.Tensor:
    """(batch, heads, time, width) to (batch, heads, number, chunk, width).

    Zeros fill the last chunk. They stand after everything else, so no row that counts reads them.
    """
    padding = -z.shape[-2] % chunk
    if padding:
        z = F.pad(z, (0, 0, 0, padding))
    return z.unflatten(-2, (-1, chunk))
