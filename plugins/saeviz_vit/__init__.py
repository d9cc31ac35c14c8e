"""Vision transformers with sparse autoencoders: the extractors `clip-b32-prisma` and `vit-sae`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import saeviz
from saeviz.toolkit.works import CLIP, OPEN_CLIP, PRISMA
from saeviz_vit.options import ClipOptions, VitOptions

__all__ = ["ClipOptions", "VitOptions"]


@saeviz.hookimpl
def saeviz_feature_extractors() -> Iterable[saeviz.FeatureExtractorSpec]:
    """CLIP ViT-B/32 with the published Prisma SAEs, and any transformers ViT with SAEs of your own."""
    yield saeviz.FeatureExtractorSpec(
        name="clip-b32-prisma",
        summary="CLIP ViT-B/32 (open_clip) with the Prisma SAEs",
        options=ClipOptions,
        factory="saeviz_vit.clip:ClipExtractor",
        needs=("torch", "torchvision", "open_clip", "huggingface_hub"),
        install="saeviz[models]",
        notes="saeviz_vit.notes:clip_notes",
        cites=(PRISMA, CLIP, OPEN_CLIP),
    )
    yield saeviz.FeatureExtractorSpec(
        name="vit-sae",
        summary="a transformers vision transformer with SAEs of your own",
        options=VitOptions,
        factory="saeviz_vit.vit:VitExtractor",
        needs=("torch", "torchvision", "transformers", "huggingface_hub"),
        install="saeviz[models]",
        notes="saeviz_vit.notes:vit_notes",
        cites=(replace(PRISMA, when="saes=*prisma*"), replace(CLIP, when="model=*clip*")),
    )
