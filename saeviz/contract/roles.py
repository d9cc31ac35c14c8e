"""The protocol of each role, and optional capabilities.

A role is extended by optional capabilities (separate protocols, checked with `isinstance`), never by new required
methods, so plugins written for an earlier version of saeviz keep working.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from saeviz.contract.options import Options
    from saeviz.typing import Float32Array, FloatArray
    from saeviz.values.features import FeatureBatch, FeatureSpace, Layer, SAEFeatureResult, SpatialFeatures
    from saeviz.values.images import Box, ImageItem
    from saeviz.values.naming import FeatureLabel, LabelRequest, Usage
    from saeviz.values.outcomes import Health
    from saeviz.values.score_input import ScoreInput
    from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact, ScoreTable, Selected, TierCutoff

T = TypeVar("T")


@runtime_checkable
class ImageProvider(Protocol):
    """A source of images and their ratings."""

    def get_image(self, item_id: str) -> ImageItem | None:
        """The image with this id, or None if there is none."""
        ...

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """Yields images in a stable order, without decoding them.

        With `filter_labeled`, only images with a rating; with `limit`, at most that many.
        """
        ...


@runtime_checkable
class ReportsNotes(Protocol):
    """Optional for an image provider: notes about the data that the user should read."""

    def notes(self) -> Sequence[str]:
        """Sentences, such as how many rows of the ratings table match no image. Called after `iter_images`."""
        ...


@runtime_checkable
class DividesIntoShards(Protocol):
    """Optional for an image provider: its images lie in parts, such as the tar files of a data set.

    A run may then divide its work by them: a process reads its own parts, and of the others at most the beginning of
    the first ones, to know which columns are ratings.
    """

    def shards(self) -> Sequence[str]:
        """The names of the parts, in a stable order, known without reading what is in them."""
        ...

    def iter_shard(self, name: str) -> Iterator[ImageItem]:
        """Yields the images of one part in a stable order, without decoding them.

        All parts one after another are exactly `iter_images`; any part may be read again, and without the others.
        Raises `DataError` if there is no part of this name.
        """
        ...


@runtime_checkable
class FeatureExtractor(Protocol):
    """Turns images into sparse SAE features."""

    @property
    def spaces(self) -> Sequence[FeatureSpace]:
        """The feature spaces that `extract` yields; must be known without loading the model."""
        ...

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Yields features: for each chunk of items, one batch per space, all with the same ids.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class SingleImageExtractor(Protocol):
    """Optional for an extractor: features of a single image, for heatmaps and notebooks."""

    def extract_from_image(
        self, image: Image | ImageItem | Path | str, layer: Layer | None = None, top_k: int = 20
    ) -> SAEFeatureResult:
        """CLS features of one image at `layer`, a space's `site` (default: the last one configured).

        With the `top_k` strongest. Raises `ImageError` for an image that cannot be read, and `ConfigError` for a
        layer that is not configured.
        """
        ...

    def extract_spatial(self, image: Image | ImageItem | Path | str, layer: Layer | None = None) -> SpatialFeatures:
        """Features of every patch of one image at `layer`, a space's `site` (default: the last one configured)."""
        ...


@runtime_checkable
class HeatmapExtractor(Protocol):
    """Optional for an extractor: heatmaps of chosen features, faster than `extract_spatial` and finer than patches."""

    def heatmaps(
        self,
        images: Sequence[Image | ImageItem | Path | str],
        layer: Layer,
        features: Sequence[int],
        fine: bool = False,
    ) -> Float32Array:
        """Activations `[n_images, n_features, rows, cols]` of `features` on each patch, as in `extract_spatial`.

        `layer` is the `site` of a space: a number where an extractor has one SAE a layer and no named stages.

        With `fine`, rows and columns are multiplied by an odd number over the same field of view; the middle cell of
        each patch has the same value as without. Raises `ImageError` for an image that cannot be read, and
        `NoHeatmapError` if features of this layer have no heatmaps.
        """
        ...

    def field_of_view(self, image: Image | ImageItem | Path | str) -> Box:
        """The part of the picture that a map covers: (left, top, right, bottom) in pixels of the upright picture.

        It extends beyond the picture if the model pads it.
        """
        ...


@runtime_checkable
class Checkable(Protocol):
    """Optional for an extractor: check on a few images that each SAE belongs to its layer."""

    def health(self, items: Sequence[ImageItem]) -> Iterable[Health]:
        """Figures measured on the items, with published ones to compare, and warnings; for `saeviz check --deep`.

        Loads the model.

        An image that cannot be read is reported with `context.failed(item_id, error)` and left out.
        """
        ...


@runtime_checkable
class HasProvenance(Protocol):
    """Optional for an extractor or an embedding provider: which model files were used."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """A record for the manifest, serialisable as JSON, such as the commit of a hub revision. Read after use.

        Reports know `model`, the name of the model, `engine`, how it was run, and `doubts`: a list of what makes it
        doubtful that model and SAEs belong together, in words. All but `engine` and `doubts` tells whether two runs
        have the same SAEs.
        """
        ...


@runtime_checkable
class HasModelFiles(Protocol):
    """Optional for an extractor or an embedding provider: the files with the weights that it uses."""

    def model_files(self) -> Sequence[Path]:
        """The files, without loading a model. Raises `DataError` if one cannot be found."""
        ...


@runtime_checkable
class HasActivations(Protocol):
    """Optional for an extractor: the activations that the SAEs encode, for comparison with the features."""

    def activations(self, items: Sequence[ImageItem], space: FeatureSpace) -> Float32Array:
        """The model's activations `[n, d_in]` at the layer and tokens of `space`; for patch tokens, their mean.

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
        """The decoder matrix `W_dec` of the SAE of `space`, `[n_features, d_in]`."""
        ...


