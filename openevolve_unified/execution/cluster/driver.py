"""The process that talks to Ray for one evaluator, started by ``execution.cluster.pool``.

Ray changes the process it lives in: threads that do not survive a fork, signal handlers, an exit
hook. Here it may, and a kill of this process ends everything that was started for it. The evaluator
sends JSON lines: the settings, then ``{"tasks": [...]}``, ``{"cancel": true}`` or
``{"end": true}``; answers are ``{"index": i, "message": ...}`` and, at the end of the tasks or
after a cancel, ``{"done": true}``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.backlog import Backlog, Loss
from openevolve_unified.execution.channel import Channel
from openevolve_unified.execution.cluster import node as ray_node
from openevolve_unified.execution.cluster.bundles import Bundle, describe
from openevolve_unified.execution.cluster.claims import claim, keep, stored
from openevolve_unified.execution.environment import ONE_THREAD
from openevolve_unified.execution.executor import Task
from openevolve_unified.execution.lifetime import end_session_with_me, end_with_parent
from openevolve_unified.execution.memory import available_bytes
from openevolve_unified.execution.outcome import LOST, OUT_OF_MEMORY
from openevolve_unified.plain.canonical import to_plain
from openevolve_unified.plain.strict import from_mapping
from openevolve_unified.store import Store

MAX_ATTEMPTS = 4
"""Nodes of a cluster come and go, so a task is tried more often than on one machine."""
POLL_S = 0.1
CONNECT_S = 10.0
PROBE_S = 20.0
"""Longest wait for the nodes to say how much memory they have."""
PART_BYTES = 64 << 20
MAX_BUNDLES = 8
"""Whose bytes stay in Ray's object store: the data, and a few traced programs."""
LOCAL_OBJECT_STORE_BYTES = 256 << 20
"""A Ray of our own shares this machine's files, so nothing large goes through its memory."""


class _Cancelled(Exception):
    """The evaluator wants no more of these tasks."""


def main() -> None:
    """Connect, then serve until the evaluator closes the channel or dies."""
    end_session_with_me()  # a worker that Ray is just starting outlives Ray, for over 30 s
    end_with_parent()
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    settings = channel.receive()
    if settings is None:
        return
    try:
        _connect(settings)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        channel.send({"unreachable": f"{type(error).__name__}: {' '.join(str(error).split())}"})
        return
    channel.send({"nodes": _nodes()})
    driver = _Driver(channel, settings["gpus_per_job"])
    while (request := channel.receive()) is not None:
        if "tasks" in request:
            tasks = [from_mapping(Task, task, "task") for task in request["tasks"]]
            driver.run(tasks, request["max_at_once"])
            channel.send({"done": True})
        elif "end" in request:
            break
    ray.shutdown()


def _connect(settings: dict[str, Any]) -> None:
    """Join the cluster at ``address``, or start a Ray of our own on this machine."""
    hidden = dict.fromkeys(settings["secret_names"], "")
    environment = {**hidden, **ONE_THREAD}
    address = settings["address"]
    if address not in (None, "auto"):
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), CONNECT_S).close()  # Ray asks for 90 s
    own = {"num_cpus": settings["num_cpus"], "object_store_memory": LOCAL_OBJECT_STORE_BYTES}
    ray.init(
        address=address or "local",
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": environment},
        **({} if address else own),
    )


