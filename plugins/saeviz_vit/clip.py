"""CLIP through open_clip: the image tower for the SAEs, both towers for words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saeviz import Context, ImageItem
from saeviz.toolkit.decode import decode_ahead
from saeviz_vit.extractor import SAEExtractor
from saeviz_vit.models.openclip import TEXTS_PER_BATCH, OpenClip
from saeviz_vit.options import ClipOptions

if TYPE_CHECKING:
    from saeviz.typing import Float32Array


class ClipExtractor(SAEExtractor):
    """The extractor `clip-b32-prisma`, see `saeviz.FeatureExtractor`, `SingleImageExtractor` and `TextAligned`."""

    def __init__(self, options: ClipOptions, context: Context) -> None:
        self._clip = OpenClip(options, context)
        super().__init__(options, context, self._clip)

    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """Unit vectors `[n, dim]` in CLIP's joint space; an unreadable image is reported and gives a row of NaN."""
        import numpy as np

        self._clip.load()
        rows: dict[str, Float32Array] = {}
        for chunk, pixels in decode_ahead(
            items, self._pixels, batch_size=self.options.batch_size, context=self.context
        ):
            embedded = self._clip.embed_pixels(pixels)
            rows.update(zip((item.item_id for item in chunk), embedded, strict=True))
        missing = np.full(self._clip.embed_dim, np.nan, dtype=np.float32)
        return np.array([rows.get(item.item_id, missing) for item in items], np.float32).reshape(
            len(items), self._clip.embed_dim
        )

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """Unit vectors `[n, dim]` in CLIP's joint space."""
        import numpy as np

        starts = range(0, len(texts), TEXTS_PER_BATCH)
        parts = [self._clip.embed_texts(list(texts[start : start + TEXTS_PER_BATCH])) for start in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self._clip.embed_dim), np.float32)
