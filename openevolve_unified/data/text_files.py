"""Documents out of local files: .txt (split at blank or separator lines), .jsonl and .parquet.

Text and .jsonl may be gzipped, and the case of a suffix does not matter.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openevolve_unified.data.characters import open_text, require_characters
from openevolve_unified.errors import ConfigError, nearest

KINDS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet")
_MAX_NAMES = 8


@dataclass(frozen=True)
class TextFiles:
    """What a path names."""

    files: tuple[Path, ...]
    """Those that are read, by name."""
    left_out: str | None
    """A line that names what else is there; None where there is nothing else."""


def kind_of(file: Path) -> str | None:
    """The kind that a file's name says, one of ``KINDS``; None for any other."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    for count in (2, 1):
        if "".join(suffixes[-count:]) in KINDS:
            return "".join(suffixes[-count:])
    return None


def find_text_files(path: Path) -> TextFiles:
    """The file itself, or all files of a folder with a known suffix, by name.

    Raises:
        ConfigError: nothing there, nothing of a known kind, or a folder that cannot be listed.
    """
    if path.is_dir():
        return _files_of(path)
    if not path.exists():
        raise ConfigError(
            f"scaling_law.data.path: got {path}, which does not exist; wanted a file or a folder"
        )
    if kind_of(path) is None:
        raise ConfigError(
            f"scaling_law.data.path: got {path.name}, wanted a file ending in {', '.join(KINDS)}"
        )
    return TextFiles((path,), None)


def read_documents(files: tuple[Path, ...], text_field: str, separator: str | None) -> list[str]:
    """The documents of ``files`` in order, stripped, without empty ones.

    Args:
        text_field: the field of .jsonl records and .parquet columns that holds the text.
        separator: the line between documents of .txt files; None means blank lines.

    Raises:
        ConfigError: unreadable file or encoding, missing field, or no text at all.
    """
    documents = []
    for file in files:
        try:
            documents += [document.strip() for document in _read(file, text_field, separator)]
        except OSError as error:
            raise ConfigError(
                f"scaling_law.data.path: cannot read {file}: {error.strerror or error}"
            ) from None
    documents = [document for document in documents if document]
    if not documents:
        names = ", ".join(file.name for file in files[:_MAX_NAMES])
        raise ConfigError(
            f"scaling_law.data.path: got no text at all in {names}; wanted some documents"
        )
    return documents


def missing_field(text_field: str, place: str, fields: list[str]) -> ConfigError:
    """The error for a text field that the data do not have."""
    return ConfigError(
        f"scaling_law.data.text_field: got {text_field!r}, which {place} does not have"
        f"{nearest(text_field, fields)}; it has: {', '.join(fields) or 'no fields'}"
    )


def _files_of(folder: Path) -> TextFiles:
    files: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        for name in names:
            file = Path(place, name)
            (files if kind_of(file) and file.is_file() else others).append(file)
        others += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
    left_out = None
    if others:
        shown = ", ".join(str(other.relative_to(folder)) for other in sorted(others)[:_MAX_NAMES])
        more = f" and {len(others) - _MAX_NAMES:,} more" if len(others) > _MAX_NAMES else ""
        left_out = f"left out {shown}{more}: files ending in {', '.join(KINDS)} are read"
    if not files:
        raise ConfigError(
            f"scaling_law.data.path: got the folder {folder} without text, wanted files ending in "
            f"{', '.join(KINDS)}{f' ({left_out})' if left_out else ''}"
        )
    return TextFiles(tuple(sorted(files)), left_out)


def _refuse(error: OSError) -> None:
    raise ConfigError(
        f"scaling_law.data.path: cannot list {error.filename}: {error.strerror or error}"
    )


def _read(file: Path, text_field: str, separator: str | None) -> Iterator[str]:
    kind = kind_of(file) or ""
    if kind.startswith(".jsonl"):
        return _read_jsonl(file, text_field)
    if kind == ".parquet":
        return _read_parquet(file, text_field)
    with open_text(file) as handle:
        text = handle.read()
    require_characters(text, file, str(file))
    # A separator is a whole line, so that a document may mention it.
    line = r"\s*" if separator is None else rf"[ \t]*{re.escape(separator)}[ \t]*"
    return iter(re.split(rf"(?m)^{line}$", text))


def _read_jsonl(file: Path, text_field: str) -> Iterator[str]:
    with open_text(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{file.name} line {number}"
            require_characters(line, file, place)
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(
                    f"scaling_law.data.path: {file} line {number} is not JSON: {error}"
                ) from None
            if not isinstance(record, dict) or text_field not in record:
                fields = list(record) if isinstance(record, dict) else []
                raise missing_field(text_field, place, fields)
            yield _text(record[text_field], text_field, file, place)


def _read_parquet(file: Path, text_field: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        columns = pyarrow.parquet.read_schema(file).names
        if text_field not in columns:
            raise missing_field(text_field, file.name, columns)
        values = pyarrow.parquet.read_table(file, columns=[text_field]).column(text_field)
    except pyarrow.ArrowException as error:
        raise ConfigError(
            f"scaling_law.data.path: {file} is not a readable parquet file: {_line(error)}"
        ) from None
    for number, value in enumerate(values.to_pylist(), start=1):
        yield _text(value, text_field, file, f"{file.name} row {number}")


def _text(value: object, text_field: str, file: Path, place: str) -> str:
    """The text of a field; an absent value is an empty document, which the caller drops."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(
            f"scaling_law.data.text_field: got {text_field!r}, which in {place} holds "
            f"{type(value).__name__}, wanted text"
        )
    require_characters(value, file, place)
    # JSON can spell half a surrogate pair, which is no character and has no UTF-8.
    return value.encode(errors="replace").decode()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
