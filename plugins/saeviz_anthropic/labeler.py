"""The labeler, on Anthropic's client library."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.vlm import Part, Question, Reply, ServiceError, VLMLabeler, http_reason, seconds_to_wait
from saeviz_anthropic import AnthropicOptions

if TYPE_CHECKING:
    from anthropic import Anthropic


def anthropic(options: AnthropicOptions, context: saeviz.Context) -> VLMLabeler:
    """A labeler that asks Claude."""
    return VLMLabeler(Messages(options), options, context)


class Messages:
    """Asks `messages`."""

    name = "Anthropic"

    def __init__(self, options: AnthropicOptions) -> None:
        self.options = options

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        import anthropic

        try:
            return _reply(self._client.messages.create(**self._body(question)))
        except anthropic.APIStatusError as error:
            reason = http_reason(error.body, error.message)
            if error.status_code == 400 and "content filtering" in reason:
                return Reply("", 0, 0, refusal=f"blocked: {reason}")
            status = 402 if error.status_code == 400 and "credit balance" in reason else error.status_code
            raise ServiceError(status, reason, seconds_to_wait(error.response.headers)) from error
        except anthropic.APIConnectionError as error:
            raise ServiceError(None, f"{error} {error.__cause__ or ''}".strip()) from error
        except (anthropic.AnthropicError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ServiceError(None, f"it sent what no client understands ({type(error).__name__})") from error

    def image_tokens(self, size: int) -> int:
        """Width times height by 750."""
        return round(size * size / 750)

    @cached_property
    def _client(self) -> Anthropic:
        from anthropic import Anthropic

        options = self.options
        return Anthropic(api_key=options.sent_key(), base_url=options.base_url, timeout=options.timeout, max_retries=0)

    def _body(self, question: Question) -> dict[str, Any]:
        return {
            "model": self.options.model,
            "max_tokens": self.options.max_output_tokens,
            "system": question.instructions,
            "messages": [{"role": "user", "content": [_content(part) for part in question.parts]}],
            "output_config": {"format": {"type": "json_schema", "schema": question.schema}},
        }


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = b64encode(part.jpeg).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}


def _reply(message: Any) -> Reply:
    details = getattr(message.stop_details, "explanation", None) if message.stop_reason == "refusal" else None
    usage = message.usage
    cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return Reply(
        text="".join(block.text for block in message.content if block.type == "text"),
        input_tokens=(usage.input_tokens or 0) + cached,
        output_tokens=usage.output_tokens or 0,
        model=message.model or "",
        is_cut_off=message.stop_reason == "max_tokens",
        refusal=(details or "refusal") if message.stop_reason == "refusal" else "",
    )
