"""Files by content: used where they are the same, kept whole where they are not, never trusted."""

from __future__ import annotations

import json

import pytest

from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.cluster import node as ray_node
from openevolve_unified.execution.cluster.bundles import BundleFile, describe, find, keep
from openevolve_unified.store import Store

CONTENT = {"meta.json": b"{}", "train.npy": bytes(range(256))}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "driver" / "data"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


def parts_of(name):
    return (CONTENT[name][start : start + 100] for start in range(0, len(CONTENT[name]), 100))


def test_a_machine_that_shows_the_same_bytes_uses_them_where_they_are(data, tmp_path):
    bundle = describe(data)
    assert find(bundle, tmp_path / "node", may_share=True) == data
    assert find(bundle, tmp_path / "node", may_share=False) is None
    (data / "train.npy").write_bytes(bytes(256))
    assert find(bundle, tmp_path / "node", may_share=True) is None, "other bytes at the same path"


def test_a_copy_is_kept_found_again_and_replaced_when_damaged(data, tmp_path):
    bundle, node = describe(data), tmp_path / "node"
    place = keep(bundle, node, parts_of)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == CONTENT
    assert find(bundle, node, may_share=False) == place
    (place / "train.npy").write_bytes(b"damaged")
    assert find(bundle, node, may_share=False) is None
    assert keep(bundle, node, parts_of) == place
    assert (place / "train.npy").read_bytes() == CONTENT["train.npy"]
    assert [path.name for path in (node / "bundles").iterdir()] == [bundle.key], "nothing beside it"


def test_a_single_file_is_a_bundle_with_its_name(data, tmp_path):
    bundle = describe(data / "meta.json")
    assert keep(bundle, tmp_path / "node", parts_of).name == "meta.json"
    assert find(bundle, tmp_path / "other", may_share=True) == data / "meta.json"


def test_bytes_that_are_not_those_of_the_bundle_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="is not what was sent"):
        keep(describe(data), tmp_path / "node", lambda name: [b"something else"])


def test_a_file_name_cannot_leave_the_folder():
    with pytest.raises(ValueError, match="wanted one without folders"):
        BundleFile(name="../escape", num_bytes=0, sha256="")


def test_a_folder_that_cannot_be_written_is_one_clear_line(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set OPENEVOLVE_UNIFIED_NODE_DIR"):
        keep(describe(data), tmp_path / "file", parts_of)


def answers(versions):
    request = {
        "function": "execution.tasks.echo",
        "arguments": {},
        "bundles": {},
        "versions": versions,
    }
    return [json.loads(text) for text in ray_node.serve(json.dumps(request), {})]


def test_a_node_with_other_versions_is_refused():
    ours = ray_node.versions()
    assert "pid" in answers(ours)[-1]["result"]
    (answer,) = answers(ours | {"torch": "1.0"})
    assert f"got torch {ours['torch']}, wanted 1.0" in answer["config_error"]
    assert "install the same versions on every node" in answer["config_error"]


@pytest.mark.parametrize(
    ("needs_store", "shares", "is_refused"),
    [
        (True, False, True),
        (True, True, False),
        (False, False, False),
    ],
)
def test_a_node_without_the_store_refuses_what_must_be_left_there(
    tmp_path, monkeypatch, needs_store, shares, is_refused
):
    monkeypatch.delenv("OPENEVOLVE_UNIFIED_NODE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(tmp_path / "store")
    identity = ray_node.store_identity(store)
    request = {
        "function": "execution.tasks.echo",
        "arguments": {"store": str(store.root)},
        "bundles": {},
        "versions": ray_node.versions(),
        "store_identity": identity if shares else "another",
        "needs_store": needs_store,
    }
    *_, answer = [json.loads(text) for text in ray_node.serve(json.dumps(request), {})]
    assert ("does not see the store" in answer.get("config_error", "")) == is_refused
    assert ("result" in answer) != is_refused
