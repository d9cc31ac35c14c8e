"""Names features with Anthropic's Claude."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

import saeviz
from saeviz.toolkit.vlm.options import VLMOptions


class AnthropicOptions(VLMOptions):
    """Options of `anthropic`."""

    key_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)

    model: str = Field("claude-haiku-5-5", min_length=1, description="name of a Claude model")
    max_output_tokens: int = Field(
        4096, ge=64, le=1_000_000, description="maximum tokens of one answer, including the model's reasoning"
    )

    def package(self) -> tuple[str, str]:
        """The client library and the extra that brings it."""
        return "anthropic", "saeviz[anthropic]"


@saeviz.hookimpl
def saeviz_labelers() -> Iterator[saeviz.LabelerSpec]:
    """`anthropic`."""
    yield saeviz.LabelerSpec(
        name="anthropic",
        summary="names features with Claude; sends images to Anthropic, needs an API key",
        options=AnthropicOptions,
        factory="saeviz_anthropic.labeler:anthropic",
        needs=("anthropic",),
        install="saeviz[anthropic]",
    )
