"""The cache: every corpus is tokenized once, into a folder that is addressed by what is in it.

A folder appears complete or not at all (built beside its place and renamed), whatever kills the
builder; concurrent builders wait for each other. What is there is opened without a lock and without
writing: it may lie on a read-only mount or belong to another user. ``prepare`` verifies checksums
and rebuilds what does not hold; ``open_cached`` verifies sizes only, which is what a training
worker wants.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.config.user_path import user_path
from openevolve_unified.data import corpora
from openevolve_unified.data.cache_code import code_hash
from openevolve_unified.errors import ConfigError
from openevolve_unified.plain.canonical import content_hash
from openevolve_unified.plain.locks import HeldElsewhereError, NoLocksError, take, wait_for

SPLITS = ("train", "validation", "test")
_FILES = (*(f"{split}.npy" for split in SPLITS), "tokenizer.json")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, eq=False)
class TokenData:
    """Tokenized text on disk, memory-mapped and read-only."""

    folder: Path
    """What another process passes to ``open_cached``."""
    fingerprint: str
    """SHA-256 of the content: equal fingerprints are equal tokens."""
    vocab_size: int
    """Entries that the tokenizer has; fewer than asked for if the text is small."""
    seq_len: int
    train: np.ndarray
    """(num_sequences, seq_len + 1) uint16: inputs are [:, :-1], targets are [:, 1:]."""
    validation: np.ndarray
    test: np.ndarray
    entropy_floor_nats: float | None
    """Stories only: the loss per token on ``validation`` of the true grammar; see ``floor``."""
    drift: dict[str, Any]
    """``validation`` and ``test`` against ``train``; see ``drift.check_drift``."""
    tokenizer_path: Path


class _Unusable(Exception):
    """A cache folder that cannot be trusted, and why."""


def prepare(
    config: DataConfig,
    base_dir: Path,
    progress: Callable[[str], None],
    min_train_sequences: int = 1,
) -> TokenData:
    """The tokenized data of ``config``: from the cache, or built now.

    Args:
        base_dir: what relative paths of the configuration are relative to.
        progress: called with one line of text per step, and when a cache had to be rebuilt.
        min_train_sequences: refuse a corpus with fewer; the size of one batch.

    Raises:
        ConfigError: no text, too little of it, no network, a full disk: one line that says what.
    """
    root = cache_root(config, base_dir)
    folder = root / _key(config, base_dir)
    try:
        data = _open(folder, verify=_checksum)
    except _Unusable:
        data = _build_alone(config, base_dir, folder, progress)
    if len(data.train) < min_train_sequences:
        raise ConfigError(
            f"scaling_law.data: got {len(data.train)} training sequences of {data.seq_len} tokens, "
            f"wanted at least one batch of {min_train_sequences}; use more text, a smaller "
            "scaling_law.data.seq_len or a smaller scaling_law.training.batch_size"
        )
    return data


def open_cached(folder: Path) -> TokenData:
    """Open what ``prepare`` made; checks sizes and headers, not the content.

    Raises:
        ConfigError: not a complete cache folder.
    """
    try:
        return _open(folder, verify=_size)
    except _Unusable as problem:
        raise ConfigError(
            f"data: the cached data in {folder} are damaged ({problem}); the next run of the "
            "command rebuilds them"
        ) from None


def _key(config: DataConfig, base_dir: Path) -> str:
    wanted = {
        "corpus": corpora.identify(config, base_dir),
        "vocab_size": config.vocab_size,
        "seq_len": config.seq_len,
        "max_train_sequences": config.max_train_sequences,
        "validation_sequences": config.validation_sequences,
        "test_sequences": config.test_sequences,
        "seed": config.seed,
        "code": code_hash(Path(__file__).parent),
        "tokenizers": importlib.metadata.version("tokenizers"),
    }
    return content_hash(wanted)[:32]


def cache_root(config: DataConfig, base_dir: Path) -> Path:
    """The folder that holds the cached data of these settings; it need not be there yet."""
    name = "scaling_law.data.cache_dir"
    if config.cache_dir is not None:
        return base_dir / user_path(config.cache_dir, name)
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(home, name) / "openevolve-unified"


def _build_alone(
    config: DataConfig, base_dir: Path, folder: Path, progress: Callable[[str], None]
) -> TokenData:
    """Build the folder, unless another process does meanwhile."""
    root = folder.parent
    with _disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with _lock(root / f".{folder.name}.lock", progress) as is_alone:
            try:
                return _open(folder, verify=_checksum)
            except _Unusable as problem:
                if folder.exists():
                    progress(f"the cached data in {folder} are damaged ({problem}); rebuilding")
            if is_alone:
                for stale in root.glob(f".{folder.name}.build-*"):
                    shutil.rmtree(stale, ignore_errors=True)
            _rebuild(config, base_dir, folder, progress)
        return _open(folder, verify=_size)


def _rebuild(
    config: DataConfig, base_dir: Path, folder: Path, progress: Callable[[str], None]
) -> None:
    """Build the folder aside and move it into place."""
    from openevolve_unified.data.build import build

    corpus = corpora.load(config, base_dir, progress)
    # Not tempfile.mkdtemp, whose folders no other user can read.
    aside = folder.parent / f".{folder.name}.build-{secrets.token_hex(8)}"
    aside.mkdir()
    try:
        built = build(config, corpus, aside, progress)
        meta = {
            "vocab_size": built.vocab_size,
            "seq_len": config.seq_len,
            "num_sequences": built.num_sequences,
            "entropy_floor_nats": built.entropy_floor_nats,
            "drift": built.drift,
            "files": {name: [_size(aside / name), _checksum(aside / name)] for name in _FILES},
        }
        meta["fingerprint"] = content_hash(meta)
        (aside / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        try:
            os.replace(aside, folder)
        except OSError as error:
            # Without locks another builder may have been first; what is there is the same.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open(folder: Path, verify: Callable[[Path], int | str]) -> TokenData:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        fingerprint = meta.pop("fingerprint")
        if content_hash(meta) != fingerprint:
            raise _Unusable("meta.json does not match its fingerprint")
        for name in _FILES:
            if verify(folder / name) not in meta["files"][name]:
                raise _Unusable(f"{name} is not what was written")
        rows = {split: _map_rows(folder / f"{split}.npy", meta, split) for split in SPLITS}
        return TokenData(
            folder=folder,
            fingerprint=fingerprint,
            vocab_size=meta["vocab_size"],
            seq_len=meta["seq_len"],
            **rows,
            entropy_floor_nats=meta["entropy_floor_nats"],
            drift=meta["drift"],
            tokenizer_path=folder / "tokenizer.json",
        )
    except PermissionError as error:
        raise ConfigError(
            f"scaling_law.data.cache_dir: cannot read the data in {folder}: {error.strerror}; ask "
            "its owner, or choose another folder with --set scaling_law.data.cache_dir=FOLDER"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unusable(f"{type(error).__name__}: {error}") from None


def _map_rows(path: Path, meta: dict[str, Any], split: str) -> np.ndarray:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    shape = (meta["num_sequences"][split], meta["seq_len"] + 1)
    if rows.shape != shape or rows.dtype != np.uint16:
        raise _Unusable(f"{path.name} holds {rows.dtype} {rows.shape}, wanted uint16 {shape}")
    return rows


def _size(path: Path) -> int:
    return path.stat().st_size


def _checksum(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(path: Path, progress: Callable[[str], None]) -> Iterator[bool]:
    """Hold ``path`` alone among all processes of this machine; the kernel frees it on death.

    False on a file system without locks: two processes may build at once, and the second one's work
    is lost.
    """
    is_alone = True
    with open(path, "a") as handle:
        try:
            take(handle, path)
        except HeldElsewhereError:
            progress("another process is preparing the same data; waiting for it")
            wait_for(handle, path)
        except NoLocksError:
            progress(f"{path.parent} has no file locks: another process may prepare the same data")
            is_alone = False
        yield is_alone


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
        raise ConfigError(
            f"scaling_law.data.cache_dir: cannot keep tokenized data in {root}: {reason}; free "
            "some space or choose another folder with --set scaling_law.data.cache_dir=FOLDER"
        ) from error
