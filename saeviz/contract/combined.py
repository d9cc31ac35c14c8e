"""Several extractors as one: each space has the name of its extractor in front."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from saeviz.contract.roles import (
    FeatureExtractor,
    HasActivations,
    HasDecoder,
    HasManyActivations,
    HasModelFiles,
    HasNumbersOfImages,
    HasProvenance,
    HeatmapExtractor,
    SingleImageExtractor,
    TextAligned,
    can,
)
from saeviz.values.errors import ConfigError, NoHeatmapError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace, Layer, SAEFeatureResult, SpatialFeatures

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from saeviz.typing import Float32Array
    from saeviz.values.images import Box, ImageItem


class Combined:
    """The extractors of a run by their names. `combined` adds what at least one of them can do besides."""

    def __init__(self, parts: Mapping[str, FeatureExtractor]) -> None:
        self.parts = parts

    @property
    def spaces(self) -> Sequence[FeatureSpace]:
        """The spaces of all extractors: `layer11.cls` of the extractor `text` is `text.layer11.cls` here."""
        return list(self._own)

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """The features by one extractor after the other."""
        items = items if len(self.parts) == 1 else list(items)
        for name, part in self.parts.items():
            for batch in part.extract(items):
                yield replace(batch, space=_named(batch.space, name))

    @cached_property
    def _own(self) -> dict[FeatureSpace, tuple[FeatureExtractor, FeatureSpace]]:
        """For each space its extractor, and what that calls it."""
        return {_named(space, name): (part, space) for name, part in self.parts.items() for space in part.spaces}

    def _of(self, space: FeatureSpace, protocol: type[Any]) -> tuple[Any, FeatureSpace]:
        part, own = self._own[space]
        return self._able(part, protocol), own

    def _at(self, layer: Layer | None, protocol: type[Any]) -> tuple[Any, Layer | None]:
        """The extractor of a `site`, and what that calls it; without one, the first that can do what is wanted."""
        if layer is None:
            return self._first(protocol), None
        found = next(((part, own) for space, (part, own) in self._own.items() if space.site == layer), None)
        if found is None:
            sites = ", ".join(str(site) for site in dict.fromkeys(space.site for space in self._own))
            raise ConfigError(f"the extractors of this run have no layer {layer!r}; there are: {sites}")
        return self._able(found[0], protocol), found[1].site

    def _first(self, protocol: type[Any]) -> Any:
        return next(part for part in self.parts.values() if isinstance(part, protocol))

    def _able(self, part: FeatureExtractor, protocol: type[Any]) -> Any:
        if not isinstance(part, protocol):
            error = NoHeatmapError if protocol is HeatmapExtractor else ConfigError
            raise error(f"the extractor {self._name(part)!r} of this run {_LACKING[protocol]}")
        return part

    def _name(self, part: FeatureExtractor) -> str:
        return next(name for name, other in self.parts.items() if other is part)


class _WithProvenance(Combined):
    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of each extractor, by its name."""
        return {name: dict(part.provenance) for name, part in self.parts.items() if can(part, HasProvenance)}


class _WithModelFiles(Combined):
    def model_files(self) -> Sequence[Path]:
        """Those of all extractors, each once; an extractor that does not say which it uses is left out."""
        able = (part for part in self.parts.values() if isinstance(part, HasModelFiles))
        return list(dict.fromkeys(path for part in able for path in part.model_files()))


class _WithSingleImages(Combined):
    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: Layer | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """By the extractor of `layer`."""
        part, own = self._at(layer, SingleImageExtractor)
        found: SAEFeatureResult = part.extract_from_image(image, own, top_k)
        return replace(found, space=_named(found.space, self._name(part)))

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: Layer | None = None) -> SpatialFeatures:
        """By the extractor of `layer`."""
        part, own = self._at(layer, SingleImageExtractor)
        found: SpatialFeatures = part.extract_spatial(image, own)
        return found if layer is None else replace(found, layer=layer)


