"""Semaphores, which OpenEvolve's process pool needs, tried before anything is spent."""

from __future__ import annotations

import multiprocessing

from openevolve_unified.errors import ConfigError


def require_semaphores() -> None:
    """Refuse a machine on which OpenEvolve could start no pool, after the baseline was trained.

    Raises:
        ConfigError: there is no shared memory to make a semaphore in.
    """
    try:
        multiprocessing.Lock()
    except (OSError, ImportError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"OpenEvolve's processes need semaphores, and this machine gives none ({reason}); "
            "wanted a /dev/shm that can be written: mount one (in a container: --tmpfs /dev/shm)"
        ) from error
