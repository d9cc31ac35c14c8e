"""Names features with Google's Gemini."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

import saeviz
from saeviz.toolkit.vlm.options import VLMOptions


class GeminiOptions(VLMOptions):
    """Options of `gemini`."""

    key_variables: ClassVar[tuple[str, ...]] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")

    model: str = Field("gemini-flash-latest", min_length=1, description="name or alias of a Gemini model")
    sdk: Literal["google-genai", "google-generativeai"] = Field(
        "google-genai", description="Google's client library; google-generativeai reached its end of life on 2025-11-30"
    )

    def package(self) -> tuple[str, str]:
        """The client library and the extra that brings it."""
        if self.sdk == "google-genai":
            return "google.genai", "saeviz[gemini]"
        return "google.generativeai", "saeviz[gemini-legacy]"


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """`gemini`."""
    yield saeviz.LabelerSpec(
        name="gemini",
        summary="names features with Gemini; sends images to Google, needs an API key",
        options=GeminiOptions,
        factory="saeviz_gemini.labeler:gemini",
    )
