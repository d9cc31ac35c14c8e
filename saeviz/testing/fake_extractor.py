"""The extractor of `saeviz.testing.fakes`: sparse features computed from the colours of patches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from saeviz.contract.context import Context
from saeviz.contract.options import Options
from saeviz.testing.fake_images import COLOURS
from saeviz.values.errors import ConfigError, ImageError
from saeviz.values.features import FeatureBatch, FeatureSpace, SAEFeatureResult, SpatialFeatures, Tokens
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image

    from saeviz.typing import Float32Array
    from saeviz.values.images import Box

GREY = 128 / 255
THRESHOLD = 0.02
GRID = 4
STATISTICS = 6
"""Numbers per patch: mean and standard deviation of red, green and blue, each in [0, 1]."""


class Slow(Options):
    """Options of a fake that can be slowed down."""

    seconds_per_item: float = Field(
        default=0.0, ge=0, description="seconds to wait for each item, to allow interrupting"
    )


class FakeExtractorOptions(Slow):
    """Options of `fake-extractor`."""

    layers: tuple[int, ...] = Field(default=(1, 2), min_length=1, description="layers; each has its own features")
    tokens: tuple[Tokens, ...] = Field(
        default=("cls",), min_length=1, description="tokens at which the features are read"
    )
    n_features: int = Field(default=32, ge=STATISTICS, description="number of features per space")
    batch_size: int = Field(default=4, ge=1, description="images per batch")
    reconstruction_error: bool = Field(default=False, description="whether to hand over a number of every image")


class FakeExtractor:
    """Sparse features of patch colours; `cls` is the mean patch.

    Features 0 to 2 are how far red, green and blue exceed grey, features 3 to 5 their standard deviations; the others
    are random mixtures of these. Has all optional capabilities of an extractor, including a joint embedding of pictures
    and colour words.
    """

    def __init__(self, options: FakeExtractorOptions, context: Context) -> None:
        self.options = options
        self.context = context

    @property
    def spaces(self) -> list[FeatureSpace]:
        """A space per layer and kind of tokens."""
        options = self.options
        return [
            FeatureSpace(layer, tokens, options.n_features) for layer in options.layers for tokens in options.tokens
        ]

    def numbers_of_images(self, space: FeatureSpace) -> list[str]:
        """`reconstruction_error` if the option asks for it."""
        return ["reconstruction_error"] if self.options.reconstruction_error else []

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Features in batches; an unreadable picture is reported and left out."""
        import numpy as np
        from scipy.sparse import csr_array

        source = iter(items)
        while chunk := list(islice(source, self.options.batch_size)):
            readable = [(item.item_id, patches) for item in chunk if (patches := self._try_patches(item)) is not None]
            if not readable:
                continue
            ids = tuple(item_id for item_id, _ in readable)
            for space in self.spaces:
                rows = [self._pooled(patches, space) for _, patches in readable]
                errors = np.array([float(1 - row[:STATISTICS].mean()) for row in rows])
                of_images = {"reconstruction_error": errors} if self.options.reconstruction_error else {}
                yield FeatureBatch(space, ids, csr_array(rows), of_images)

    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: int | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """CLS features of one picture; what is reconstructed are the six statistics, where above zero."""
        import numpy as np

        space = FeatureSpace(self._layer(layer), "cls", self.options.n_features)
        features = self._pooled(_patches(_picture(image)), space)
        strongest = np.argsort(-features, kind="stable")[: min(top_k, int((features > 0).sum()))]
        return SAEFeatureResult(
            space=space,
            features=features,
            num_active=int((features > 0).sum()),
            top_indices=strongest.astype(np.int64),
            top_values=features[strongest],
            reconstruct=features[:STATISTICS].copy,
        )

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: int | None = None) -> SpatialFeatures:
        """Features of every patch of one picture."""
        layer = self._layer(layer)
        return SpatialFeatures(layer, _encode(_patches(_picture(image)), layer, self.options.n_features), (GRID, GRID))

    def heatmaps(
        self, images: Sequence[Image | ImageItem | Path | str], layer: int, features: Sequence[int], fine: bool = False
    ) -> Float32Array:
        """The columns of `extract_spatial`; with `fine`, each patch becomes 3 x 3 equal cells."""
        import numpy as np

        maps = [[self.extract_spatial(image, layer).heatmap(feature) for feature in features] for image in images]
        found = np.array(maps, np.float32)
        return found.repeat(3, axis=-1).repeat(3, axis=-2) if fine else found

    def field_of_view(self, image: Image | ImageItem | Path | str) -> Box:
        """The whole picture."""
        width, height = _picture(image).size
        return 0.0, 0.0, float(width), float(height)

    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """Unit vectors `[n, 3]`: the direction of the mean colour from grey; NaN where unreadable."""
        import numpy as np

        rows = [self._try_patches(item) for item in items]
        means = [np.full(3, np.nan) if row is None else row[:, :3].mean(axis=0) for row in rows]
        return _unit(np.array(means, dtype=np.float32).reshape(-1, 3) - np.float32(0.5))

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """Unit vectors `[n, 3]`: the direction of the first colour word; other texts share one direction."""
        import numpy as np

        named = [next((COLOURS[word] for word in text.split() if word in COLOURS), (0, 0, 0)) for text in texts]
        return _unit(np.array(named, dtype=np.float32).reshape(-1, 3) / np.float32(255) - np.float32(0.5))

    def _layer(self, layer: int | None) -> int:
        if layer is None:
            return self.options.layers[-1]
        if layer not in self.options.layers:
            raise ConfigError(f"extractor.layers: layer {layer} is not one of {list(self.options.layers)}")
        return layer

    def _try_patches(self, item: ImageItem) -> Float32Array | None:
        time.sleep(self.options.seconds_per_item)
        try:
            return _patches(item.open())
        except ImageError as error:
            self.context.failed(item.item_id, str(error))
            return None

    def _pooled(self, patches: Float32Array, space: FeatureSpace) -> Float32Array:
        if space.tokens == "cls":
            patches = patches.mean(axis=0, keepdims=True)
        features = _encode(patches, int(space.layer), space.n_features)
        pooled: Float32Array = features.mean(axis=0) if space.tokens == "patch-mean" else features.max(axis=0)
        return pooled


