"""The built-in gallery: pictures drawn on the spot, rated by a simulated panel whose taste is known."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz


class GalleryOptions(saeviz.Options):
    """Options of the image provider `gallery`."""

    count: int = Field(480, ge=1, le=100_000, description="number of pictures")
    seed: int = Field(
        0,
        ge=0,
        le=4_294_967_295,
        description="random seed; a different one gives different pictures, and different raters with the same taste",
    )
    size: int = Field(192, ge=16, le=2048, description="width and height of a picture in pixels")
    shuffle_ratings: bool = Field(
        False, description="assign the ratings to random pictures: a control in which there is nothing to find"
    )


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The provider `gallery`."""
    yield saeviz.ImageProviderSpec(
        name="gallery",
        summary="drawn pictures with ratings of a simulated panel whose taste is known",
        options=GalleryOptions,
        factory="saeviz_gallery.provider:Gallery",
        example="saeviz_gallery:demo/run.toml",
    )
