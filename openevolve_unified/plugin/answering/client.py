"""The model's client as OpenEvolve's workers use it: OpenEvolve's own, watched.

OpenEvolve reports a failed call and an unusable answer in words only, and the words change from
release to release. So its client is wrapped: an exception is a failed call whatever it says, an
answer is kept as it came, and reasoning is removed before OpenEvolve looks for edits in it.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from openevolve.config import LLMModelConfig
from openevolve.llm import ensemble
from openevolve.llm.base import LLMInterface

from openevolve_unified.errors import ConfigError
from openevolve_unified.plugin.answering.exchange import current_exchange
from openevolve_unified.plugin.answering.reasoning import without_reasoning
from openevolve_unified.plugin.proposer import register_grammar_provider

MAX_FAILURE_CHARACTERS = 300
_WORTH_ANOTHER_TRY = (408, 409, 425, 429)
"""The client's errors (4xx) that time can mend."""


class CallFailed(Exception):
    """The model could not be asked; the text names the kind of error and holds no key."""


class WatchedLLM(LLMInterface):
    """Asks OpenEvolve's client of a model and notes what came of it.

    Raises:
        CallFailed: the call failed, after ``llm.retries`` further tries unless it cannot succeed.
    """

    def __init__(self, model_config: LLMModelConfig):
        self.model = model_config.name
        self._client = _openevolve_client(model_config)
        self._key = model_config.api_key
        # Clients that do not retry have none of their own: the grammar answers or it does not.
        self._retries = getattr(self._client, "retries", 0) or 0
        self._retry_delay_s = getattr(self._client, "retry_delay", 0) or 0
        self._timeout_s = getattr(self._client, "timeout", None)
        self._circumstances = ""
        _watch_responses(self._client, self._note_response)

    @property
    def last_usage(self) -> dict[str, Any] | None:
        """The tokens of the last call, if the client counts them."""
        return getattr(self._client, "last_usage", None)

    async def generate(self, prompt: str, **kwargs: Any) -> str | None:  # type: ignore[override]
        """Answer a prompt that stands alone."""
        return await self._ask(lambda **options: self._client.generate(prompt, **options), kwargs)

    async def generate_with_context(  # type: ignore[override]
        self, system_message: str, messages: list[dict[str, str]], **kwargs: Any
    ) -> str | None:
        """Answer a conversation."""
        return await self._ask(
            lambda **options: self._client.generate_with_context(
                system_message, messages, **options
            ),
            kwargs,
        )

    async def _ask(
        self, call: Callable[..., Awaitable[Any]], options: dict[str, Any]
    ) -> str | None:
        retries = options.pop("retries", self._retries)
        delay_s = options.pop("retry_delay", self._retry_delay_s)
        exchange = current_exchange()
        self._circumstances = ""
        for tries_left in range(retries, -1, -1):
            try:
                raw = await call(**options, retries=0)
                break
            except Exception as error:  # whatever a client of any provider raises
                if tries_left and not _is_final(error):
                    await asyncio.sleep(delay_s)
                    continue
                failure = self._describe(error)
                if exchange is not None:
                    exchange.failed_call = (type(error).__name__, failure)
                raise CallFailed(failure) from error
        text = _text_of(raw)
        answer = None if text is None else without_reasoning(text)
        if exchange is not None:
            exchange.take_answer(answer, text, self._hidden(self._circumstances))
        return answer

    def _describe(self, error: BaseException) -> str:
        text = str(error)
        if isinstance(error, TimeoutError) and not text:
            text = f"no answer within {self._timeout_s} s (llm.timeout)"
        if error.__cause__ is not None and str(error.__cause__):
            text += f" ({error.__cause__})"
        return self._hidden(f"{type(error).__name__}: {' '.join(text.split())}")

    def _hidden(self, text: str) -> str:
        if self._key and len(self._key) > 3:
            text = text.replace(self._key, "(hidden)")
        return text[:MAX_FAILURE_CHARACTERS]

    def _note_response(self, response: Any) -> None:
        self._circumstances = _circumstances(response)


def create_watched_client(model_config: LLMModelConfig) -> WatchedLLM:
    """For OpenEvolve's ``init_client``: importable, because configurations are pickled.

    Raises:
        ConfigError: the client cannot be made from these settings.
    """
    try:
        return WatchedLLM(model_config)
    except Exception as error:  # each provider's client raises its own
        raise ConfigError(
            f"llm.models: the client of {model_config.name!r} cannot be made "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error


def _openevolve_client(model_config: LLMModelConfig) -> LLMInterface:
    register_grammar_provider()
    plain = copy.copy(model_config)
    plain.init_client = None
    return ensemble._create_model(plain)


def _is_final(error: BaseException) -> bool:
    """True when the same call cannot succeed a little later: a wrong key, model or address."""
    if isinstance(error, (FileNotFoundError, PermissionError)):
        return True
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY


def _text_of(raw: Any) -> str | None:
    """The text of an answer; some servers send it in parts, thoughts apart from text."""
    if isinstance(raw, list):
        parts = [part.get("text") for part in raw if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return raw if isinstance(raw, str) else None


def _watch_responses(client: Any, note: Callable[[Any], None]) -> None:
    """Show every response of an OpenAI client to ``note``; other clients have none to show."""
    completions = getattr(getattr(getattr(client, "client", None), "chat", None), "completions", 0)
    create = getattr(completions, "create", None)
    if create is None:
        return

    def watched(*arguments: Any, **options: Any) -> Any:
        response = create(*arguments, **options)
        if inspect.isawaitable(response):
            return _later(response)
        return _checked(response)

    async def _later(response: Awaitable[Any]) -> Any:
        return _checked(await response)

    def _checked(response: Any) -> Any:
        if isinstance(response, str):
            raise ValueError(
                "the server answered with text that is not JSON, as a web page does (is "
                f"llm.api_base right?): {response[:80]!r}"
            )
        if not getattr(response, "choices", None):
            said = getattr(response, "error", None)
            raise ValueError(f"the server's answer holds no choices{f': {said}' if said else ''}")
        note(response)
        return response

    completions.create = watched  # type: ignore[union-attr]


def _circumstances(response: Any) -> str:
    """What explains an answer without text, in a few words."""
    choice = response.choices[0]
    message = choice.message
    refusal = getattr(message, "refusal", None)
    if refusal:
        return f"a refusal: {' '.join(str(refusal).split())}"
    if getattr(message, "tool_calls", None) or getattr(message, "function_call", None):
        return "tool calls instead of text"
    if choice.finish_reason == "length":
        return "cut at the limit of tokens (llm.max_tokens)"
    if choice.finish_reason == "content_filter":
        return "held back by the provider's content filter"
    return ""
