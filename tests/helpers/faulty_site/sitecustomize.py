"""On the Python path of a Ray cluster, gives its workers the faults of ``faulty_worker``."""

from __future__ import annotations

import sys
from pathlib import Path

if any("default_worker" in argument for argument in sys.orig_argv):
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import faulty_worker

    faulty_worker.install()
