"""OpenEvolve's visualiser as a reader: what ``scripts/visualizer.py`` of its repository and the
scripts of its page take from a run's folder. It is not in the wheel, so its layout is held here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def strict_json(path: Path) -> Any:
    """The file as a browser would read it: NaN and Infinity are errors there."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{path.name} has {word}, which no browser reads")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def newest_checkpoint(folder: Path) -> Path:
    """The one that it opens: whatever is called ``checkpoint_*`` below the folder, and newest."""
    return max(folder.rglob("checkpoint_*"), key=lambda path: path.stat().st_mtime)


def drawn(folder: Path) -> dict[str, Any]:
    """What its page draws of a run: ``nodes``, ``edges`` from parent to child, ``archive``.

    A program that is in several islands is drawn in each, the later ones as ``ID-copyN``.
    """
    checkpoint = newest_checkpoint(folder)
    metadata = strict_json(checkpoint / "metadata.json")
    nodes: dict[str, dict[str, Any]] = {}
    for island, members in enumerate(metadata["islands"]):
        for name in members:
            shown, copy = name, 0
            while shown in nodes:
                copy += 1
                shown = f"{name}-copy{copy}"
            program = strict_json(checkpoint / "programs" / f"{name}.json")
            nodes[shown] = {**program, "id": shown, "island": island}
    edges = [
        (node["parent_id"], name) for name, node in nodes.items() if node["parent_id"] in nodes
    ]
    return {"nodes": nodes, "edges": edges, "archive": metadata["archive"]}


def complaints(folder: Path) -> list[str]:
    """What its page could not draw or show, a line each."""
    found = []
    page = drawn(folder)
    for name, node in page["nodes"].items():
        wanted = {"code": str, "generation": int, "metrics": dict, "metadata": dict}
        for key, kind in wanted.items():
            if not isinstance(node.get(key), kind):
                found.append(f"{name}: {key} is {node.get(key)!r}, wanted {kind.__name__}")
        for metric, value in node["metrics"].items():
            if not isinstance(value, (int, float)):
                found.append(f"{name}: metric {metric} is {value!r}, drawn as missing")
        if "error" in node["metrics"]:
            found.append(f"{name}: has a metric called error, so it is drawn as failed")
        if next(iter(node["metrics"]), None) != "combined_score":
            found.append(f"{name}: the first metric, which is drawn, is not combined_score")
        if "</script" in json.dumps(node):
            found.append(f"{name}: ends the script of a static page")
    return found + [
        f"archive: no program {one}" for one in page["archive"] if one not in page["nodes"]
    ]
