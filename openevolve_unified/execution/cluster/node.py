"""A task as it runs on a node of a Ray cluster, beside the files of that node.

Only text and bytes cross the border: a request in JSON, messages in JSON back, files by content.
A node that shows the driver's store uses it like a local worker; any other has a store of its own
in its folder, with its own checkpoints and records, and the driver stores what comes back.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import queue
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openevolve_unified.config.user_path import user_path
from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.cluster.bundles import Bundle, find, keep
from openevolve_unified.execution.environment import secret_names
from openevolve_unified.execution.outcome import perform
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.store import Store, open_store

NODE_DIR_VARIABLE = "OPENEVOLVE_UNIFIED_NODE_DIR"
"""Set on a node: keep copies of everything there, and do not look at the driver's paths."""
Parts = dict[str, dict[str, list[Any]]]
"""By bundle and file name: references to the parts of a file in Ray's object store."""
_PACKAGES = ("openevolve-unified", "torch")


def versions() -> dict[str, str]:
    """What must be the same on every node for the same results."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def serve(request_text: str, parts: Parts) -> Iterator[str]:
    """Run one task; yields JSON messages: events, and last how it ended.

    ``{"missing": [bundle keys]}`` ends a request whose files are not here; it is sent again with
    their parts.
    """
    for name in secret_names(os.environ):
        del os.environ[name]
    request = json.loads(request_text)
    function = request["function"]  # here, because an error in the thread below reaches nobody
    try:
        _require_same_versions(request["versions"])
        arguments, missing = _localise(request, parts)
    except ConfigError as error:
        yield json.dumps({"config_error": f"Ray node {socket.gethostname()}: {error}"})
        return
    if missing:
        yield json.dumps({"missing": missing})
        return
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def work() -> None:
        messages.put(perform(function, arguments, lambda event: messages.put({"event": event})))

    threading.Thread(target=work, name="task", daemon=True).start()
    while True:
        message = messages.get()
        yield json.dumps(message, allow_nan=False)
        if "event" not in message:
            return


def store_identity(store: Store) -> str:
    """A name that the store carries in itself, so that a node can tell whether it sees it."""
    record = store.get("identity", "store")
    if record is None:
        with store.lock("identity", "store"):
            record = store.get("identity", "store")
            if record is None:
                record = {"identity": os.urandom(16).hex()}
                store.put("identity", "store", record)
    return record["identity"]


def _require_same_versions(wanted: dict[str, str]) -> None:
    for name, version in versions().items():
        if version != wanted[name]:
            raise ConfigError(
                f"got {name} {version}, wanted {wanted[name]} as on the machine that started the "
                "run; install the same versions on every node"
            )


def _localise(request: dict[str, Any], parts: Parts) -> tuple[dict[str, Any], list[str]]:
    """The arguments with this node's paths, and the keys of the bundles that are not here."""
    own_root, may_share = _own_root()
    arguments, missing = dict(request["arguments"]), []
    for name, described in request["bundles"].items():
        bundle = from_mapping(Bundle, described, "bundle")
        place = find(bundle, own_root, may_share)
        if place is None and bundle.key in parts:
            place = keep(bundle, own_root, functools.partial(_fetch, parts[bundle.key]))
        if place is None:
            missing.append(bundle.key)
        arguments[name] = str(place)
    if "store" in arguments:
        shared = Store(Path(arguments["store"])).get("identity", "store") if may_share else None
        if shared is None or shared["identity"] != request["store_identity"]:
            if request["needs_store"]:
                raise ConfigError(
                    "it does not see the store, in which weights are to be kept; wanted a "
                    "scaling_law.execution.store_dir that all nodes share, or keep_weights: none"
                )
            arguments["store"] = str(open_store(own_root / "store").root)
    return arguments, missing


def _own_root() -> tuple[Path, bool]:
    configured = os.environ.get(NODE_DIR_VARIABLE)
    if configured:
        return user_path(configured, NODE_DIR_VARIABLE), False
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(home, NODE_DIR_VARIABLE) / "openevolve-unified" / "node", True


def _fetch(parts: dict[str, list[Any]], name: str) -> Iterable[bytes]:
    import ray

    return (ray.get(reference) for reference in parts[name])
