"""A prepared token cache is opened wherever it lies; only building one needs a place to write."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from openevolve_unified.config.schema import DataConfig
from openevolve_unified.data import prepare
from openevolve_unified.errors import ConfigError

SMALL = {
    "vocab_size": 300,
    "seq_len": 16,
    "num_documents": 300,
    "validation_sequences": 20,
    "test_sequences": 20,
    "cache_dir": "cache",
}
A_STRANGER = 54_321
"""A user id that no password file here knows."""
CHILD = """
    import os, sys
    from pathlib import Path
    from openevolve_unified.config.schema import DataConfig
    from openevolve_unified.data import cache, prepare
    from openevolve_unified.errors import ConfigError

    def fingerprint(**changes):
        settings = DataConfig(**SETTINGS | changes)
        try:
            return prepare(settings, place, lines.append).fingerprint
        except ConfigError as error:
            return f"ConfigError: {error}"

    place, lines = Path(sys.argv[1]), []
    cache.code_hash = lambda room: "what a stranger may not read"
    cache.importlib.metadata.version = lambda name: "nor that"
    built = fingerprint()
    WHAT_THE_FIRST_USER_DOES
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
"""


def config(**settings):
    return DataConfig(**SMALL | settings)


def run_child(folder, first="", then="", prefix=()):
    """What ``then`` prints as another user, after ``first`` as this one."""
    source = textwrap.dedent(CHILD).replace("SETTINGS", repr(SMALL))
    source = source.replace("STRANGER", str(A_STRANGER)).replace("WHAT_THE_FIRST_USER_DOES", first)
    arguments = [*prefix, sys.executable, "-c", source + then, str(folder)]
    finished = subprocess.run(arguments, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def can_mount():
    command = ["unshare", "--mount", "--propagation", "private", "true"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def shared_place():
    """A folder that every user of the machine can look into."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@needs_root
def test_the_cache_of_another_user_is_opened(shared_place):
    then = "print(fingerprint() == built and not built.startswith('ConfigError'))"
    assert run_child(shared_place, then=then) == "True"


@needs_root
def test_a_cache_that_cannot_be_read_is_not_called_damaged(shared_place):
    shut = "next(place.glob('cache/*')).chmod(0o700)"
    refusal = run_child(shared_place, shut, "del lines[:]; print(fingerprint(), lines)")
    assert refusal.startswith("ConfigError: scaling_law.data.cache_dir: cannot read the data in")
    assert "Permission denied" in refusal
    assert refusal.endswith("[]"), "nor is it announced that it would be rebuilt"


@needs_root
def test_a_cache_that_another_user_would_have_to_build_is_one_clear_line(shared_place):
    refusal = run_child(shared_place, then="print(fingerprint(seed=1))")
    assert refusal.startswith("ConfigError: scaling_law.data.cache_dir: cannot keep tokenized data")
    assert "Permission denied" in refusal
    assert "\n" not in refusal


READ_ONLY = """
mount -t tmpfs tmpfs "$0" && cp -a "$1/." "$0" && mount -o remount,ro "$0" || exit 9
shift
exec "$@"
"""
"""A file system of the test's own, in a namespace of its own: nothing else may become read-only."""


@pytest.mark.skipif(not can_mount(), reason="this user cannot mount")
def test_a_cache_on_a_read_only_mount_is_opened_and_a_missing_one_is_one_clear_line(tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (tmp_path / "own").mkdir()
    built = run_child(tmp_path / "own", "print(built); sys.exit()")
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY]
    prefix += [str(mounted), str(tmp_path / "own")]
    both = "print(built); print(fingerprint(seed=1)); sys.exit()"
    opened, refusal = run_child(mounted, both, prefix=prefix).splitlines()
    assert opened == built
    assert "Read-only file system" in refusal
    assert refusal.startswith("ConfigError: scaling_law.data.cache_dir: cannot keep")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_holds_a_cache(number, tmp_path, messages, monkeypatch):
    def refuse(handle, operation):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        built = prepare(config(), tmp_path, messages.append)
    assert any("has no file locks" in message for message in messages)
    assert prepare(config(), tmp_path, messages.append).fingerprint == built.fingerprint


def test_without_locks_the_builder_that_comes_second_uses_what_is_there(
    tmp_path, messages, monkeypatch
):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    replace = os.replace
    ends = []

    def meet(source, target):
        monkeypatch.setattr(os, "replace", replace)
        ends.append(prepare(config(), tmp_path, messages.append))
        replace(source, target)

    monkeypatch.setattr(os, "replace", meet)
    second = prepare(config(), tmp_path, messages.append)
    assert second.fingerprint == ends[0].fingerprint
    leftovers = [path for path in (tmp_path / "cache").iterdir() if ".build-" in path.name]
    assert leftovers == []


def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path, messages, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: A_STRANGER)
    with pytest.raises(ConfigError, match=r"cache_dir: got ~/\.cache, .* a home folder; set HOME"):
        prepare(config(cache_dir=None), tmp_path, messages.append)
    assert prepare(config(), tmp_path, messages.append).vocab_size == 300


def test_a_cache_folder_follows_the_umask(tmp_path, messages):
    folder = prepare(config(), tmp_path, messages.append).folder
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == Path(tmp_path / "plain").stat().st_mode
