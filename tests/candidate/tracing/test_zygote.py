"""The warm tracing process has imported all that its children need: some may import nothing."""

from __future__ import annotations

import subprocess
import sys

from openevolve_unified.candidate.tracing.inside import zygote

BODY = 'scores.masked_fill(~mask, float("-inf"))'
IN_PLACE = BODY.replace("masked_fill", "clone().masked_fill_")

SCRIPT = """
import sys
from openevolve_unified.candidate.tracing.inside import capture, zygote
from openevolve_unified.config.schema import GatesConfig, SizeConfig
zygote._warm_up()
ready = set(sys.modules)
for source in sys.argv[1:]:
    capture.capture(
        capture.CaptureRequest(
            source=source,
            framework="matrix_mixer",
            sizes=(SizeConfig(hidden_dim=8, num_layers=2, num_heads=2),),
            seq_len=16,
            seeds=(0, 1),
            gates=GatesConfig(),
            batch_size=4,
        )
    )
print(*sorted(set(sys.modules) - ready))
"""


def imported_while_tracing(*sources):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, *sources]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_tracing_imports_nothing_more_with_writes_in_place_and_without():
    assert BODY in zygote._WARM_UP_SOURCE
    in_place = zygote._WARM_UP_SOURCE.replace(BODY, IN_PLACE)
    assert imported_while_tracing(in_place, zygote._WARM_UP_SOURCE) == []
