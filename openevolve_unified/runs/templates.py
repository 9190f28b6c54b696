"""The shipped files that are not imported: configs and initial programs."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Copy the shipped configs and programs into ``target``; see ``write_missing``."""
    root = template_dir()
    sources = (source for name in FOLDERS for source in sorted((root / name).rglob("*")))
    files = (s for s in sources if s.is_file() and "__pycache__" not in s.parts)
    return write_missing(target, {str(s.relative_to(root)): s.read_bytes() for s in files})


def write_missing(target: Path, files: Mapping[str, bytes]) -> tuple[list[Path], list[Path]]:
    """Write files into a folder; those that exist are left alone.

    Args:
        files: contents by the path in ``target``.

    Returns:
        The files that were written, and those that were there and kept.

    Raises:
        ConfigError: the target cannot be written.
    """
    written: list[Path] = []
    kept: list[Path] = []
    try:
        for name, content in files.items():
            path = target / name
            if path.exists():
                kept.append(path)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(path)
    except OSError as error:
        raise ConfigError(f"{target}: cannot write here ({error.strerror})") from None
    return written, kept
