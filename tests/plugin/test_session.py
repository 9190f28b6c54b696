"""The command's own lines: how to continue, and what it needs before it starts."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from openevolve_unified.errors import ConfigError, MachineError
from openevolve_unified.judgement.race import RaceRule
from openevolve_unified.plugin import session
from openevolve_unified.plugin.session import require_api_keys, resume_hint, run_session
from openevolve_unified.records import Failure, Program
from openevolve_unified.runs.event_log import EventLog, read_events
from openevolve_unified.runs.events import Notice

KEY = "sk-planted"
QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@pytest.mark.parametrize(
    "override",
    [
        f"llm.api_key={KEY}",
        f"llm.api_key='{KEY}'",
        f"llm.models=[{{name: a, api_key: {KEY}}}]",
        f"llm={{api_key: {KEY}, models: [{{name: a}}]}}",
        f"llm.models=[{{api_key: {KEY}",
        f"llm.api_key=@{KEY}",
    ],
)
def test_a_literal_key_is_never_printed(override):
    hint = resume_hint(Path("x.yaml"), [override, "max_iterations=3"], None)
    assert KEY not in hint
    assert "(hidden)" in hint
    assert hint.startswith("put your key where (hidden) stands, then continue with: ")
    words = shlex.split(hint.partition("continue with: ")[2])
    assert words[:4] == ["openevolve", "x.yaml", "--resume", "--set"]
    assert words[-1] == "max_iterations=3"


@pytest.mark.parametrize(
    "override", ["llm.api_key=${SOME_KEY}", "llm.models=[{name: a, weight: 1.0}]", "a.b={x: 1}"]
)
def test_what_holds_no_key_is_printed_as_it_was_typed(override):
    hint = resume_hint(Path("with space.yaml"), [override], Path("out"))
    words = shlex.split(hint.removeprefix("continue with: "))
    assert words == [
        *("openevolve", "with space.yaml", "--resume"),
        *("--output", "out", "--set", override),
    ]


def experiment(**llm):
    return SimpleNamespace(mapping={"llm": {"models": [{"name": "m"}], **llm}})


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/v1",
        "http://127.0.0.1:1/v1",
        "http://192.168.1.7:8000",
        "http://gpu:1",
    ],
)
@pytest.mark.parametrize(
    ("llm", "name"), [({}, "OPENAI_API_KEY"), ({"api_key": "${MY_KEY}"}, "MY_KEY")]
)
def test_for_a_local_server_any_text_will_do(address, llm, name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="any text will do") as caught:
        require_api_keys(experiment(api_base=address, **llm))
    assert f"export {name}=none" in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv(name, "none")
    require_api_keys(experiment(api_base=address, **llm))


@pytest.mark.parametrize("llm", [{}, {"api_base": "https://api.example.com/v1"}])
def test_for_a_server_elsewhere_a_key_is_needed(llm, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY in the environment") as caught:
        require_api_keys(experiment(**llm))
    assert "any text" not in str(caught.value)


def test_every_model_needs_a_key_of_its_own_or_the_shared_one(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    models = [{"name": "a", "api_key": "literal"}, {"name": "b"}]
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        require_api_keys(experiment(models=models))
    require_api_keys(experiment(models=models, api_key="literal"))
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        require_api_keys(SimpleNamespace(mapping={"llm": {"primary_model": "m"}}))
    require_api_keys(experiment(provider="claude_code"))


LOSSES = ("is_worker_lost", "is_machine_failing", "is_model_dead")


@pytest.mark.parametrize("loss", [*LOSSES, None])
def test_a_run_that_lost_what_it_needs_says_how_to_continue(loss, tmp_path, monkeypatch, capsys):
    accounts = SimpleNamespace(**{name: name == loss for name in LOSSES}, has_nothing=False)
    run = SimpleNamespace(
        is_interrupted=False, config_error=None, stop_reason="it was enough", accounts=accounts
    )
    monkeypatch.setattr(session, "_plan_and_evolve", lambda *arguments: run)
    status = run_session(config=QUICKSTART, overrides=[], output=tmp_path / "out", resume=False)
    said = capsys.readouterr().out
    assert "stopped early: it was enough" in said
    assert ("continue with: openevolve" in said) == (loss is not None)
    assert status == (2 if loss else 0)


class Evaluator:
    """Stands in for the evaluator: its plan is ``plan`` or raises it, and its machine is broken."""

    plan_is: object = None
    race_is: object = None
    pipeline: object = None

    def __init__(self, *, config, listener, log):
        self.experiment, self.log = config, log

    def plan(self):
        self.log(Notice(message="planning"))
        if isinstance(self.plan_is, Exception):
            raise self.plan_is
        return {"candidate_s": 1.0}

    def race_rule(self):
        return self.race_is

    def judge(self, path):
        program = Program(source="", framework="matrix_mixer")
        return Failure(program=program, stage="worker", reason="it is gone")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    close = __exit__


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a run, whose initial program cannot be judged, where an earlier one lies."""
    earlier = tmp_path / "run"
    earlier.mkdir()
    (earlier / "fitness_history.json").write_text('{"programs": []}')
    EventLog(earlier / "events.jsonl")(Notice(message="earlier"))
    monkeypatch.setattr(session, "ScalingLawEvaluator", Evaluator)
    monkeypatch.setattr(session, "print_plan", lambda *_: None)
    monkeypatch.setattr(session, "find_noise", lambda *_: None)
    monkeypatch.setattr(session, "run_noise", lambda *_: None)
    return lambda: run_session(config=QUICKSTART, overrides=[], output=earlier, resume=False)


