"""Packages: what is installed here against what this package declares, and what its extras are for.

Read from the installed metadata, so that it says the truth about an installation without a tree.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence

from openevolve_unified.doctor.observation import Observation

NAME = "openevolve-unified"
EXTRAS = {
    "ray": "scaling_law.execution.backend: ray",
    "plot": "the figures of control, ablate and compare",
    "report": "report.html at the end of a run, and the command report",
    "validate": "validate, and the number of pairs that noise says a difference needs",
    "tensorboard": "scaling_law.logging.tensorboard: true",
    "wandb": "scaling_law.logging.wandb",
}
"""What each extra is for; ``test`` is the developers'."""


def packages() -> Iterator[Observation]:
    """Python, this package, its dependencies, then its extras."""
    for name, mend in (("packaging", "pip install packaging"), (NAME, "pip install .")):
        if _installed(name) is None:  # then nothing can be compared
            text = "not installed"
            yield Observation(topic="package", name=name, level="fault", text=text, mend=mend)
            return
    metadata = importlib.metadata.metadata(NAME)
    yield _versioned("python", platform.python_version(), metadata["Requires-Python"] or "")
    yield Observation(topic="package", name=NAME, level="ok", text=metadata["Version"])
    lines = importlib.metadata.requires(NAME) or []
    for name, wanted in _required(lines, None):
        yield _versioned(name, _installed(name), wanted)
    for extra, use in EXTRAS.items():
        yield _of_extra(extra, use, _required(lines, extra))


def _required(lines: Sequence[str], extra: str | None) -> list[tuple[str, str]]:
    """Names and version ranges of the dependencies, or of those that an extra adds."""
    from packaging.requirements import Requirement

    found = []
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        of_all = marker is None or marker.evaluate({"extra": ""})
        of_extra = marker is not None and not of_all and marker.evaluate({"extra": extra or ""})
        if of_all if extra is None else of_extra:
            found.append((requirement.name, str(requirement.specifier)))
    return found


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fits(version: str | None, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return version is not None and SpecifierSet(wanted).contains(version, prereleases=True)


def _versioned(name: str, version: str | None, wanted: str) -> Observation:
    text = f"{version or 'not installed'}, wanted {wanted or 'any'}"
    if _fits(version, wanted):
        return Observation(topic="package", name=name, level="ok", text=text)
    mend = f"install a Python {wanted}" if name == "python" else f"pip install '{name}{wanted}'"
    return Observation(topic="package", name=name, level="fault", text=text, mend=mend)


def _of_extra(extra: str, use: str, needed: list[tuple[str, str]]) -> Observation:
    versions = {name: _installed(name) for name, _ in needed}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    is_there = bool(needed) and all(_fits(versions[name], wanted) for name, wanted in needed)
    return Observation(
        topic="extra",
        name=extra,
        level="ok" if is_there else "note",
        text=f"{found or 'unknown to the installed metadata'}; for {use}",
        mend=None if is_there else f"pip install '{NAME}[{extra}]'",
    )
