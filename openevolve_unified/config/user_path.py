"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from openevolve_unified.errors import ConfigError


def user_path(path: Path | str, setting: str) -> Path:
    """``path`` with a leading ``~`` replaced by the home folder.

    Args:
        setting: what the path was given as, for the message.

    Raises:
        ConfigError: there is no home folder: ``HOME`` is not set, and the user is unknown here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{setting}: got {path}, wanted a user with a home folder; set HOME or write the whole "
            "path"
        ) from None