def _nodes() -> list[dict[str, Any]]:
    """The living nodes: their cores and GPUs as Ray counts them, and the memory they have left."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    ask = ray.remote(available_bytes)
    answers = [
        ask.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote()
        for node in nodes
    ]
    ready, late = ray.wait(answers, num_returns=len(answers), timeout=PROBE_S)
    for answer in late:
        ray.cancel(answer, force=True)
    return [
        {
            "num_cpus": node["Resources"].get("CPU", 0.0),
            "num_gpus": node["Resources"].get("GPU", 0.0),
            "available_bytes": _value(answer) if answer in ready else None,
        }
        for node, answer in zip(nodes, answers, strict=True)
    ]


def _value(answer: Any) -> int | None:
    try:
        return ray.get(answer)
    except RayError:  # the node is lost or has no package: its tasks will say so
        return None


class _Driver:
    """Runs tasks on the cluster that this process is connected to."""

    def __init__(self, channel: Channel, gpus_per_job: float):
        self._channel = channel
        self._gpus_per_job = gpus_per_job
        self._on_cpu = ray.remote(ray_node.serve)
        # Ray names a process's GPU task by task, CUDA heeds only the first; and what a process
        # holds of a GPU it holds while it waits for its next task.
        self._on_gpu = ray.remote(max_calls=1)(ray_node.serve)
        self._parts: dict[str, dict[str, list[Any]]] = {}

    def run(self, tasks: list[Task], max_at_once: int) -> None:
        """Run the tasks; report how each ends. A cancel kills what is busy and returns."""
        backlog = Backlog(tasks, max_at_once, MAX_ATTEMPTS)
        streams: dict[Any, int] = {}
        claims: dict[int, contextlib.ExitStack] = {}
        try:
            while not backlog.is_done:
                self._require_wanted()
                self._start(backlog, streams, claims)
                for stream in _ready(streams):
                    message = _next_message(stream)
                    if "event" in message:
                        self._channel.send({"index": streams[stream], "message": message})
                        continue
                    index = streams.pop(stream)
                    if "missing" in message:
                        streams[self._submit(tasks[index], message["missing"])] = index
                        continue
                    loss = Loss.told_by(message)
                    if loss is not None:
                        self._put_back(backlog, index, tasks[index], loss)
                    else:
                        backlog.finish(index)
                        if "result" in message:
                            keep(tasks[index], message["result"])
                        self._channel.send({"index": index, "message": message})
                    claims.pop(index).close()
        except _Cancelled:
            return
        except ConfigError as error:  # the store cannot be written
            self._channel.send({"index": 0, "message": {"config_error": str(error)}})
        finally:
            for stream in streams:
                ray.cancel(stream, force=True)
            for claimed in claims.values():
                claimed.close()

    def _start(
        self,
        backlog: Backlog,
        streams: dict[Any, int],
        claims: dict[int, contextlib.ExitStack],
    ) -> None:
        """Start tasks until enough of them run.

        What another driver is at is postponed; once that one has stored the record, it is sent.

        Raises:
            ConfigError: the store cannot be written.
        """
        for _ in range(backlog.num_waiting):
            started = backlog.start()
            if started is None:
                return
            index, task = started
            claimed = claim(task)
            if claimed is None:
                backlog.postpone(index)
                continue
            known = stored(task)
            if known is not None:
                claimed.close()
                backlog.finish(index)
                self._channel.send({"index": index, "message": {"result": known}})
                continue
            claims[index] = claimed
            streams[self._submit(task)] = index

    def _put_back(self, backlog: Backlog, index: int, task: Task, loss: Loss) -> None:
        notice = backlog.put_back(index, loss)
        if notice is None:
            text = f"the worker of task '{task.title}' {loss.cause}, {MAX_ATTEMPTS} times"
            self._channel.send({"index": index, "message": {"died": text}})
        else:
            self._channel.send({"index": index, "message": {"event": notice}})

    def _require_wanted(self) -> None:
        """Raises ``_Cancelled`` when the evaluator says so."""
        messages, is_open = self._channel.receive_waiting()
        if not is_open:
            os._exit(0)  # the guardian of a Ray of our own, or the cluster, ends the rest
        if messages:
            raise _Cancelled

    def _submit(self, task: Task, missing: Sequence[str] = ()) -> Any:
        """Start the task; the stream of its messages.

        Args:
            missing: keys of bundles that a node asked for; what was put once is always sent along.
        """
        bundles = {name: describe(Path(task.arguments[name])) for name in task.files}
        request: dict[str, Any] = {
            "function": task.function,
            "arguments": task.arguments,
            "bundles": to_plain(bundles),
            "versions": ray_node.versions(),
        }
        if "store" in task.arguments:
            store = Store(Path(task.arguments["store"]))
            request["store_identity"] = ray_node.store_identity(store)
            request["needs_store"] = task.needs_store
        parts = {
            bundle.key: self._put(bundle)
            for bundle in bundles.values()
            if bundle.key in missing or bundle.key in self._parts
        }
        function = (self._on_gpu if task.needs_gpu else self._on_cpu).options(
            num_cpus=1,
            num_gpus=self._gpus_per_job if task.needs_gpu else 0,
            max_retries=0,
            num_returns="streaming",
            name=task.title,
        )
        return function.remote(json.dumps(request), parts)

    def _put(self, bundle: Bundle) -> dict[str, list[Any]]:
        """References to the bundle's bytes, put into Ray's object store once."""
        parts = self._parts.pop(bundle.key, None)
        if parts is None:
            source = Path(bundle.path)
            folder = source if bundle.is_folder else source.parent
            parts = {
                file.name: [ray.put(part) for part in _read(folder / file.name)]
                for file in bundle.files
            }
        self._parts[bundle.key] = parts
        while len(self._parts) > MAX_BUNDLES:
            del self._parts[next(iter(self._parts))]  # the one that was used longest ago
        return parts


def _ready(streams: dict[Any, int]) -> list[Any]:
    """A stream that has something to say, after a short while at most."""
    if not streams:
        time.sleep(POLL_S)
        return []
    return ray.wait(list(streams), timeout=POLL_S, fetch_local=False)[0]


def _next_message(stream: Any) -> dict[str, Any]:
    """What the task says next; ``lost`` or a lack of memory when Ray says that it says no more."""
    try:
        return json.loads(ray.get(next(stream)))
    except StopIteration:
        return {LOST: "its stream ended without a result"}
    except OutOfMemoryError as error:
        return {OUT_OF_MEMORY: _first_line(error)}
    except RayTaskError as error:
        if "No module named 'openevolve_unified'" in str(error):
            return {"config_error": "a Ray node has no openevolve-unified; install it on all nodes"}
        return {"crash": str(error)}
    except RayError as error:
        return {LOST: f"{type(error).__name__}: {_first_line(error)}"}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as handle:
        while part := handle.read(PART_BYTES):
            yield part


if __name__ == "__main__":
    main()
