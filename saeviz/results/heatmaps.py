"""Heatmaps of features of an open run, by what its extractor can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saeviz.contract.roles import HeatmapExtractor, SingleImageExtractor
from saeviz.values.errors import DataError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.contract.roles import FeatureExtractor
    from saeviz.typing import Float32Array


def heatmaps_by(
    extractor: FeatureExtractor, words: str, features: Sequence[Feature], item: ImageItem, *, fine: bool
) -> dict[Feature, Float32Array]:
    """The heatmap `[rows, cols]` of each feature on an image; `words` are what messages call the extractor.

    Looks at the image once for each site. Raises `DataError` if the extractor cannot make them.
    """
    by_site: dict[int | str, list[Feature]] = {}
    for one in features:
        by_site.setdefault(one.site, []).append(one)
    found: dict[Feature, Float32Array] = {}
    for site, own in by_site.items():
        if isinstance(extractor, HeatmapExtractor):
            maps = extractor.heatmaps([item], site, [one.index for one in own], fine)[0]
            found.update(zip(own, maps, strict=True))
        elif isinstance(extractor, SingleImageExtractor) and not fine:
            spatial = extractor.extract_spatial(item, layer=site)
            found.update((one, spatial.heatmap(one.index)) for one in own)
        else:
            what = "make fine heatmaps" if fine else "look at single images"
            raise DataError(f"{words} cannot {what}")
    return found