def told(path):
    return [event.kind for event in read_events(path).events]


def test_the_plan_of_a_new_run_is_told_in_its_file_and_not_in_the_earlier_ones(start, tmp_path):
    with pytest.raises(MachineError, match="it is gone"):
        start()
    kinds = ["header", "session_started", "notice", "plan", "session_ended"]
    assert told(tmp_path / "run" / "events.jsonl") == kinds
    last = read_events(tmp_path / "run" / "events.jsonl").events[-1]
    assert (last.cause, "it is gone" in last.reason) == ("machine", True)
    assert told(tmp_path / "run.1" / "events.jsonl") == ["header", "notice"]
    assert not list(tmp_path.glob("run*/events.early.jsonl"))


def test_the_rule_of_a_race_is_said_and_written_down(start, tmp_path, monkeypatch, capsys):
    rule = RaceRule(share=0.25, margin=0.002, regret_bound=0.004, saved_share=0.6)
    monkeypatch.setattr(Evaluator, "race_is", rule)
    with pytest.raises(MachineError, match="it is gone"):
        start()
    notices = [
        e for e in read_events(tmp_path / "run" / "events.jsonl").events if e.kind == "notice"
    ]
    assert notices[-1].message.startswith(
        "race: candidates that trail the best by more than 0.0020"
    )
    assert "60% of the steps are saved" in capsys.readouterr().out


def test_a_plan_that_is_refused_leaves_the_earlier_run_and_its_events_alone(
    start, tmp_path, monkeypatch
):
    monkeypatch.setattr(Evaluator, "plan_is", ConfigError("it does not fit"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="it does not fit"):
            start()
    assert not (tmp_path / "run.1").exists()
    assert told(tmp_path / "run" / "events.jsonl") == ["header", "notice"]
    early = tmp_path / "run" / "events.early.jsonl"
    assert told(early) == ["header", "session_started", "notice", "session_ended"]


def test_a_death_while_an_earlier_run_is_moved_loses_no_event(start, tmp_path, monkeypatch):
    def die(log, path):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "continue_in", die)
        with pytest.raises(SystemExit):
            start()
    early = tmp_path / "run.1" / "events.early.jsonl"
    assert told(early) == ["header", "session_started", "notice", "plan"]
    assert told(tmp_path / "run.1" / "events.jsonl") == ["header", "notice"]
    with pytest.raises(MachineError):
        start()
    assert "plan" in told(tmp_path / "run" / "events.jsonl")
    assert early.exists()
