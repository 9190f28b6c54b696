"""Kept weights: which trained weights of a shared store a run wants, and when they may go.

A claim is an empty file ``weight_claims/RUN/PROGRAM/KEY`` in the store, made before the job is
trained. A run withdraws its own claims only, and weights go with the last claim on them, before it:
whatever kills a run leaves claims too many and never one too few. All of it is done under one lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from openevolve_unified.plain.files import disk_errors, write_text
from openevolve_unified.plain.locks import locked
from openevolve_unified.store import Store


class KeptWeights:
    """The claims of the run in the folder ``run_folder``.

    Args:
        run_folder: carries the run's name in the store in ``weights_claim``, so that it is kept
            when the folder is moved, and another run there has another one.
    """

    def __init__(self, store: Store, run_folder: Path):
        self._store = store
        self._root = store.root / "weight_claims"
        self._name_path = run_folder / "weights_claim"

    def claim(self, program: str, keys: Iterable[str]) -> None:
        """Keep the weights of these jobs, trained or not yet, for ``program``.

        Raises:
            ConfigError: the store or the run's folder cannot be written.
        """
        with self._lock():
            folder = self._run() / program
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for key in keys:
                    (folder / key).touch()

    def withdraw_others(self, judged: Iterable[str], wanted: Iterable[str]) -> None:
        """Withdraw the claims for programs that were ``judged`` and are not ``wanted``.

        Raises:
            ConfigError: the store cannot be written.
        """
        with self._lock():
            for program in set(judged) - set(wanted):
                folder = self._run() / program
                if folder.is_dir():
                    with disk_errors(folder):
                        self._withdraw(folder)

    def lacking(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` whose weights are not in the store."""
        return [key for key in keys if not self._path(key).exists()]

    def _withdraw(self, folder: Path) -> None:
        for own in folder.iterdir():
            claims = self._root.glob(f"*/*/{own.name}")
            if all(claim == own for claim in claims):
                self._path(own.name).unlink(missing_ok=True)
            own.unlink()
        folder.rmdir()

    def _path(self, key: str) -> Path:
        return self._store.path("weights", key, ".safetensors")

    def _run(self) -> Path:
        """The folder of this run's claims; under the lock."""
        try:
            name = self._name_path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            name = ""
        if not name:
            name = os.urandom(8).hex()
            write_text(self._name_path, name + "\n")
        return self._root / name

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self._root / ".lock")
