"""Versions: of Python and of the packages that are installed here."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """By name, ``python`` first; ``not installed`` where a package is missing."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
