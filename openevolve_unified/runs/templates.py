"""The shipped files that are not imported: configs and initial programs."""

from __future__ import annotations

import shutil
from pathlib import Path

from openevolve_unified.errors import ConfigError

FOLDERS = ("configs", "initial_programs")


def template_dir() -> Path:
    """The folder that holds ``configs`` and ``initial_programs``."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent):
        if all((folder / name).is_dir() for name in FOLDERS):
            return folder
    raise ConfigError("the shipped configs are missing from this installation; reinstall it")


def initial_program(framework: str) -> Path:
    """The shipped initial program of a framework: softmax attention in its notation."""
    return template_dir() / "initial_programs" / f"{framework}.py"


def copy_templates(target: Path) -> tuple[list[Path], list[Path]]:
    """Copy the shipped configs and programs into ``target``; existing files are left alone.

    Returns:
        The files that were written, and those that were there and kept.

    Raises:
        ConfigError: the target cannot be written.
    """
    written: list[Path] = []
    kept: list[Path] = []
    try:
        for name in FOLDERS:
            for source in sorted((template_dir() / name).rglob("*")):
                destination = target / source.relative_to(template_dir())
                if source.is_dir() or "__pycache__" in source.parts:
                    continue
                if destination.exists():
                    kept.append(destination)
                    continue
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, destination)
                written.append(destination)
    except OSError as error:
        raise ConfigError(f"{target}: cannot write here ({error.strerror})") from None
    return written, kept
