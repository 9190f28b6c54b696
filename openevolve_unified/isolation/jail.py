"""The jail around candidate code, which a process puts on itself in two steps.

    fresh child, scrubbed environment
      confine_zygote      before torch is imported: its own files, no network, no programs
      import torch, warm up
      fork per candidate
        confine_candidate   no fork, no thread, no file for writing, hard limits, a deadline
        candidate code

Each layer stands alone, so that a hole in one is covered by another: Landlock guards the files, a
system call filter everything else, resource limits the machine, and kernel timers the lifetime.
None needs privilege; root gives its powers up first. What a kernel does not offer is recorded in
the report, which travels with every result; whether that is enough is the caller's decision.

Not covered: that a path exists, its size and its times can be seen (``stat``); and side channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from openevolve_unified.isolation import allowed_calls, landlock, privileges, readable, seccomp
from openevolve_unified.isolation.landlock import OWN, READ, READ_WRITE_FILE, Grant
from openevolve_unified.isolation.report import IsolationReport, Limits, MissingLayer

_HIGHEST_DESCRIPTOR = 65_536
Step = tuple[str, Callable[[], object]]


def confine_zygote(
    scratch: Path | None, extra_readable: Sequence[Path], limits: Limits
) -> IsolationReport:
    """Confine this freshly started process; call it before torch is imported.

    It may still fork, and kill what it forked. Two things are its own business and its parent's: to
    be started with a scrubbed environment, and to end with its parent (``privileges.die_with``
    follows the thread that started it, which may be too short-lived).

    Args:
        scratch: the one folder that may be written; None: not even that.
        extra_readable: folders to read besides the interpreter, its packages and the loader's.

    Raises:
        ValueError: ``extra_readable`` names a folder that contains the user's home.
    """
    grants = [Grant(path, READ) for path in readable.for_zygote(extra_readable)]
    grants.append(Grant(Path(os.devnull), READ_WRITE_FILE))
    if scratch is not None:
        grants.append(Grant(scratch, OWN))
    return _apply(
        ("rlimits", lambda: _resources().bound_zygote(limits)),
        ("no_new_privs", privileges.forbid_new_privileges),
        ("capabilities", privileges.drop_capabilities_but_reading),
        ("landlock", lambda: landlock.restrict(grants)),
        ("seccomp", lambda: seccomp.install(allowed_calls.zygote_rules())),
    )


def confine_candidate(
    parent_pid: int, keep_open: Sequence[int], extra_readable: Sequence[Path], limits: Limits
) -> IsolationReport:
    """Confine this forked process for good; call it before the first line of candidate code.

    Where there is no Landlock, the filter refuses to open any file at all: what is not imported by
    then cannot be.

    Args:
        parent_pid: the zygote's, taken before the fork; this process dies with it.
        keep_open: descriptors that stay open, besides 0, 1 and 2.
        extra_readable: as for ``confine_zygote``.

    Raises:
        ValueError: ``extra_readable`` names a folder that contains the user's home.
    """
    _close_all_but({0, 1, 2, *keep_open})
    grants = [Grant(path, READ) for path in readable.for_candidate(extra_readable)]
    before = _apply(
        ("parent_death", lambda: privileges.die_with(parent_pid)),
        ("deadline", lambda: _resources().arm_deadline(limits.wall_s)),
        ("rlimits", lambda: _resources().bound_candidate(limits)),
        ("no_new_privs", privileges.forbid_new_privileges),
        ("capabilities", privileges.drop_all_capabilities),
        ("not_dumpable", privileges.hide_from_other_processes),
        ("landlock", lambda: landlock.restrict(grants)),
    )
    if "landlock" in before.layers:
        rules = allowed_calls.candidate_rules()
    else:
        rules = allowed_calls.sealed_candidate_rules()
    after = _apply(("seccomp", lambda: seccomp.install(rules)))
    return IsolationReport(
        layers=before.layers + after.layers, missing=before.missing + after.missing
    )


def _apply(*steps: Step) -> IsolationReport:
    layers: list[str] = []
    missing: list[MissingLayer] = []
    for name, step in steps:
        try:
            step()
        except (OSError, ValueError, ImportError, AttributeError) as error:
            # A kernel, a container or a system without this layer: each says so in its own way.
            missing.append(MissingLayer(name, str(error)))
        else:
            layers.append(name)
    return IsolationReport(layers=tuple(layers), missing=tuple(missing))


def _close_all_but(kept: set[int]) -> None:
    """Close inherited descriptors: an open one is a way past every rule about paths."""
    start = 0
    for descriptor in [*sorted(kept), _HIGHEST_DESCRIPTOR]:
        # CPython hands the empty range (0, 0) to close_range as (0, -1): everything.
        if start < descriptor:
            os.closerange(start, descriptor)
        start = descriptor + 1


def _resources() -> ModuleType:
    """Imported late: Windows has no ``resource`` module, and there the report says so."""
    from openevolve_unified.isolation import resources

    return resources
