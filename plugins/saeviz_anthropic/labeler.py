"""The labeler, on Anthropic's client library."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.vlm import Extra, Part, Question, Reply, ServiceError, VLMLabeler, http_reason, text_of, tokens_of
from saeviz.toolkit.vlm.sdk import asked, client_of
from saeviz_anthropic import AnthropicOptions

if TYPE_CHECKING:
    from anthropic import Anthropic


def anthropic(options: AnthropicOptions, context: saeviz.Context) -> VLMLabeler:
    """A labeler that asks Claude."""
    return VLMLabeler(Messages(options), options, context)


class Messages:
    """Asks `messages`."""

    name = "Anthropic"
    extras = (Extra.SCHEMA,)

    def __init__(self, options: AnthropicOptions) -> None:
        self.options = options

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        import anthropic

        return asked(
            anthropic, lambda: _reply(self._client.messages.create(**self._body(question))), _status, _is_refusal
        )

    def image_tokens(self, size: int) -> int:
        """Width times height by 750."""
        return round(size * size / 750)

    @cached_property
    def _client(self) -> Anthropic:
        import anthropic

        client: Anthropic = client_of(anthropic, anthropic.Anthropic, self.options)
        return client

    def _body(self, question: Question) -> dict[str, Any]:
        form = {"output_config": {"format": {"type": "json_schema", "schema": question.schema}}}
        return {
            "model": self.options.model,
            "max_tokens": self.options.max_output_tokens,
            "system": question.instructions,
            "messages": [{"role": "user", "content": [_content(part) for part in question.parts]}],
            **(form if question.has(Extra.SCHEMA) else {}),
        }


def _status(error: Any, reason: str) -> int:
    return 402 if error.status_code == 400 and "credit balance" in reason else int(error.status_code)


def _is_refusal(error: Any, reason: str) -> bool:
    return error.status_code == 400 and "content filtering" in reason


def _content(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = b64encode(part.jpeg).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}}


def _reply(message: Any) -> Reply:
    if isinstance(message, str):  # what is not JSON
        raise ServiceError(None, f"the response has no answer: {http_reason(message, 'an empty one')}")
    reason, usage = getattr(message, "stop_reason", None), getattr(message, "usage", None)
    details = getattr(getattr(message, "stop_details", None), "explanation", None)
    content = message.content
    blocks = content if isinstance(content, str) else [block.to_dict() for block in content]
    read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return Reply(
        text=text_of(blocks),
        input_tokens=sum(tokens_of(getattr(usage, name, None)) for name in read),
        output_tokens=tokens_of(getattr(usage, "output_tokens", None)),
        model=text_of(getattr(message, "model", "")),
        is_cut_off=reason == "max_tokens",
        refusal=(details or "refusal") if reason == "refusal" else "",
    )
