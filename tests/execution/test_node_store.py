"""A node's store: the driver's where it sees it, else one of its own in this release's format."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.execution.cluster import node as ray_node
from openevolve_unified.store import MARKER, Store, open_store

KEY = "ab" + "0" * 62


@pytest.fixture
def drivers(tmp_path):
    return open_store(tmp_path / "driver")


def messages_of(store):
    """What a node sends back that is asked to echo its arguments, one of them this store."""
    request = {
        "function": "execution.tasks.echo",
        "arguments": {"store": str(store.root)},
        "bundles": {},
        "versions": ray_node.versions(),
        "store_identity": ray_node.store_identity(store),
        "needs_store": False,
    }
    return [json.loads(message) for message in ray_node.serve(json.dumps(request), {})]


def test_a_node_that_sees_the_drivers_store_uses_it(drivers, monkeypatch):
    monkeypatch.delenv(ray_node.NODE_DIR_VARIABLE, raising=False)
    assert messages_of(drivers)[-1]["result"]["arguments"] == {"store": str(drivers.root)}


def test_a_nodes_own_store_leaves_an_earlier_releases_records_alone(drivers, monkeypatch, tmp_path):
    monkeypatch.setenv(ray_node.NODE_DIR_VARIABLE, str(tmp_path / "node"))
    earlier = Store(tmp_path / "node" / "store")
    earlier.put("runs", KEY, {"loss": 1.25})
    own = open_store(tmp_path / "node" / "store").root
    assert messages_of(drivers)[-1]["result"]["arguments"] == {"store": str(own)}
    assert Store(own).get("runs", KEY) is None
    assert earlier.get("runs", KEY) == {"loss": 1.25}


def test_a_nodes_store_of_a_later_release_is_one_line(drivers, monkeypatch, tmp_path):
    monkeypatch.setenv(ray_node.NODE_DIR_VARIABLE, str(tmp_path / "node"))
    (tmp_path / "node" / "store").mkdir(parents=True)
    (tmp_path / "node" / "store" / MARKER).write_text('{"format": 99}')
    ((refusal,),) = [message.values() for message in messages_of(drivers)]
    assert "Ray node " in refusal
    assert "has format 99, of a later release" in refusal
