"""Readable files of the tracing processes: the interpreter, its packages, the dynamic loader's.

Folders are named one by one, never a whole prefix: a virtual environment may lie in the user's
home, and ``sys.path`` may contain the folder that the user happened to stand in.
"""

from __future__ import annotations

import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_LOADER = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/usr/local/cuda/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache",
)  # fmt: skip
_LOCALE = ("/usr/share/zoneinfo", "/etc/localtime", "/usr/share/locale")
# OpenSSL refuses to load, and with it Python's ssl, when its configuration is unreadable.
_SETTINGS = (
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies",
    "/etc/nsswitch.conf",
)  # fmt: skip
_RANDOM = ("/dev/urandom", "/dev/random", "/dev/zero")
_PROCESSORS = (
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu", "/sys/devices/system/node",
)  # fmt: skip


def for_candidate(extra: Iterable[Path] = ()) -> list[Path]:
    """What a traced candidate may read: code and libraries, nothing about processes or the user.

    Args:
        extra: more folders, for example those of ``package_folder``.

    Raises:
        ValueError: a folder of ``extra`` is the user's home or contains it.
    """
    paths = [*interpreter_folders(), *_paths(_LOADER), *_paths(_LOCALE), *_paths(_RANDOM)]
    for folder in extra:
        if _contains_home(folder):
            raise ValueError(f"{folder}: contains the user's home, which a candidate may not read")
        paths.append(folder)
    return paths


def for_zygote(extra: Iterable[Path] = ()) -> list[Path]:
    """What the process that imports torch may read besides: its processors and its own entry."""
    return [*for_candidate(extra), *_paths(_SETTINGS), *_paths(_PROCESSORS)]


def interpreter_folders() -> list[Path]:
    """The standard library, the installed packages, and the interpreter's own shared library."""
    found = [Path(path) for path in _named_by_sysconfig()]
    found += map(Path, site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.append(Path(site.getusersitepackages()))
    entries = [Path(entry) for entry in sys.path if entry]
    found += [entry for entry in entries if entry.name in _PACKAGE_FOLDERS]
    found += [entry for entry in entries if entry.suffix == ".zip"]
    unique = dict.fromkeys(Path(os.path.realpath(path)) for path in found)
    return [path for path in unique if not _contains_home(path)]


def package_folder(name: str) -> Path:
    """The folder of an installed package, without importing it; for packages installed in place.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {name}", name=name)
    return Path(spec.origin).resolve().parent


def _named_by_sysconfig() -> Iterable[str]:
    paths = sysconfig.get_paths()
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield paths[key]
    # Where libpython and, under conda, all shared libraries are; sys.base_prefix can be moved
    # after the build, LIBDIR cannot.
    yield os.path.join(sys.base_prefix, "lib")
    library_folder = sysconfig.get_config_var("LIBDIR")
    if library_folder:
        yield library_folder


def _contains_home(folder: Path) -> bool:
    """True for the user's home and its ancestors, whatever ``HOME`` says."""
    resolved = Path(os.path.realpath(folder))
    return any(home.is_relative_to(resolved) for home in _homes())


def _homes() -> list[Path]:
    homes = [Path(os.environ["HOME"])] if os.environ.get("HOME") else []
    try:
        import pwd

        homes.append(Path(pwd.getpwuid(os.getuid()).pw_dir))
    except (ImportError, KeyError):
        pass  # not a Unix, or a user without an entry, as in many containers
    return [Path(os.path.realpath(home)) for home in homes]


def _paths(names: Iterable[str]) -> list[Path]:
    return [Path(name) for name in names]
