"""Convolutional networks of timm: stages have names, `saes = { stage2 = "..." }`, and each has a grid of its own."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

import saeviz
from saeviz.toolkit import TokenExtractor
from saeviz.toolkit.embed import ModelFiles
from saeviz.toolkit.sae import SAEOptions


class ConvNetOptions(SAEOptions):
    model: Annotated[str, saeviz.PATH] = Field(default="timm/convnext_tiny.fb_in22k", description="hub id or folder")
    tokens: tuple[saeviz.Tokens, ...] = ("patch-max",)


class ConvNet(TokenExtractor):
    @cached_property
    def source(self):
        names = ("config.json", "model.safetensors")
        return ModelFiles(self.options.model, names, self.context.option("model"), self.context)

    @property
    def files(self):
        return self.source.weights()

    def load(self):
        import timm
        from timm.data import create_transform, resolve_data_config

        with self.source.explained():
            model = timm.create_model(f"local-dir:{self.source.folder()}", pretrained=True)
        return create_transform(**resolve_data_config({}, model=model)), model

    def tokens(self, model, pixels, points):
        stages = {point: int(point.layer.removeprefix("stage")) for point in points}
        indices = sorted(set(stages.values()))
        maps = model.forward_intermediates(pixels, indices=indices, stop_early=True, intermediates_only=True)
        found = dict(zip(indices, maps, strict=True))
        return [found[stages[point]].permute(0, 2, 3, 1) for point in points]


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(
        name="convnet", summary="a ConvNet of timm with SAEs of your own", options=ConvNetOptions, factory=ConvNet
    )
