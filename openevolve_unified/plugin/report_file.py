"""The report's file: written by the command ``report``, and at the end of a run, a validation or
a control."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.files import write_text
from openevolve_unified.report.folder_report import Report, report_of

REPORT = "report.html"
_NEEDED = {"matplotlib": "matplotlib", "jinja2": "jinja2", "markdown_it": "markdown-it-py"}


def write_report(
    path: Path, store: Path | None = None, output: Path | None = None
) -> tuple[Report, Path]:
    """Make the page of a folder and write it as ``report.html``; the report and its file.

    Args:
        path: the folder of a run, of a validation or of a control.
        store: of the run; None: as its settings say.
        output: the folder to write to; None: ``path``.

    Raises:
        ConfigError: the extra is missing, the folder cannot be read, or the file not be written.
    """
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"a report needs {' and '.join(missing)}: pip install 'openevolve-unified[report]', "
            f"then openevolve-unified report {path}"
        )
    report = report_of(path, store)
    file = (output or path) / REPORT
    write_text(file, report.html)
    return report, file


def report_line(path: Path, store: Path | None = None) -> str:
    """Write the report of what has ended in a folder; its file, or in one line why there is none.

    Args:
        path, store: as ``write_report`` takes them.
    """
    try:
        return str(write_report(path, store)[1])
    except ConfigError as error:
        return f"none: {error}"
    except Exception as error:  # the figures are drawn by foreign code, and the run is done
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"none ({why}); try openevolve-unified report {path}"
