"""Prepare pictures for sending."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from saeviz.contract.combined import field_of_view
from saeviz.contract.roles import HeatmapExtractor
from saeviz.pictures.heatmap import draw_heatmap
from saeviz.pictures.rgb import to_rgb
from saeviz.toolkit.images import check_shape
from saeviz.toolkit.vlm.service import Picture
from saeviz.values.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from saeviz.values.features import Feature
    from saeviz.values.images import ImageItem

QUALITY = 85


def open_picture(item: ImageItem) -> Image | None:
    """The decoded picture, None if it cannot be read or is too long and narrow for a model."""
    try:
        image = item.open()
        check_shape(image)
        return to_rgb(image)
    except ImageError:
        return None


def prepare(image: Image, size: int) -> Picture:
    """The picture as an RGB JPEG without metadata, its longer side at most `size` pixels."""
    from PIL.Image import Resampling

    small = image.copy()
    small.info.clear()
    small.thumbnail((size, size), Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return Picture(file.getvalue())


def with_heatmap(extractor: HeatmapExtractor, item: ImageItem, image: Image, feature: Feature) -> Image:
    """The picture with the feature's heatmap drawn over it, brighter where it fires more."""
    values = extractor.heatmaps([item], feature.site, [feature.index])[0, 0]
    return draw_heatmap(image, values, field_of_view(extractor, item, feature))
