"""What each kind of component must be able to do, and what it may do in addition.

A role grows by an optional capability (a separate protocol, checked with `isinstance`), never by a new required method,
so plugins written for an earlier saeviz still work.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from saeviz.typing import Float32Array, FloatArray
    from saeviz.values.features import FeatureBatch, FeatureSpace, SAEFeatureResult, SpatialFeatures
    from saeviz.values.images import Box, ImageItem
    from saeviz.values.naming import FeatureLabel, LabelRequest, Usage
    from saeviz.values.outcomes import Health
    from saeviz.values.score_input import ScoreInput
    from saeviz.values.scores import ScoreColumn, ScoreFact, ScoreTable, Selected


@runtime_checkable
class ImageProvider(Protocol):
    """Where images and their ratings come from."""

    def get_image(self, item_id: str) -> ImageItem | None:
        """The image with this id, or None."""
        ...

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """All images in a stable order, not decoded; with `filter_labeled` only those that have a rating."""
        ...


@runtime_checkable
class ReportsNotes(Protocol):
    """Optional for an image provider: notes about the data that the user should read."""

    def notes(self) -> Sequence[str]:
        """Sentences, for example how many rows of the ratings table have no image. Called after `iter_images`."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns images into sparse SAE features."""

    @property
    def spaces(self) -> Sequence[FeatureSpace]:
        """The feature spaces that it produces, known without running the model."""
        ...

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Features of the items: for each chunk of them one batch per space, all with the same ids.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class SingleImageExtractor(Protocol):
    """Optional for an extractor: features of a single image, for heatmaps and notebooks."""

    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: int | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """CLS features of one image at `layer` (default: the last one configured)."""
        ...

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: int | None = None) -> SpatialFeatures:
        """Features of every patch of one image at `layer` (default: the last one configured)."""
        ...


@runtime_checkable
class HeatmapExtractor(Protocol):
    """Optional for an extractor: where chosen features fire, cheaper than `extract_spatial` and finer than patches."""

    def heatmaps(
        self, images: Sequence[Image | ImageItem | Path | str], layer: int, features: Sequence[int], fine: bool = False
    ) -> Float32Array:
        """`[n, n_features, rows, cols]`, the columns of `extract_spatial` that belong to `features`.

        With `fine` an odd multiple of rows and columns over the same field of view, with the same value in the middle
        cell of each patch. Raises `ImageError` for an image that cannot be read.
        """
        ...

    def field_of_view(self, image: Image | ImageItem | Path | str) -> Box:
        """The part of the picture that the map covers: left, top, right, bottom in pixels of the upright picture.

        It reaches beyond the picture if the model pads it.
        """
        ...


@runtime_checkable
class Checkable(Protocol):
    """Optional for an extractor: check on a few images that each layer has the right SAE."""

    def health(self, items: Sequence[ImageItem]) -> Iterable[Health]:
        """Measured figures beside the published ones, and warnings, for `saeviz check --deep`. Loads the model.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class HasProvenance(Protocol):
    """Optional for an extractor and an embedding provider: which model files were used."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """A JSON-able record for the manifest, for example the commit of a hub revision. Read after use."""
        ...


@runtime_checkable
class HasActivations(Protocol):
    """Optional for an extractor: the activations that the SAEs encode, to compare features with."""

    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """`[n, d_in]`: the model's own activations at the layer and tokens of `space`; patches as their mean.

        An image that cannot be read gives a row of NaN.
        """
        ...


@runtime_checkable
class HasManyActivations(Protocol):
    """Optional for an extractor with `HasActivations`: activations of several spaces from one pass of the model."""

    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> Sequence[Float32Array]:
        """The result of `activations` for each space."""
        ...


@runtime_checkable
class HasDecoder(Protocol):
    """Optional for an extractor: the decoder directions of the features."""

    def decoder(self, space: FeatureSpace) -> Float32Array:
        """`W_dec` of the SAE of `space`, `[n_features, d_in]`."""
        ...


@runtime_checkable
class TextAligned(Protocol):
    """Optional for an extractor: the model's joint space of images and texts, rows of unit length."""

    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """`[n, dim]`; an unreadable image gives a row of NaN."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """`[n, dim]`."""
        ...


@runtime_checkable
class FeatureStore(Protocol):
    """Stores sparse features. A batch is safe from a crash once `write` has returned."""

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch; items that are already stored are replaced."""
        ...

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Stream the batches of a space in bounded memory.

        With `item_ids`: exactly these, in this order; raises `DataError` naming a missing one.
        """
        ...

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items stored for a space, in the order of writing."""
        ...

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one item, sorted."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release files and connections; safe to call twice."""
        ...


