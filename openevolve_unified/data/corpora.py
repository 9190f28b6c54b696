"""Corpora: what ``source`` in the configuration names, as numbered documents.

``identify`` is cheap and says which documents a configuration means (the cache is addressed by it);
``load`` reads, generates or downloads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.config.user_path import user_path
from openevolve_unified.data.stories import generate_stories
from openevolve_unified.data.text_files import (
    find_text_files,
    kind_of,
    missing_field,
    read_documents,
)
from openevolve_unified.errors import ConfigError

TINYSTORIES = "roneneldan/TinyStories"
"""Eldan and Li 2023, arXiv 2305.07759."""
_BUILDERS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".txt": "text",
}


@dataclass(frozen=True)
class Corpus:
    """Documents by number."""

    num_documents: int
    fetch: Callable[[np.ndarray], list[str]]
    """Numbers (n,) int64 -> the n texts."""


def corpus_of(documents: list[str]) -> Corpus:
    """A corpus that lies in memory."""
    return Corpus(len(documents), lambda indices: [documents[i] for i in indices.tolist()])


def identify(config: DataConfig, base_dir: Path) -> dict[str, Any]:
    """What the documents are a function of: settings and, for local files, their content.

    A data set of the Hugging Face hub is identified by its name, configuration and split, so that a
    prepared cache needs no network; what was downloaded is addressed by ``TokenData.fingerprint``.

    Raises:
        ConfigError: a local file is missing or of an unknown kind.
    """
    if config.source == "stories":
        return {"source": "stories", "num_documents": config.num_documents, "seed": config.seed}
    if config.source == "text":
        files = find_text_files(_local_path(config, base_dir)).files
        return {
            "source": "text",
            "files": [[kind_of(file), _file_hash(file)] for file in files],
            "text_field": config.text_field,
            "document_separator": config.document_separator,
        }
    name, config_name = _hub_name(config)
    identity: dict[str, Any] = {
        "source": "huggingface",
        "config_name": config_name,
        "split": config.split,
        "text_field": config.text_field,
    }
    local = _local_data_set(config, base_dir)
    if local is None:
        return identity | {"name": name}
    local_files = sorted(f for f in local.rglob("*") if f.is_file()) if local.is_dir() else [local]
    names = [file.relative_to(local).as_posix() if local.is_dir() else "" for file in local_files]
    return identity | {
        "files": [[name, _file_hash(file)] for name, file in zip(names, local_files, strict=True)]
    }


def load(config: DataConfig, base_dir: Path, progress: Callable[[str], None]) -> Corpus:
    """The documents of ``config``.

    Raises:
        ConfigError: file not found, unreadable, no text, no such field, data set or split, or no
            network where one is needed.
    """
    if config.source == "stories":
        progress(f"telling {config.num_documents:,} stories")
        return corpus_of(generate_stories(config.num_documents, config.seed))
    if config.source == "text":
        found = find_text_files(_local_path(config, base_dir))
        progress(f"reading {len(found.files)} file{'s' * (len(found.files) > 1)}")
        if found.left_out is not None:
            progress(found.left_out)
        documents = read_documents(found.files, config.text_field, config.document_separator)
        return corpus_of(documents)
    return _load_data_set(config, base_dir, progress)


def _load_data_set(config: DataConfig, base_dir: Path, progress: Callable[[str], None]) -> Corpus:
    name, config_name = _hub_name(config)
    local = _local_data_set(config, base_dir)
    progress(f"loading the data set {name} (downloaded once, by the datasets library)")
    import datasets

    try:
        with _quiet("huggingface_hub"):
            if local is None:
                table = datasets.load_dataset(name, config_name, split=config.split)
            elif local.is_file():
                builder = _BUILDERS.get(local.suffix.lower(), local.suffix.lstrip("."))
                table = datasets.load_dataset(builder, data_files=str(local), split=config.split)
            elif (local / "state.json").exists() or (local / "dataset_dict.json").exists():
                table = datasets.load_from_disk(str(local))
                table = table[config.split] if isinstance(table, dict) else table
            else:
                table = datasets.load_dataset(str(local), config_name, split=config.split)
    except Exception as error:
        # Foreign code with many exceptions: no network, no such data set, split, configuration,
        # file format, permission; its own message says which.
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"scaling_law.data: cannot load the data set {name} (split {config.split!r}): "
            f"{message}; download it on a machine with a network and give its folder as "
            "scaling_law.data.path, or use scaling_law.data.source=text with local files, or "
            "scaling_law.data.source=stories, which needs no download"
        ) from error
    return _column(table, config.text_field, name)


def _column(table: Any, text_field: str, name: str) -> Corpus:
    if text_field not in table.column_names:
        raise missing_field(text_field, name, list(table.column_names))
    kind = getattr(table.features[text_field], "dtype", "no text")
    if kind not in ("string", "large_string"):
        raise ConfigError(
            f"scaling_law.data.text_field: got {text_field!r}, which in {name} holds {kind}"
        )
    if len(table) == 0:
        raise ConfigError(
            f"scaling_law.data.path: got {name} without any documents, wanted some text"
        )
    column = table.select_columns([text_field])
    return Corpus(
        len(column),
        lambda indices: [(text or "").strip() for text in column[indices.tolist()][text_field]],
    )


def _hub_name(config: DataConfig) -> tuple[str, str | None]:
    if config.source == "tinystories":
        return TINYSTORIES, None
    return config.path or "", config.config_name


def _local_path(config: DataConfig, base_dir: Path) -> Path:
    return base_dir / user_path(config.path or "", "scaling_law.data.path")


def _local_data_set(config: DataConfig, base_dir: Path) -> Path | None:
    """The file or folder that ``path`` names, if there is one; a hub name otherwise."""
    if config.source == "tinystories":
        return None
    path = _local_path(config, base_dir)
    if path.exists():
        return path
    if (config.path or "").startswith((".", "/", "~")) or (config.path or "").count("/") > 1:
        raise ConfigError(
            f"scaling_law.data.path: got {path}, which does not exist; wanted a local file or "
            "folder, or the name of a data set on the Hugging Face hub"
        )
    return None


def _file_hash(file: Path) -> str:
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"scaling_law.data.path: cannot read {file}: {error.strerror or error}"
        ) from None


@contextlib.contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """Hold back the library's warnings (it announces every retry); its errors are reported."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
