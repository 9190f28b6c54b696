"""Documents out of local files: .txt (split at blank or separator lines), .jsonl and .parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from openevolve_unified.errors import ConfigError, nearest

SUFFIXES = (".txt", ".jsonl", ".parquet")


def find_text_files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder with a known suffix, by name.

    Raises:
        ConfigError: nothing there, or nothing of a known kind.
    """
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix in SUFFIXES and f.is_file())
        if not files:
            raise ConfigError(
                f"scaling_law.data.path: got the folder {path} without text, wanted files ending "
                f"in {', '.join(SUFFIXES)}"
            )
        return files
    if not path.exists():
        raise ConfigError(
            f"scaling_law.data.path: got {path}, which does not exist; wanted a file or a folder"
        )
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"scaling_law.data.path: got {path.name}, wanted a file ending in {', '.join(SUFFIXES)}"
        )
    return [path]


def read_documents(files: list[Path], text_field: str, separator: str | None) -> list[str]:
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
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"scaling_law.data.path: {file} is not UTF-8 text (byte {error.start}); convert "
                f"it, for example with: iconv -f latin1 -t utf-8 {file.name}"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"scaling_law.data.path: cannot read {file}: {error.strerror or error}"
            ) from None
    documents = [document for document in documents if document]
    if not documents:
        names = ", ".join(file.name for file in files[:5])
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


def _read(file: Path, text_field: str, separator: str | None) -> Iterator[str]:
    if file.suffix == ".jsonl":
        return _read_jsonl(file, text_field)
    if file.suffix == ".parquet":
        return _read_parquet(file, text_field)
    text = file.read_text(encoding="utf-8-sig")
    # A separator is a whole line, so that a document may mention it.
    line = r"\s*" if separator is None else rf"[ \t]*{re.escape(separator)}[ \t]*"
    return iter(re.split(rf"(?m)^{line}$", text))


def _read_jsonl(file: Path, text_field: str) -> Iterator[str]:
    with open(file, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(
                    f"scaling_law.data.path: {file} line {number} is not JSON: {error}"
                ) from None
            if not isinstance(record, dict) or text_field not in record:
                fields = list(record) if isinstance(record, dict) else []
                raise missing_field(text_field, f"{file.name} line {number}", fields)
            yield _text(record[text_field], text_field, f"{file.name} line {number}")


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
        yield _text(value, text_field, f"{file.name} row {number}")


def _text(value: object, text_field: str, place: str) -> str:
    """The text of a field; an absent value is an empty document, which the caller drops."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(
            f"scaling_law.data.text_field: got {text_field!r}, which in {place} holds "
            f"{type(value).__name__}, wanted text"
        )
    # JSON can spell half a surrogate pair, which is no character and has no UTF-8.
    return value.encode(errors="replace").decode()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
