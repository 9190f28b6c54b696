"""A run's folder held against the run that its events tell of."""

from __future__ import annotations

import json
from pathlib import Path

from openevolve_unified.runs.event_log import read_events
from openevolve_unified.runs.proposals import ProposalLog
from openevolve_unified.runs.replay import Replay, replay


def replayed(folder: Path) -> Replay:
    """The run rebuilt from its events, which must say what its files say."""
    file = read_events(folder / "events.jsonl")
    assert (file.num_unknown, file.num_damaged) == (0, 0)
    run = replay(file.events)
    history = json.loads((folder / "fitness_history.json").read_text())
    assert run.entries == history["programs"]
    assert run.baseline is not None
    assert run.baseline["program"] == history["programs"][0]["program"]
    assert run.proposals == ProposalLog(folder).proposals
    assert run.plan == json.loads((folder / "plan.json").read_text())
    assert all(event.time is not None for event in file.events)
    return run
