"""An embedding of colours only: how much of a picture has which colour.

A joint histogram of red, green and blue, eight steps each (Swain & Ballard 1991), as square roots, so that the cosine
of two pictures is the Bhattacharyya coefficient of their histograms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import saeviz
from saeviz.toolkit.images import to_rgb

STEPS = 8


class Colours:
    """512 numbers per picture."""

    dim = STEPS**3

    def __init__(self, options: saeviz.Options, context: saeviz.Context) -> None:
        self.context = context

    def embed(self, items: Sequence[saeviz.ImageItem]) -> np.ndarray:
        """`[n, 512]` float32; a picture that cannot be read is reported and gives NaN."""
        rows = np.full((len(items), self.dim), np.nan, dtype=np.float32)
        for row, item in enumerate(items):
            try:
                pixels = np.asarray(to_rgb(item.open())).reshape(-1, 3)
            except saeviz.ImageError as error:
                self.context.failed(item.item_id, str(error))
                continue
            colours = pixels // (256 // STEPS) @ [STEPS**2, STEPS, 1]
            rows[row] = np.sqrt(np.bincount(colours, minlength=self.dim) / len(pixels))
        return rows


@saeviz.hookimpl
def saeviz_embedding_providers() -> Iterator[saeviz.EmbeddingProviderSpec]:
    """The embedding `colours`."""
    yield saeviz.EmbeddingProviderSpec(name="colours", summary="a histogram of colours", factory=Colours)
