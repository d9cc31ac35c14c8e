"""Gemini through google-generativeai, for projects that have pinned it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property, partial
from io import BytesIO
from typing import Any

from saeviz.toolkit.bounded import IDENTITY, EndlessError, bounded, refuse_compressed
from saeviz.toolkit.vlm import Extra, Picture, Question, Reply, ServiceError
from saeviz.toolkit.vlm.sdk import MOST_BYTES
from saeviz_gemini import GeminiOptions, reading


class GenerativeAI:
    """Asks `generateContent` of the Gemini API, over HTTP as the newer library does, not over gRPC."""

    name = "Gemini"
    extras = (Extra.SCHEMA, Extra.SYSTEM)

    def __init__(self, options: GeminiOptions) -> None:
        self.options = options

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        sdk = self._sdk
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        parts = [
            {"mime_type": "image/jpeg", "data": part.jpeg} if isinstance(part, Picture) else part
            for part in question.together
        ]
        config: dict[str, Any] = {"max_output_tokens": self.options.max_output_tokens}
        if question.has(Extra.SCHEMA):
            config["response_mime_type"] = "application/json"
            config["response_schema"] = _without_additional_properties(question.schema)
        try:
            model = sdk.GenerativeModel(self.options.model, system_instruction=question.apart or None)
            options = {"timeout": self.options.timeout, "retry": None}
            return _reply(model.generate_content(parts, generation_config=config, request_options=options))
        except (GoogleAPIError, GoogleAuthError, RequestException, HTTPError, EndlessError) as error:
            raise ServiceError(None, f"{type(error).__name__} {error}".strip()) from error
        except (
            ParseError,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
        ) as error:  # a body that is not what is documented
            raise ServiceError(None, f"the response could not be parsed ({type(error).__name__})") from error

    def image_tokens(self, size: int) -> int:  # noqa: ARG002
        """1120 for any picture with Gemini 3: this library cannot ask for less."""
        return 1120

    @cached_property
    def _sdk(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its end of life, which the labeler has already reported
            import google.generativeai as sdk

        endpoint = {"api_endpoint": self.options.base_url.rstrip("/")} if self.options.base_url else None
        sdk.configure(api_key=self.options.sent_key(), transport="rest", client_options=endpoint)
        _look_at_responses(self.options.timeout)
        return sdk


def _look_at_responses(seconds: float) -> None:
    """Before the library does: it takes key and images wherever it is redirected to, and reads Google's errors only.

    And it reads answers without an end.
    """
    from google.generativeai.client import get_default_generative_client

    session = get_default_generative_client()._transport._session
    session.headers.update(IDENTITY)
    session.hooks["response"].append(partial(_refuse, seconds=seconds))


def _refuse(response: Any, *, seconds: float, **_: Any) -> None:
    refuse_compressed(response.headers)
    parts = iter(lambda: response.raw.read1(2**16), b"")  # what has arrived, without waiting for more
    response.raw = BytesIO(b"".join(bounded(parts, MOST_BYTES, seconds)))
    if response.status_code >= 300:
        raise reading.failure(response.status_code, response.text, response.headers, f"HTTP {response.reason}")


def _without_additional_properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the dialect of this library, which knows no `additionalProperties`."""
    return {
        name: _without_additional_properties(value) if isinstance(value, Mapping) else value
        for name, value in schema.items()
        if name != "additionalProperties"
    }


def _reply(response: Any) -> Reply:
    feedback, usage = response.prompt_feedback, response.usage_metadata
    candidate = response.candidates[0] if response.candidates else None
    blocked = feedback.block_reason
    return reading.reply(
        text="".join(part.text for part in candidate.content.parts) if candidate else "",
        finish=getattr(candidate.finish_reason, "name", str(candidate.finish_reason)) if candidate else "",
        blocked=getattr(blocked, "name", str(blocked)) if blocked else "",
        tokens=(usage.prompt_token_count, usage.candidates_token_count),
        model="",
    )
