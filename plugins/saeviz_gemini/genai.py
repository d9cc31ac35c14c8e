"""Gemini through google-genai."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from saeviz.toolkit.bounded import EndlessError
from saeviz.toolkit.vlm import Extra, Picture, Question, Reply, ServiceError
from saeviz.toolkit.vlm.sdk import bounds
from saeviz_gemini import GeminiOptions, reading

if TYPE_CHECKING:
    from google import genai
    from google.genai.types import GenerateContentConfig, GenerateContentResponse


class GenAI:
    """Asks `generateContent` of the Gemini API."""

    name = "Gemini"
    extras = (Extra.SCHEMA, Extra.SYSTEM, Extra.RESOLUTION)

    def __init__(self, options: GeminiOptions) -> None:
        self.options = options

    def ask(self, question: Question) -> Reply:
        """The answer to one question; raises `ServiceError`."""
        from google.genai import errors, types

        parts = [
            types.Part.from_bytes(data=part.jpeg, mime_type="image/jpeg")
            if isinstance(part, Picture)
            else types.Part.from_text(text=part)
            for part in question.together
        ]
        try:
            response = self._client.models.generate_content(
                model=self.options.model, contents=types.UserContent(parts), config=self._config(question)
            )
            return _reply(response)
        except errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise reading.failure(error.code, _body_of(error), headers, str(error.message or error)) from error
        except EndlessError as error:
            raise ServiceError(None, str(error)) from error
        except _transport_errors() as error:
            raise ServiceError(None, f"{type(error).__name__} {error}".strip()) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:  # a body that is not what is documented
            raise ServiceError(None, f"the response could not be parsed ({type(error).__name__})") from error

    def image_tokens(self, size: int) -> int:  # noqa: ARG002
        """560 for any picture at medium resolution with Gemini 3, about half of it with earlier models."""
        return 560

    @cached_property
    def _client(self) -> genai.Client:
        from google import genai
        from google.genai.types import HttpOptions

        http = HttpOptions(
            base_url=self.options.base_url,
            timeout=max(1, round(1000 * self.options.timeout)),
            client_args=bounds(self.options),
        )
        return genai.Client(vertexai=False, api_key=self.options.sent_key(), http_options=http)

    def _config(self, question: Question) -> GenerateContentConfig:
        from google.genai import types

        medium = types.MediaResolution.MEDIA_RESOLUTION_MEDIUM
        return types.GenerateContentConfig(
            system_instruction=question.apart or None,
            response_mime_type="application/json" if question.has(Extra.SCHEMA) else None,
            response_json_schema=dict(question.schema) if question.has(Extra.SCHEMA) else None,
            max_output_tokens=self.options.max_output_tokens,
            media_resolution=medium if question.has(Extra.RESOLUTION) else None,
        )


def _body_of(error: Any) -> Any:
    """The body as the server sent it; the library makes an object of its own where that is no JSON."""
    text = getattr(error.response, "text", None)
    return text if isinstance(text, str) and text else error.details


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises; google-genai runs on httpx or its successor, whichever is installed."""
    from importlib import import_module
    from importlib.util import find_spec

    return tuple(import_module(name).HTTPError for name in ("httpx", "httpx2") if find_spec(name))


def _reply(response: GenerateContentResponse) -> Reply:
    feedback, usage = response.prompt_feedback, response.usage_metadata
    candidate = (response.candidates or [None])[0]
    content = candidate.content if candidate else None
    parts = (content.parts if content else None) or []
    finish = candidate.finish_reason if candidate else None
    return reading.reply(
        text="".join(part.text or "" for part in parts if not part.thought),
        finish=finish.value if finish else "",
        blocked=feedback.block_reason.value if feedback and feedback.block_reason else "",
        tokens=(
            (usage.prompt_token_count or 0) if usage else 0,
            ((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)) if usage else 0,
        ),
        model=response.model_version or "",
    )