class _WithHeatmaps(Combined):
    def heatmaps(
        self,
        images: Sequence[Image | ImageItem | Path | str],
        layer: Layer,
        features: Sequence[int],
        fine: bool = False,
    ) -> Float32Array:
        """By the extractor of `layer`."""
        part, own = self._at(layer, HeatmapExtractor)
        found: Float32Array = part.heatmaps(images, own, features, fine)
        return found

    def field_of_view(self, image: Image | ImageItem | Path | str, layer: Layer | None = None) -> Box:
        """That of the extractor of `layer`."""
        box: Box = self._at(layer, HeatmapExtractor)[0].field_of_view(image)
        return box


class _WithActivations(Combined):
    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """By the extractor of `space`."""
        part, own = self._of(space, HasActivations)
        found: Float32Array = part.activations(items, own)
        return found


class _WithManyActivations(_WithActivations):
    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> Sequence[Float32Array]:
        """One pass of each extractor that gives several at once."""
        found: dict[FeatureSpace, Float32Array] = {}
        for part in self.parts.values():
            mine = [space for space in spaces if self._own[space][0] is part]
            if mine and isinstance(part, HasManyActivations):
                found |= zip(mine, part.activations_of(items, [self._own[space][1] for space in mine]), strict=True)
        return [found[space] if space in found else self.activations(items, space) for space in spaces]


class _WithDecoder(Combined):
    def decoder(self, space: FeatureSpace) -> Float32Array:
        """By the extractor of `space`."""
        part, own = self._of(space, HasDecoder)
        found: Float32Array = part.decoder(own)
        return found


class _WithNumbersOfImages(Combined):
    def numbers_of_images(self, space: FeatureSpace) -> Sequence[str]:
        """By the extractor of `space`; none where that gives none."""
        part, own = self._own[space]
        return part.numbers_of_images(own) if isinstance(part, HasNumbersOfImages) else ()


class _WithText(Combined):
    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """By the first extractor that has a joint space of images and texts."""
        found: Float32Array = self._first(TextAligned).embed_images(items)
        return found

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """By the same extractor."""
        found: Float32Array = self._first(TextAligned).embed_texts(texts)
        return found


_LACKING: dict[type[Any], str] = {
    SingleImageExtractor: "cannot look at single images",
    HeatmapExtractor: "makes no heatmaps",
    HasActivations: "does not give the activations that its SAEs encode",
    HasDecoder: "has no decoder directions",
}
"""In words, what an extractor cannot do that is asked for one of its spaces."""
_CAPABILITIES: dict[type[Any], type[Combined]] = {
    HasProvenance: _WithProvenance,
    HasModelFiles: _WithModelFiles,
    SingleImageExtractor: _WithSingleImages,
    HeatmapExtractor: _WithHeatmaps,
    HasActivations: _WithActivations,
    HasManyActivations: _WithManyActivations,
    HasDecoder: _WithDecoder,
    HasNumbersOfImages: _WithNumbersOfImages,
    TextAligned: _WithText,
}


def field_of_view(extractor: HeatmapExtractor, image: Image | ImageItem | Path | str, feature: Feature) -> Box:
    """The part of a picture that the heatmap of a feature covers: several extractors may each see another part."""
    if isinstance(extractor, _WithHeatmaps):
        return extractor.field_of_view(image, feature.site)
    return extractor.field_of_view(image)


def combined(parts: Mapping[str, FeatureExtractor]) -> FeatureExtractor:
    """The extractors as one, which can do what at least one of them can, and says so by `isinstance`.

    Raises `ConfigError` when it is asked to do that for a space whose extractor cannot; for a heatmap `NoHeatmapError`.
    """
    able = [mixin for protocol, mixin in _CAPABILITIES.items() if any(_has(part, protocol) for part in parts.values())]
    bases = [one for one in able if not any(other is not one and issubclass(other, one) for other in able)]
    kind: type[Combined] = type("Combined", (*bases, Combined), {})
    return kind(parts)


def _has(part: FeatureExtractor, protocol: type[Any]) -> bool:
    """By `isinstance`, which asks an extractor that delegates to another; a property must not be read yet."""
    return can(part, protocol) if protocol is HasProvenance else isinstance(part, protocol)


def _named(space: FeatureSpace, name: str) -> FeatureSpace:
    return replace(space, sae=f"{name}-{space.sae}" if space.sae else name)
