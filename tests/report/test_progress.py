"""What a person is told while a run works."""

from __future__ import annotations

import io

from rich.console import Console

from openevolve_unified.report.console import Reporter


def test_a_notice_is_one_line_and_unknown_events_are_silent():
    output = io.StringIO()
    reporter = Reporter(Console(file=output))
    reporter({"kind": "notice", "message": "out of memory [1]: trying again"})
    reporter({"kind": "something else"})
    assert output.getvalue() == "note: out of memory [1]: trying again\n"
