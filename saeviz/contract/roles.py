"""What each kind of component must be able to do, and what it may be able to do besides.

A role grows by an optional capability (a protocol of its own, looked for with `isinstance`), never by a
new required method: so a plugin written for an earlier saeviz keeps working.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from saeviz.typing import Float32Array
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
    """Optional for an image provider: sentences about the data that the user should read."""

    def notes(self) -> Sequence[str]:
        """For instance how many rows of the ratings table have no image. Called after `iter_images`."""
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Images to sparse SAE features."""

    @property
    def spaces(self) -> Sequence[FeatureSpace]:
        """The spaces it fills, known without running the model."""
        ...

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Features of the items: for each chunk of them one batch per space, all with the same ids.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class SingleImageExtractor(Protocol):
    """Optional for an extractor: one image by itself, for heatmaps and notebooks."""

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
        """What the map covers: left, top, right, bottom in pixels of the upright picture.

        Reaches beyond the picture where the model pads it.
        """
        ...


@runtime_checkable
class Checkable(Protocol):
    """Optional for an extractor: find out on a few images whether the right weights are in the right place."""

    def health(self, items: Sequence[ImageItem]) -> Iterable[Health]:
        """Figures beside the published ones, and warnings. For `saeviz check --deep`; loads the model.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class HasProvenance(Protocol):
    """Optional for an extractor and an embedding provider: which files the numbers come from."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """For the manifest, JSON-able: for instance the commit that a hub revision stood for. Read after use."""
        ...


@runtime_checkable
class HasActivations(Protocol):
    """Optional for an extractor: what the SAEs are made from, to compare features with."""

    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """`[n, d_in]`: the model's own activations at the layer and tokens of `space`; patches as their mean.

        An image that cannot be read gives a row of NaN.
        """
        ...


@runtime_checkable
class HasManyActivations(Protocol):
    """Optional for an extractor that `HasActivations`: those of several spaces, for which the model runs once."""

    def activations_of(self, items: Sequence[ImageItem], spaces: Sequence[FeatureSpace]) -> Sequence[Float32Array]:
        """What `activations` gives of each of the spaces."""
        ...


@runtime_checkable
class HasDecoder(Protocol):
    """Optional for an extractor: the directions that features stand for."""

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
    """Keeps sparse features. Whatever `write` returned from is there after a crash, whole."""

    def write(self, batch: FeatureBatch) -> None:
        """Keep a batch; an item that is already there is replaced."""
        ...

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Stream the batches of a space in bounded memory.

        With `item_ids`: exactly these, in this order; an absent one raises `DataError` naming it.
        """
        ...

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items kept for a space, in the order they came in."""
        ...

    def spaces(self) -> list[FeatureSpace]:
        """The spaces that hold at least one item, sorted."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Release files and connections; safe to call twice."""
        ...


@runtime_checkable
class SaysDurability(Protocol):
    """Optional for a feature store; one that does not say is durable."""

    @property
    def durable(self) -> bool:
        """Whether what it keeps is there when the process has ended."""
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
    """Gives every feature of a space a number (or several)."""

    def score(self, data: ScoreInput) -> Iterable[ScoreColumn | ScoreFact]:
        """The columns of one space. Called once per space of the run."""
        ...


@runtime_checkable
class FamilyScorer(Protocol):
    """Optional for a scorer: columns that need all spaces at once, such as adjusted p-values."""

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterable[ScoreColumn | ScoreFact]:
        """Further columns, from all that this scorer's `score` gave over all spaces."""
        ...


@runtime_checkable
class Selector(Protocol):
    """Chooses the features worth a name."""

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features, best first, none twice."""
        ...


@runtime_checkable
class Labeler(Protocol):
    """Names a feature."""

    def label(self, request: LabelRequest) -> FeatureLabel:
        """The name; raises `LabelError` where none can be given."""
        ...


@runtime_checkable
class ConcurrentLabeler(Protocol):
    """Optional for a labeler: `label` may be called from several threads at once."""

    @property
    def concurrency(self) -> int:
        """How many calls at once do it good."""
        ...


@runtime_checkable
class MeteredLabeler(Protocol):
    """Optional for a labeler: what it costs, told before and after."""

    def estimate(self, requests: Sequence[LabelRequest]) -> Usage:
        """About what naming these would take; nothing is sent, no image is opened."""
        ...

    @property
    def usage(self) -> Usage:
        """What was taken so far in this run directory, earlier runs included."""
        ...


@runtime_checkable
class LabelJudge(Protocol):
    """Optional for a labeler: tell from a label's words alone where it applies.

    From 0.5 on it is taken to apply. What is wrong is told as by `label`. A `ConcurrentLabeler` may be asked from
    several threads; of one that costs something, `usage` counts judgements as well.
    """

    def judge(self, label: FeatureLabel, images: Sequence[ImageItem]) -> NDArray[np.float64]:
        """`[n]` in [0, 1], higher where the label applies; NaN for an image that cannot be judged.

        `label` has `label` and `description` only. Raises `LabelError` where the judge cannot tell at all.
        """
        ...


@runtime_checkable
class MeteredJudge(Protocol):
    """Optional for a judge: what it costs, told before."""

    def estimate_judging(self, n_images: Sequence[int]) -> Usage:
        """About what judging labels would take, each on so many images; nothing is sent."""
        ...


def missing_members(component: object, protocol: type) -> list[str]:
    """The methods and properties of a role's protocol that a component lacks; no property is evaluated."""
    names = [name for name in vars(protocol) if not name.startswith("_")]
    return [name for name in names if inspect.getattr_static(component, name, None) is None]
