"""SigLIP of transformers: no class token, so features are pooled over the patches."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

import saeviz
from saeviz.toolkit import TokenExtractor
from saeviz.toolkit.embed import ModelFiles
from saeviz.toolkit.model_folders import from_folder
from saeviz.toolkit.sae import SAEOptions
from saeviz.toolkit.tokens import recorded


class SiglipOptions(SAEOptions):
    model: Annotated[str, saeviz.PATH] = Field(default="google/siglip-base-patch16-224", description="hub id or folder")
    tokens: tuple[saeviz.Tokens, ...] = ("patch-max",)


class Siglip(TokenExtractor):
    @cached_property
    def source(self):
        names = ("config.json", "preprocessor_config.json", "model.safetensors")
        return ModelFiles(self.options.model, names, self.context.option("model"), self.context)

    @property
    def files(self):
        return self.source.weights()

    def load(self):
        folder, option = self.source.folder(), self.context.option("model")
        with self.source.explained():
            processor = from_folder("AutoImageProcessor", folder, option)
            model = from_folder("SiglipVisionModel", folder, option)
        tower = getattr(model, "vision_model", model)  # transformers before 5 wraps it
        return lambda image: processor(image, return_tensors="pt")["pixel_values"][0], tower

    def tokens(self, model, pixels, points):
        with recorded({point: model.encoder.layers[point.layer] for point in points}) as seen:
            model(pixels)
        edge = model.config.patch_size
        grid = pixels.shape[-2] // edge, pixels.shape[-1] // edge
        return [seen[point].unflatten(1, grid) for point in points]


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(
        name="siglip", summary="SigLIP with SAEs of your own", options=SiglipOptions, factory=Siglip
    )
