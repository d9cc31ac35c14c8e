"""Embeddings by DINOv2, the yardstick of the published monosemanticity scores."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz
from saeviz.toolkit.engine import EngineOptions


class Dinov2Options(EngineOptions):
    """Options of `dinov2`."""

    model: str = Field(
        "facebook/dinov2-base",
        min_length=1,
        description="hub id, or a folder with config.json, preprocessor_config.json and model.safetensors",
        **saeviz.PATH,
    )
    revision: str | None = Field(None, description="commit, branch or tag of the hub repository; default: its main")


@saeviz.hookimpl
def saeviz_embedding_providers() -> Iterator[saeviz.EmbeddingProviderSpec]:
    """`dinov2`."""
    yield saeviz.EmbeddingProviderSpec(
        name="dinov2",
        summary="DINOv2 class token (transformers, facebook/dinov2-base or a local folder)",
        options=Dinov2Options,
        factory="saeviz_dinov2.embeddings:Dinov2Embeddings",
        needs=("torch", "torchvision", "transformers", "safetensors", "huggingface_hub"),
        install="saeviz[models]",
        cites=(
            saeviz.Citation(
                "Independent embedding",
                "Oquab et al. (2024)",
                "DINOv2: Learning Robust Visual Features without Supervision",
                "Transactions on Machine Learning Research. arXiv:2304.07193",
            ),
        ),
    )
