"""A CLIP of open_clip of any size, with its class token and its patches."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

import saeviz
from saeviz.toolkit import TokenExtractor
from saeviz.toolkit.embed import ModelFiles
from saeviz.toolkit.sae import SAEOptions
from saeviz.toolkit.tokens import TokenGrid


class LargeClipOptions(SAEOptions):
    model: Annotated[str, saeviz.PATH] = Field(
        default="laion/CLIP-ViT-L-14-laion2B-s32B-b82K", description="hub id or folder"
    )


class LargeClip(TokenExtractor):
    @cached_property
    def source(self):
        names = ("open_clip_config.json", "open_clip_model.safetensors")
        return ModelFiles(self.options.model, names, self.context.option("model"), self.context)

    @property
    def files(self):
        return [self.source.folder() / "open_clip_model.safetensors"]

    def load(self):
        import open_clip

        with self.source.explained():
            model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{self.source.folder()}")
        return transform, model.visual

    def tokens(self, model, pixels, points):
        layers = sorted({point.layer for point in points})
        seen = model.forward_intermediates(
            pixels, indices=layers, stop_early=True, intermediates_only=True, output_extra_tokens=True
        )
        parts = zip(seen["image_intermediates"], seen["image_intermediates_prefix"], strict=True)
        found = dict(zip(layers, parts, strict=True))
        read = [found[point.layer] for point in points]
        return [TokenGrid(patches.permute(0, 2, 3, 1), prefix[:, 0]) for patches, prefix in read]


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(
        name="large-clip", summary="a CLIP of open_clip", options=LargeClipOptions, factory=LargeClip
    )
