"""The characters of a text file: byte-order marks are heeded, and what is no text is refused.

UTF-16 without its mark is valid UTF-8 with a NUL beside every Latin letter, which a tokenizer would
take for text.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import re
import shlex
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from openevolve_unified.errors import ConfigError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES = 4_096
_MIN_NUL_SHARE = 0.2
"""Of the bytes; text of Latin letters in UTF-16 has one half."""
_LATIN1_MARKS = ("\u00ff\u00fe", "\u00fe\u00ff")
"""What the marks of UTF-16 become in a conversion from latin1."""


@contextlib.contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not, in the encoding that its mark names, else in UTF-8.

    Raises:
        ConfigError: what is read inside the block is not in that encoding, or cannot be read.
    """
    encoding = "utf-8"
    try:
        with _open_bytes(file) as raw:
            head = raw.read(4)
            encoding = next((name for mark, name in _MARKS if head.startswith(mark)), encoding)
            raw.seek(0)
            with io.TextIOWrapper(raw, encoding=encoding) as text:
                yield text
    except UnicodeError:  # a UTF-16 decoder also raises it bare
        raise _not_in(encoding, file) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(
            f"scaling_law.data.path: {file} is not a readable gzip file: {error}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"scaling_law.data.path: cannot read {file}: {error.strerror or error}"
        ) from None


def require_characters(text: str, file: Path, place: str) -> None:
    """Refuse text that holds a NUL.

    Args:
        place: what of ``file`` the text is, for example its name and a line.

    Raises:
        ConfigError: with the place, what the file seems to be, and the command that converts it.
    """
    position = text.find("\0")
    if position < 0:
        return
    if text.startswith(_LATIN1_MARKS):
        raise ConfigError(
            f"scaling_law.data.path: {file} holds NULs: it was converted from UTF-16 as if it were "
            "latin1; convert the original instead, with: iconv -f UTF-16 -t UTF-8"
        )
    head = _head(file)
    if not file.name.lower().endswith(".parquet") and _is_utf_16(head):
        raise _unmarked_utf_16(head, file)
    raise ConfigError(
        f"scaling_law.data.path: {place} holds a NUL at character {position + 1}, which no text "
        "has; remove it, or leave the file out if it is no text"
    )


def _open_bytes(file: Path) -> BinaryIO:
    if file.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(file, "rb"))
    return open(file, "rb")


def _head(file: Path) -> bytes:
    with _open_bytes(file) as raw:
        return raw.read(_HEAD_BYTES)


def _is_utf_16(head: bytes) -> bool:
    """True when NULs are frequent, and (nearly) all in one half of the byte pairs."""
    halves = sorted((head[0::2].count(0), head[1::2].count(0)))
    return halves[1] >= _MIN_NUL_SHARE * len(head) and halves[0] <= 0.1 * halves[1]


def _not_in(encoding: str, file: Path) -> ConfigError:
    if not encoding.startswith("utf-8"):
        name = encoding.upper()
        return ConfigError(
            f"scaling_law.data.path: {file} begins with the mark of {name}, which it is not: is it "
            "cut short, or no text?"
        )
    head = _head(file)
    if _is_utf_16(head):
        return _unmarked_utf_16(head, file)
    return ConfigError(
        f"scaling_law.data.path: {file} is not UTF-8 text (line {_first_bad_line(file)}); convert "
        f"it from the encoding that it has, for example with: {_conversion('latin1', file)}"
    )


def _unmarked_utf_16(head: bytes, file: Path) -> ConfigError:
    encoding = "UTF-16LE" if head[1::2].count(0) > head[0::2].count(0) else "UTF-16BE"
    return ConfigError(
        f"scaling_law.data.path: {file} holds NULs and looks like UTF-16 without a byte-order "
        f"mark; convert it with: {_conversion(encoding, file)}"
    )


def _first_bad_line(file: Path) -> int:
    with _open_bytes(file) as raw:
        for number, line in enumerate(raw, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1  # whoever writes the file has mended it meanwhile


def _conversion(encoding: str, file: Path) -> str:
    """The command that writes a converted copy; the copy has another name, and is not gzipped."""
    name = re.sub(r"(?i)\.gz$", "", file.name)
    copy = shlex.quote(f"{Path(name).stem}-utf8{Path(name).suffix}")
    convert = f"iconv -f {encoding} -t UTF-8"
    if name != file.name:
        return f"gzip -dc {shlex.quote(file.name)} | {convert} > {copy}"
    return f"{convert} {shlex.quote(file.name)} > {copy}"
