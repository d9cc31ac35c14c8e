"""Names features with any service that has OpenAI's protocol: OpenAI, vLLM, Ollama, LM Studio, OpenRouter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

import saeviz
from saeviz.toolkit.vlm.options import VLMOptions


class OpenAIOptions(VLMOptions):
    """Options of `openai`."""

    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)

    model: str = Field("gpt-5.4-mini", min_length=1, description="name of a model that sees images")

    def package(self) -> tuple[str, str]:
        """The client library and the extra that brings it."""
        return "openai", "saeviz[openai]"


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """`openai`."""
    yield saeviz.LabelerSpec(
        name="openai",
        summary="names features with OpenAI or, with base_url, vLLM, Ollama, LM Studio, OpenRouter",
        options=OpenAIOptions,
        factory="saeviz_openai.labeler:openai",
        needs=("openai",),
        install="saeviz[openai]",
    )
