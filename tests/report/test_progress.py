"""What a person is told while a run works."""

from __future__ import annotations

import io

from rich.console import Console

from openevolve_unified.report.console import Reporter
from openevolve_unified.runs.events import CandidateStarted, Notice


def test_a_notice_is_one_line_and_what_needs_no_line_is_silent():
    output = io.StringIO()
    reporter = Reporter(Console(file=output))
    reporter(Notice(message="out of memory [1]: trying again"))
    reporter(CandidateStarted(is_initial=False))
    assert output.getvalue() == "note: out of memory [1]: trying again\n"
