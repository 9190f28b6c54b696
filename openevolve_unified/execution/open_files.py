"""Open files: how many the processes of a command may have."""

from __future__ import annotations

import resource

from openevolve_unified.errors import ConfigError

MIN_OPEN_FILES = 128
"""A worker that trains has about forty open, the process that holds all others a dozen each."""
WANTED_OPEN_FILES = 4_096


def require_open_files() -> None:
    """Raise the soft limit as far as this user may, for this process and those that it starts.

    Raises:
        ConfigError: it is too low for anything to work.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    allowed = WANTED_OPEN_FILES if hard == unlimited else min(WANTED_OPEN_FILES, hard)
    if soft != unlimited and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft != unlimited and soft < MIN_OPEN_FILES:
        raise ConfigError(
            f"this process may open only {soft} files (ulimit -n), wanted {MIN_OPEN_FILES} or "
            f"more: raise the limit (ulimit -n {WANTED_OPEN_FILES}) and run the same command again"
        )
