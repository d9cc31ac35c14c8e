"""The labeler, on OpenAI's client library and its chat completions, which other servers offer as well."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.vlm import Part, Question, Reply, ServiceError, VLMLabeler, http_reason, seconds_to_wait
from saeviz_openai import OpenAIOptions

if TYPE_CHECKING:
    from openai import OpenAI

EMPTY_ACCOUNT = ("insufficient_quota", "billing_hard_limit_reached")
BLOCKED = ("content_filter", "content_policy_violation")


def openai(options: OpenAIOptions, context: saeviz.Context) -> VLMLabeler:
    """A labeler that asks OpenAI, or whoever speaks its protocol at `base_url`."""
    return VLMLabeler(ChatCompletions(options), options, context)


class ChatCompletions:
    """Asks `chat/completions`."""

    name = "OpenAI"

    def __init__(self, options: OpenAIOptions) -> None:
        self.options = options
        self._takes_schema = True

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`.

        A server that does not know `json_schema` is asked without: the instructions describe the object as well.
        """
        import openai

        with_schema = self._takes_schema
        try:
            return _reply(self._client.chat.completions.create(**self._body(question, with_schema)))
        except openai.APIStatusError as error:
            reason = http_reason(error.body, error.message)
            if with_schema and error.status_code in (400, 422) and _is_about_schema(reason):
                self._takes_schema = False
                return self.ask(question)
            if error.code in BLOCKED:
                return Reply("", 0, 0, refusal=f"blocked ({error.code}): {reason}")
            status = 402 if error.code in EMPTY_ACCOUNT else error.status_code
            raise ServiceError(status, reason, seconds_to_wait(error.response.headers)) from error
        except openai.APIConnectionError as error:
            raise ServiceError(None, f"{error} {error.__cause__ or ''}".strip()) from error
        except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ServiceError(None, f"it sent what no client understands ({type(error).__name__})") from error

    def image_tokens(self, size: int) -> int:
        """Patches of 32 pixels, at most 1536, times 1.62: the rule of the small models; large ones count less."""
        return round(1.62 * min(ceil(size / 32) ** 2, 1536))

    @cached_property
    def _client(self) -> OpenAI:
        from openai import OpenAI

        options = self.options
        return OpenAI(api_key=options.sent_key(), base_url=options.base_url, timeout=options.timeout, max_retries=0)

    def _body(self, question: Question, with_schema: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": [
                {"role": "system", "content": question.instructions},
                {"role": "user", "content": [_content(part) for part in question.parts]},
            ],
        }
        if with_schema:
            schema = {"name": "feature", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.options.max_output_tokens:  # other servers know the older name only
            name = "max_tokens" if self.options.base_url else "max_completion_tokens"
            body[name] = self.options.max_output_tokens
        return body


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:image/jpeg;base64,{b64encode(part.jpeg).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _is_about_schema(reason: str) -> bool:
    return any(word in reason for word in ("response_format", "json_schema", "guided_json", "structured output"))


def _reply(completion: Any) -> Reply:
    """Raises `ServiceError` for an error in a body that says all is well, as OpenRouter sends it."""
    if not completion.choices:
        error = getattr(completion, "error", None)
        code = error.get("code") if isinstance(error, Mapping) else None
        raise ServiceError(code if isinstance(code, int) else None, http_reason(error, "it sent no answer"))
    choice, usage = completion.choices[0], completion.usage
    blocked = "blocked (content_filter)" if choice.finish_reason == "content_filter" else ""
    return Reply(
        text=choice.message.content or "",
        input_tokens=(usage.prompt_tokens or 0) if usage else 0,
        output_tokens=(usage.completion_tokens or 0) if usage else 0,
        model=completion.model or "",
        is_cut_off=choice.finish_reason == "length",
        refusal=choice.message.refusal or blocked,
    )
