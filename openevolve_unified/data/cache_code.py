"""Code of a token cache: which modules decide what is in it, so that other code makes another.

Every module of this room counts unless it is named as not deciding, so a new one counts until
someone says otherwise. The figures of ``drift`` and ``floor`` lie in the cache beside the tokens,
so they count too. Of a module the syntax counts, not its words: comments, layout and docstrings
change nothing. ``cache`` itself does not count: what it wrote is verified field by field when it is
read, and a folder of another format is rebuilt.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

NOT_DECIDING = ("__init__", "batches", "cache", "cache_code", "mqar", "small_set")
"""Modules of this room that only read a cache, or have no part in one."""


def code_hash(room: Path) -> str:
    """SHA-256 of the deciding modules in the folder ``room``, as this Python parses them."""
    digest = hashlib.sha256()
    for source in sorted(room.glob("*.py")):
        if source.stem not in NOT_DECIDING:
            tree = _WithoutWords().visit(ast.parse(source.read_bytes()))
            digest.update(f"{source.stem}: {ast.dump(tree)}\n".encode())
    return digest.hexdigest()


class _WithoutWords(ast.NodeTransformer):
    """Drops statements that are only a string."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node
