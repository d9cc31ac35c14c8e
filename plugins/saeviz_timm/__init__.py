"""Embeddings by any model of timm."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz
from saeviz.toolkit.engine import EngineOptions


class TimmOptions(EngineOptions):
    """Options of `timm`."""

    model: str = Field(
        "vit_small_patch16_224.dino",
        min_length=1,
        description="name of a timm model, a hub id owner/repository, or a folder with config.json and "
        "model.safetensors; the default was trained on images only, without labels or texts",
        **saeviz.PATH,
    )
    revision: str | None = Field(None, description="commit, branch or tag of the hub repository; default: its main")


@saeviz.hookimpl
def saeviz_embedding_providers() -> Iterator[saeviz.EmbeddingProviderSpec]:
    """`timm`."""
    yield saeviz.EmbeddingProviderSpec(
        name="timm",
        summary="pooled features of any timm model, by name or from a folder",
        options=TimmOptions,
        factory="saeviz_timm.embeddings:TimmEmbeddings",
        needs=("torch", "torchvision", "timm", "safetensors", "huggingface_hub"),
        install="saeviz[models]",
        cites=(
            saeviz.Citation(
                "Embedding models", "Wightman (2019)", "PyTorch Image Models", "doi:10.5281/zenodo.4414861"
            ),
        ),
    )
