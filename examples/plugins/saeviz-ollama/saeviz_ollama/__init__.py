"""The labeler `ollama` for saeviz: a vision-language model that Ollama runs on this machine names the features."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import saeviz
from saeviz.toolkit.bounded import EndlessError
from saeviz.toolkit.vlm import (
    Extra,
    Part,
    Question,
    Reply,
    ServiceError,
    VLMLabeler,
    VLMOptions,
    http_reason,
    redirect_reason,
    text_of,
    tokens_of,
)
from saeviz.toolkit.vlm.sdk import bounds

if TYPE_CHECKING:
    from httpx import Client


class OllamaOptions(VLMOptions):
    """Options of `ollama`, as they are written in a run file."""

    model: str = Field(
        default="qwen3-vl", min_length=1, description="name of a model that sees images, as in `ollama pull`"
    )
    base_url: str | None = Field(default="http://localhost:11434", description="address of Ollama")
    concurrency: Annotated[int, saeviz.NEUTRAL] = Field(
        default=1, ge=1, le=64, description="maximum number of concurrent requests"
    )
    timeout: Annotated[float, saeviz.NEUTRAL] = Field(
        default=600.0, gt=0, description="seconds to wait for one response"
    )
    keep_alive: Annotated[str, saeviz.NEUTRAL] = Field(
        default="30m", description="how long the model stays loaded after an answer"
    )

    def package(self) -> tuple[str, str]:
        """The client library and what brings it."""
        return "httpx", "saeviz-ollama"


def ollama(options: OllamaOptions, context: saeviz.Context) -> VLMLabeler:
    """Prompts, pictures, retries, budget and judging are those of every labeler of saeviz."""
    return VLMLabeler(Ollama(options, context.seed), options, context)


class Ollama:
    """Asks `/api/chat`, whose answers follow a schema."""

    name = "Ollama"
    extras = (Extra.SCHEMA,)

    def __init__(self, options: OllamaOptions, seed: int) -> None:
        self.options = options
        self._settings = {"temperature": 0, "seed": seed}
        if options.max_output_tokens:
            self._settings["num_predict"] = options.max_output_tokens

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        import httpx

        try:
            response = self._client.post("/api/chat", json=self._body(question))
        except EndlessError as error:
            raise ServiceError(None, str(error)) from error
        except httpx.HTTPError as error:
            raise ServiceError(None, f"{type(error).__name__}: {error}; is `ollama serve` running?") from error
        if response.is_redirect:
            raise ServiceError(response.status_code, redirect_reason(response.headers))
        if not response.is_success:
            raise ServiceError(response.status_code, http_reason(response.content, response.reason_phrase))
        try:
            found = response.json()
            return Reply(
                text=text_of(found["message"]["content"]),
                input_tokens=tokens_of(found.get("prompt_eval_count")),
                output_tokens=tokens_of(found.get("eval_count")),
                model=text_of(found.get("model")),
                is_cut_off=found.get("done_reason") == "length",
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServiceError(None, f"the response could not be parsed ({type(error).__name__})") from error

    def image_tokens(self, size: int) -> int:
        """Patches of 28 pixels, as of the Qwen models."""
        return round((size / 28) ** 2)

    @cached_property
    def _client(self) -> Client:
        import httpx

        return httpx.Client(base_url=self.options.base_url or "", timeout=self.options.timeout, **bounds(self.options))

    def _body(self, question: Question) -> dict[str, Any]:
        body = {
            "model": self.options.model,
            "messages": [{"role": "system", "content": question.instructions}, *_messages(question.parts)],
            "stream": False,
            "keep_alive": self.options.keep_alive,
            "options": self._settings,
        }
        return {**body, "format": question.schema} if question.has(Extra.SCHEMA) else body


def _messages(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """A message for each text, with the pictures that come after it: Ollama keeps text and pictures apart."""
    content, pictures = "", list[str]()
    for part in parts:
        if not isinstance(part, str):
            pictures.append(b64encode(part.jpeg).decode())
            continue
        if content or pictures:
            yield {"role": "user", "content": content, "images": pictures}
        content, pictures = part, []
    yield {"role": "user", "content": content, "images": pictures}


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """Tell saeviz what this plugin offers; nothing is asked here."""
    yield saeviz.LabelerSpec(
        name="ollama",
        summary="names features with a vision-language model that Ollama runs on this machine",
        options=OllamaOptions,
        factory=ollama,
        needs=("httpx",),
        install="saeviz-ollama",
    )
