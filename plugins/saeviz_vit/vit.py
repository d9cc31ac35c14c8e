"""Any vision transformer of the transformers library."""

from __future__ import annotations

from saeviz import Context
from saeviz_vit.extractor import SAEExtractor
from saeviz_vit.models.transformers_vit import TransformersVit
from saeviz_vit.options import VitOptions


class VitExtractor(SAEExtractor):
    """The extractor `vit-sae`, see `saeviz.FeatureExtractor` and `saeviz.SingleImageExtractor`."""

    def __init__(self, options: VitOptions, context: Context) -> None:
        super().__init__(options, context, TransformersVit(options, context))
