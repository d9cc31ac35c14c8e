"""The labeler, on OpenAI's client library and its chat completions, which other servers offer as well."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.vlm import Extra, Part, Question, Reply, ServiceError, VLMLabeler, http_reason, text_of, tokens_of
from saeviz.toolkit.vlm.sdk import asked, client_of
from saeviz_openai import OpenAIOptions

if TYPE_CHECKING:
    from openai import OpenAI

EMPTY_ACCOUNT = ("insufficient_quota", "billing_hard_limit_reached")
BLOCKED = ("content_filter", "content_policy_violation")


def openai(options: OpenAIOptions, context: saeviz.Context) -> VLMLabeler:
    """A labeler that asks OpenAI, or a server with the same protocol at `base_url`."""
    return VLMLabeler(ChatCompletions(options), options, context)


class ChatCompletions:
    """Asks `chat/completions`."""

    name = "OpenAI"

    def __init__(self, options: OpenAIOptions) -> None:
        self.options = options
        limit = (Extra.LIMIT,) if options.max_output_tokens else ()
        self.extras = (Extra.SCHEMA, Extra.SYSTEM, *limit)

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        import openai

        return asked(
            openai, lambda: _reply(self._client.chat.completions.create(**self._body(question))), _status, _is_refusal
        )

    def image_tokens(self, size: int) -> int:
        """Patches of 32 pixels, at most 1536, times 1.62: the rule of the small models; large ones count less."""
        return round(1.62 * min(ceil(size / 32) ** 2, 1536))

    @cached_property
    def _client(self) -> OpenAI:
        import openai

        client: OpenAI = client_of(openai, openai.OpenAI, self.options)
        return client

    def _body(self, question: Question) -> dict[str, Any]:
        system = [{"role": "system", "content": question.apart}] if question.apart else []
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": [*system, {"role": "user", "content": [_content(part) for part in question.together]}],
        }
        if question.has(Extra.SCHEMA):
            schema = {"name": "feature", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.options.max_output_tokens:  # OpenAI's own models know the newer name only, most other servers the older
            is_older = bool(self.options.base_url) == question.has(Extra.LIMIT)
            body["max_tokens" if is_older else "max_completion_tokens"] = self.options.max_output_tokens
        return body


def _status(error: Any, _: str) -> int:
    return 402 if error.code in EMPTY_ACCOUNT else int(error.status_code)


def _is_refusal(error: Any, _: str) -> bool:
    return error.code in BLOCKED


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:image/jpeg;base64,{b64encode(part.jpeg).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _reply(completion: Any) -> Reply:
    """Raises `ServiceError` for an error in a body that says all is well, as OpenRouter sends it."""
    if isinstance(completion, str):  # what is not JSON
        raise ServiceError(None, f"the response has no answer: {http_reason(completion, 'an empty one')}")
    if not completion.choices:
        error = getattr(completion, "error", None)
        code = tokens_of(error.get("code")) if isinstance(error, Mapping) else 0
        raise ServiceError(code or None, http_reason(completion.to_dict(), "the response has no answer"))
    choice, usage = completion.choices[0], getattr(completion, "usage", None)
    finish = getattr(choice, "finish_reason", None)
    content = choice.message.content
    return Reply(
        text=text_of(content),
        input_tokens=tokens_of(getattr(usage, "prompt_tokens", None)),
        output_tokens=tokens_of(getattr(usage, "completion_tokens", None)),
        model=text_of(getattr(completion, "model", "")),
        is_cut_off=finish in ("length", "max_tokens"),
        refusal=_refusal(choice.message, content) or ("blocked (content_filter)" if finish == "content_filter" else ""),
    )


def _refusal(message: Any, content: Any) -> str:
    """Why the model declines: a field of the message, or a part of its content."""
    parts = content if isinstance(content, list) else []
    said = [getattr(message, "refusal", None), *(part.get("refusal") for part in parts if isinstance(part, Mapping))]
    return next((text for text in said if isinstance(text, str) and text), "")
