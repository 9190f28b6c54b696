"""Imports: many at once, as fast as they can be."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def many_imports() -> Iterator[None]:
    """Look for no garbage meanwhile, and never again among what was made.

    What imports make stays to the end, yet Python goes through all of it again and again while it
    grows: a sixth of the time that a worker takes to start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