@runtime_checkable
class SaysDurability(Protocol):
    """Optional for a feature store: whether its features outlive the process. A store without it counts as durable."""

    @property
    def durable(self) -> bool:
        """Whether stored features are still there when the process has ended."""
        ...


@runtime_checkable
class EmbeddingProvider(Protocol):
    """An image embedding that is independent of the model whose features are judged."""

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        ...

    def embed(self, items: Sequence[ImageItem]) -> Float32Array:
        """`[len(items), dim]` float32, a row per item; an unreadable image is reported and gives NaN."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Computes one or several scores of every feature of a space."""

    def score(self, data: ScoreInput) -> Iterable[ScoreColumn | ScoreFact]:
        """The columns of one space. Called once per space of the run."""
        ...


@runtime_checkable
class FamilyScorer(Protocol):
    """Optional for a scorer: columns that need all spaces at once, such as adjusted p-values."""

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterable[ScoreColumn | ScoreFact]:
        """Further columns, computed from everything that `score` returned for all spaces."""
        ...


@runtime_checkable
class Selector(Protocol):
    """Chooses the features worth a name."""

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features, best first, no duplicates."""
        ...


@runtime_checkable
class Labeler(Protocol):
    """Names a feature."""

    def label(self, request: LabelRequest) -> FeatureLabel:
        """The name of the feature; raises `LabelError` if it cannot be named."""
        ...


@runtime_checkable
class ConcurrentLabeler(Protocol):
    """Optional for a labeler: `label` may be called from several threads at once."""

    @property
    def concurrency(self) -> int:
        """Recommended number of concurrent calls."""
        ...


@runtime_checkable
class MeteredLabeler(Protocol):
    """Optional for a labeler: its cost, estimated before and measured after."""

    def estimate(self, requests: Sequence[LabelRequest]) -> Usage:
        """Estimated cost of naming these features; nothing is sent, no image is opened."""
        ...

    @property
    def usage(self) -> Usage:
        """Usage so far in this run directory, including earlier runs."""
        ...


@runtime_checkable
class LabelJudge(Protocol):
    """Optional for a labeler: judge from a label's words alone to which images it applies.

    A score of 0.5 or more means that it applies. Errors are raised as by `label`. A `ConcurrentLabeler` may be called
    from several threads; `usage` of a `MeteredLabeler` counts judgements as well.
    """

    def judge(self, label: FeatureLabel, images: Sequence[ImageItem]) -> FloatArray:
        """`[n]` in [0, 1], higher where the label applies; NaN for an image that cannot be judged.

        `label` has `label` and `description` only. Raises `LabelError` if the label cannot be judged at all.
        """
        ...


@runtime_checkable
class MeteredJudge(Protocol):
    """Optional for a judge: its cost, estimated before."""

    def estimate_judging(self, n_images: Sequence[int]) -> Usage:
        """Estimated cost of judging labels on this number of images each; nothing is sent."""
        ...


def missing_members(component: object, protocol: type) -> list[str]:
    """The methods and properties of a role's protocol that a component lacks; no property is evaluated."""
    names = [name for name in vars(protocol) if not name.startswith("_")]
    return [name for name in names if inspect.getattr_static(component, name, None) is None]