@runtime_checkable
class HasNumbersOfImages(Protocol):
    """Optional for an extractor: it gives numbers for each image with its features, in `FeatureBatch.of_images`."""

    def numbers_of_images(self, space: FeatureSpace) -> Sequence[str]:
        """The names of all numbers that batches of `space` have, without loading the model; empty if none."""
        ...


@runtime_checkable
class TextAligned(Protocol):
    """Optional for an extractor: the model's joint embedding of images and texts. Rows have unit length."""

    def embed_images(self, items: Sequence[ImageItem]) -> Float32Array:
        """Embeddings `[n, dim]`; an unreadable image gives a row of NaN."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32Array:
        """`[n, dim]`."""
        ...


@runtime_checkable
class EmbeddingProvider(Protocol):
    """Embeds images with a model that is independent of the one whose features are measured."""

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        ...

    def embed(self, items: Sequence[ImageItem]) -> Float32Array:
        """Embeddings `[n_items, dim]`, float32; an unreadable image is reported and its row is NaN."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Computes one or several scores of every feature of a space."""

    def score(self, data: ScoreInput) -> Iterable[ScoreColumn | ScoreFact | ImageColumn | PairBlock]:
        """Yields score columns (one value per feature, NaN if undefined), facts and blocks of pairs of one space.

        Called once for each space of the run.
        """
        ...


@runtime_checkable
class HoldsOut(Protocol):
    """Optional for the options of a scorer that correlates features with ratings: needed for `run.rating_images`.

    Labels are then correlated with the ratings of images that took no part in finding relations, by the same scorer.
    """

    @property
    def split(self) -> float | None:
        """The share of the images on which relations are found, as `saeviz.finding_images` draws them; None for all.

        The scorer gives it as its fact `split`, too.
        """
        ...

    def on_all_images(self, ratings: Collection[str], /) -> Iterable[Options]:
        """The same options, but no image is held out: with them, r, p and the interval of every pair are columns.

        `ratings` are those of the images, of which the options may choose some. Several options, each for a part of the
        ratings, if there are more than the scorer has columns for.
        """
        ...


@runtime_checkable
class FamilyScorer(Protocol):
    """Optional for a scorer: columns computed from all spaces together, such as adjusted p-values."""

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterable[ScoreColumn | ScoreFact | ImageColumn | PairBlock]:
        """Yields further columns, computed from all columns that `score` returned."""
        ...


@runtime_checkable
class Selector(Protocol):
    """Chooses the features to name."""

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features (None: the selector's own number), best first, without duplicates."""
        ...


@runtime_checkable
class StableSelector(Protocol):
    """Optional for a selector: the run selects again by random halves of the images, and says which features return."""

    @property
    def n_halves(self) -> int:
        """The number of halves; 0 for none."""
        ...


@runtime_checkable
class HasTierCutoffs(Protocol):
    """Optional for a selector: where its tiers begin, for plots."""

    def tier_cutoffs(self, facts: Mapping[str, Any]) -> list[TierCutoff]:
        """The cut-offs, best tier first; `facts` are the scorers' figures about the run (`ScoreTable.facts`)."""
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
        """The recommended number of concurrent calls."""
        ...


@runtime_checkable
class MeteredLabeler(Protocol):
    """Optional for a labeler: its cost, estimated before and measured after."""

    def estimate(self, requests: Sequence[LabelRequest]) -> Usage:
        """Estimated cost of naming these features; nothing is sent, no image is opened."""
        ...

    @property
    def usage(self) -> Usage:
        """The usage so far in this run directory, including earlier runs."""
        ...


@runtime_checkable
class LabelJudge(Protocol):
    """Optional for a labeler: judge from a label's words alone to which images it applies.

    A score of 0.5 or more means that it applies. Errors are raised as by `label`. A `ConcurrentLabeler` may be called
    from several threads; `usage` of a `MeteredLabeler` counts judgements as well.
    """

    def judge(self, label: FeatureLabel, images: Sequence[ImageItem]) -> FloatArray:
        """Scores `[n_images]` in [0, 1], higher where the label applies; NaN for an image that cannot be judged.

        `label` has `label` and `description` only. Raises `LabelError` if the label cannot be judged at all.
        """
        ...


@runtime_checkable
class MeteredJudge(Protocol):
    """Optional for a judge: its cost, estimated in advance."""

    def estimate_judging(self, n_images: Sequence[int]) -> Usage:
        """Estimated cost of judging one label per entry on that number of images; nothing is sent."""
        ...


def can(component: object, protocol: type[T]) -> TypeGuard[T]:
    """Whether a component has a capability. As `isinstance`, but no property is evaluated, which may fail or take long.

    Where `isinstance` evaluates one, an `AttributeError` in it would pass for a component without the capability.
    """
    return not missing_members(component, protocol)


def missing_members(component: object, protocol: type) -> list[str]:
    """The methods and properties of a role's protocol that a component lacks; no property is evaluated."""
    names = [name for name in vars(protocol) if not name.startswith("_")]
    return [name for name in names if inspect.getattr_static(component, name, None) is None]