def _picture(image: Image | ImageItem | Path | str) -> Image:
    if isinstance(image, (Path, str)):
        image = ImageItem(str(image), Path(image))
    return image.open() if isinstance(image, ImageItem) else image


def _patches(image: Image) -> Float32Array:
    """Float32 `[patches, STATISTICS]`, patches row-major."""
    import numpy as np

    side = 8
    pixels: Float32Array = np.asarray(
        image.convert("RGB").resize((GRID * side, GRID * side)), dtype=np.float32
    ) / np.float32(255)
    patches = pixels.reshape(GRID, side, GRID, side, 3).swapaxes(1, 2).reshape(GRID * GRID, side * side, 3)
    statistics: Float32Array = np.concatenate([patches.mean(axis=1), patches.std(axis=1)], axis=1)
    return statistics


@cache
def _encoder(layer: int, n_features: int) -> Float32Array:
    import numpy as np

    mixtures = np.random.default_rng(layer).normal(size=(STATISTICS, n_features - STATISTICS))
    encoder: Float32Array = np.concatenate([np.eye(STATISTICS), mixtures], axis=1).astype(np.float32)
    return encoder


def _encode(statistics: Float32Array, layer: int, n_features: int) -> Float32Array:
    import numpy as np

    above_grey = statistics - np.array([GREY, GREY, GREY, 0, 0, 0], dtype=np.float32)
    features: Float32Array = np.maximum(above_grey @ _encoder(layer, n_features) - THRESHOLD, np.float32(0))
    return features


def _unit(rows: Float32Array) -> Float32Array:
    import numpy as np

    unit: Float32Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6))
    return unit
