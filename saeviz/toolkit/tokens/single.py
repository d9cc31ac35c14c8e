"""Features and heatmaps of chosen images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz.toolkit.sae.options import IMAGE
from saeviz.toolkit.tokens.loading import ModelWithSAEs, Site
from saeviz.toolkit.tokens.pixels import prepare
from saeviz.toolkit.tokens.spatial import FINER, Frame, run_windows
from saeviz.values.errors import ConfigError
from saeviz.values.features import SAEFeatureResult, SpatialFeatures
from saeviz.values.images import Box, ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.toolkit.sae.options import HookPoint
    from saeviz.typing import Float32Array


class SingleImages(ModelWithSAEs):
    """Features and heatmaps of single images; see `saeviz.SingleImageExtractor` and `saeviz.HeatmapExtractor`."""

    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: Site | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """Features of the class token of one image, or of its embedding, at `layer` (default: the last one configured).

        Raises `ImageError` for a picture that cannot be read.
        """
        import numpy as np

        table, sae = self._sae_for(layer, "cls")
        x = self._activations([self._pixels(image)], [table.point]).cls(table.point)
        encoded = sae.encode(x)
        features = encoded[0].cpu().numpy()

        def reconstruct() -> Float32Array:
            estimate: Float32Array = sae.decode(encoded, x)[0].numpy()
            return estimate

        order = np.argsort(-features, kind="stable")[: min(top_k, int((features > 0).sum()))]
        return SAEFeatureResult(
            space=table.space(IMAGE if table.layer is None else "cls", features.size),
            features=features,
            num_active=int((features > 0).sum()),
            top_indices=order,
            top_values=features[order],
            reconstruct=reconstruct,
        )

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: Site | None = None) -> SpatialFeatures:
        """Features of every patch of one image at `layer` (default: the last configured layer).

        Raises `ImageError` for a picture that cannot be read.
        """
        table, sae = self._sae_for(layer, "patch-max")
        activations = self._activations([self._pixels(image)], [table.point])
        features = sae.encode(activations.patches(table.point)[0])
        return SpatialFeatures(table.site, features.cpu().numpy(), activations.grid(table.point))

    def heatmaps(
        self, images: Sequence[Image | ImageItem | Path | str], layer: Site, features: Sequence[int], fine: bool = False
    ) -> Float32Array:
        """Heatmaps of chosen features, `[n, n_features, rows, cols]`; see `saeviz.HeatmapExtractor`.

        A fine map has 5 x 5 cells per patch: the value of a cell is the activation on a patch around its centre, for
        which the crop is shifted. It takes 25 forward passes per image.
        """
        import numpy as np

        table, sae = self._sae_for(layer, "patch-max")
        unknown = [feature for feature in features if not 0 <= feature < sae.config.d_sae]
        if unknown:
            raise ConfigError(f"{table.title} has {sae.config.d_sae} features, so there is no feature {unknown[0]}")
        if not images:
            return np.zeros((0, len(features), 0, 0), np.float32)

        def features_of(pixels: Sequence[Tensor]) -> Tensor:
            activations = self._activations(pixels, [table.point])
            encoded = sae.encode_only(activations.patches(table.point).flatten(0, 1), features)
            return encoded.view(len(pixels), *activations.grid(table.point), len(features))

        windows = (window for image in images for window in self._windows(image, table.point, fine))
        per_side = FINER if fine else 1
        return run_windows(windows, features_of, batch_size=self.options.batch_size, per_side=per_side)

    def field_of_view(self, image: Image | ImageItem | Path | str) -> Box:
        """The part of an image that its patches cover: left, top, right, bottom in pixels."""
        _ = self.loaded
        of_patches = [point for point in self._points if point.layer is not None]
        return self._frame(image, (of_patches or self._points)[0]).box

    def _windows(self, image: Image | ImageItem | Path | str, point: HookPoint, fine: bool) -> Iterable[Tensor]:
        return self._frame(image, point).windows() if fine else [self._pixels(image)]

    def _frame(self, image: Image | ImageItem | Path | str, point: HookPoint) -> Frame:
        patch = self.patch(point)
        return prepare(image, lambda picture: Frame(picture.size, self.transform(picture), self.whole(picture), patch))
