from __future__ import annotations

import subprocess
import sys

import pytest

from openevolve_unified.execution.open_files import MIN_OPEN_FILES

CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from openevolve_unified.errors import ConfigError
from openevolve_unified.execution.open_files import require_open_files
try:
    require_open_files()
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (32, 32, "may open only 32 files (ulimit -n), wanted 128 or more: raise the limit"),
        (MIN_OPEN_FILES, MIN_OPEN_FILES, f"{MIN_OPEN_FILES}\n"),
        (32, 1000, "1000\n"),
        (1024, 1024, "1024\n"),
    ],
    ids=["far too low", "just enough", "raised as far as allowed", "as usual"],
)
def test_a_low_limit_is_raised_where_it_may_be_and_refused_where_not(soft, hard, wanted):
    command = [sys.executable, "-c", CODE, str(soft), str(hard)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert wanted in output
    assert output.count("\n") == 1
