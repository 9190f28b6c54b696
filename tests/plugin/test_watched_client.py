"""The model's client as the workers use it: what a server can do, and what is noted of it."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from openevolve.config import LLMModelConfig
from openevolve.llm.ensemble import LLMEnsemble

from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin.answering import exchange as exchanges
from openevolve_unified.plugin.answering.client import CallFailed, create_watched_client
from openevolve_unified.plugin.answering.exchange import Exchange

PAGE = b"<!doctype html><html>please log in</html>"


@pytest.fixture
def exchange(monkeypatch):
    """The worker is in the middle of an iteration."""
    current = Exchange(iteration=1)
    monkeypatch.setattr(exchanges, "_current", current)
    return current


def config(url, **changes):
    settings = {
        "name": "m",
        "api_base": url,
        "api_key": "sk-planted",
        "retries": 0,
        "retry_delay": 0,
        "timeout": 20,
        "init_client": create_watched_client,
    }
    return LLMModelConfig(**{**settings, **changes})


def ask(url, **changes):
    """Ask through OpenEvolve's ensemble, as a worker does."""
    ensemble = LLMEnsemble([config(url, **changes)])

    async def once():
        messages = [{"role": "user", "content": "hello"}]
        try:
            return await ensemble.generate_with_context("system", messages)
        finally:
            # 0.4.0 has a client that blocks, later ones have one to be awaited.
            closed = ensemble.models[0]._client.client.close()
            if closed is not None:
                await closed

    return asyncio.run(once())


def test_an_answer_comes_without_its_reasoning_and_is_noted(scripted_model, exchange):
    model = scripted_model("<think>a draft</think>the answer")
    assert ask(model.url) == "the answer"
    assert exchange.was_answered
    assert exchange.had_reasoning
    assert (exchange.answer, exchange.failed_call) == ("the answer", None)


def test_an_answer_in_parts_is_joined_without_the_thoughts(scripted_model, exchange):
    parts = [{"type": "thinking", "thinking": "a draft"}, {"type": "text", "text": "the answer"}]
    assert ask(scripted_model({"content": parts}).url) == "the answer"


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "circumstances"),
    [
        ({"content": None}, ""),
        ({"content": None, "refusal": "I must not"}, "a refusal: I must not"),
        ({"content": None, "tool_calls": [CALL]}, "tool calls instead of text"),
        ({"content": "", "finish_reason": "length"}, "cut at the limit of tokens (llm.max_tokens)"),
    ],
    ids=["null", "refusal", "tool calls", "cut"],
)
def test_why_an_answer_is_empty_is_noted(message, circumstances, scripted_model, exchange):
    assert not ask(scripted_model(message).url)
    assert exchange.was_answered
    assert exchange.circumstances == circumstances


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (401, "AuthenticationError", "scripted failure"),
        (500, "InternalServerError", "scripted failure"),
        (PAGE, "ValueError", "is llm.api_base right?"),
    ],
    ids=["dead key", "broken server", "web page"],
)
def test_a_failed_call_is_noted_by_its_class(answer, kind, words, scripted_model, exchange):
    with pytest.raises(CallFailed, match=kind):
        ask(scripted_model(answer).url)
    assert exchange.failed_call[0] == kind
    assert words in exchange.failed_call[1]
    assert not exchange.was_answered


def test_a_server_that_is_not_there_is_a_failed_call(exchange):
    with pytest.raises(CallFailed, match="APIConnectionError"):
        ask("http://127.0.0.1:1/v1")
    assert exchange.failed_call[0] == "APIConnectionError"


def test_a_server_that_says_nothing_in_time_is_a_failed_call(exchange, monkeypatch):
    client = create_watched_client(config("http://127.0.0.1:1/v1"))

    async def sleepy(*arguments, **options):
        raise TimeoutError

    monkeypatch.setattr(client._client, "generate_with_context", sleepy)
    with pytest.raises(CallFailed, match=r"no answer within 20 s \(llm.timeout\)"):
        asyncio.run(client.generate_with_context("s", [{"role": "user", "content": "x"}]))


def test_a_wrong_key_is_not_tried_again_and_a_busy_server_is(scripted_model, exchange, monkeypatch):
    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *a: 0.0)
    dead = scripted_model(401)
    with pytest.raises(CallFailed):
        ask(dead.url, retries=3)
    assert len(dead.requests) == 1
    busy = scripted_model(503, 503, "here")
    assert ask(busy.url, retries=3) == "here"
    assert len(busy.requests) == 3


def test_a_key_that_a_server_repeats_is_hidden(scripted_model, exchange, monkeypatch):
    client = create_watched_client(config("http://127.0.0.1:1/v1"))

    async def telling(*arguments, **options):
        raise RuntimeError("wrong key sk-planted")

    monkeypatch.setattr(client._client, "generate_with_context", telling)
    with pytest.raises(CallFailed) as caught:
        asyncio.run(client.generate_with_context("s", [{"role": "user", "content": "x"}]))
    assert "sk-planted" not in str(caught.value) + str(exchange.failed_call)
    assert "(hidden)" in str(caught.value)


def test_the_grammar_is_asked_once_and_its_errors_are_failed_calls(exchange):
    client = create_watched_client(config(None, provider="grammar", retries=3, retry_delay=60))
    with pytest.raises(CallFailed, match="ValueError: the prompt has no fenced code"):
        asyncio.run(client.generate_with_context("s", [{"role": "user", "content": "x"}]))


def test_it_works_outside_an_iteration_and_travels_to_the_workers(scripted_model):
    model = scripted_model("an answer")
    assert ask(model.url) == "an answer"
    assert pickle.loads(pickle.dumps(create_watched_client)) is create_watched_client  # noqa: S301


def test_a_client_that_cannot_be_made_is_a_wrong_set_up(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="the client of 'm' cannot be made"):
        create_watched_client(config("http://127.0.0.1:1/v1", api_key=None))
