"""Fake components, one per role, that need no model: for tests of pipelines and as examples.

The module is itself a plugin: `saeviz run --plugins module:saeviz.testing.fakes`. Pictures are small drawings, features
are computed from the colours of patches, and all results are the same on every machine and for every batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from saeviz.contract.context import Context
from saeviz.contract.hookspecs import hookimpl
from saeviz.contract.mixins import OneItemEmbeddings, OneItemStore
from saeviz.contract.options import Options
from saeviz.contract.specs import (
    ComponentSpec,
    EmbeddingProviderSpec,
    ExecutorSpec,
    FeatureExtractorSpec,
    FeatureStoreSpec,
    ImageProviderSpec,
    LabelerSpec,
    ReporterSpec,
    ScorerSpec,
    SelectorSpec,
)
from saeviz.formats.files import remove_temporaries, write_atomic
from saeviz.results.run import Run
from saeviz.testing.fake_extractor import (
    GREY,
    GRID,
    STATISTICS,
    THRESHOLD,
    FakeExtractor,
    FakeExtractorOptions,
    Slow,
)
from saeviz.testing.fake_images import COLOURS, FakeImages, FakeImagesOptions, draw_rectangle
from saeviz.values.columns import ColumnInfo
from saeviz.values.errors import DataError, ImageError, LabelError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import features_of
from saeviz.values.naming import FeatureLabel, LabelRequest
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import ScoreColumn, ScoreFact, ScoreTable, Selected
from saeviz.values.shards import Shard, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array, FloatArray

__all__ = [
    "COLOURS",
    "GREY",
    "GRID",
    "STATISTICS",
    "THRESHOLD",
    "FakeEmbeddings",
    "FakeExecutor",
    "FakeExecutorOptions",
    "FakeExtractor",
    "FakeExtractorOptions",
    "FakeImages",
    "FakeImagesOptions",
    "FakeLabeler",
    "FakeLabelerOptions",
    "FakeReporter",
    "FakeScorer",
    "FakeSelector",
    "MemoryStore",
    "Slow",
    "draw_rectangle",
    "saeviz_embedding_providers",
    "saeviz_executors",
    "saeviz_feature_extractors",
    "saeviz_feature_stores",
    "saeviz_image_providers",
    "saeviz_labelers",
    "saeviz_reporters",
    "saeviz_scorers",
    "saeviz_selectors",
    "specs",
]


class MemoryStore(OneItemStore):
    """A feature store in memory; its features do not outlive the process."""

    def __init__(self, options: Options | None = None, context: Context | None = None) -> None:
        self._rows: dict[FeatureSpace, dict[str, Any]] = {}

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch; an item that is already stored is replaced and keeps its position."""
        for kept in self.spaces():
            if str(kept) == str(batch.space) and kept != batch.space:
                raise DataError(f"{kept}: the store has {kept.n_features} features, not {batch.space.n_features}")
        rows = self._rows.setdefault(batch.space, {})
        rows.update((item_id, batch.matrix[[row]]) for row, item_id in enumerate(batch.item_ids))

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Yield batches of up to 64 items."""
        rows = self._rows.get(space, {})
        wanted = list(rows) if item_ids is None else list(item_ids)
        missing = [item_id for item_id in wanted if item_id not in rows]
        if missing:
            raise DataError(f"{space}: the store has no item {missing[0]!r}")
        for start in range(0, len(wanted), 64):
            ids = wanted[start : start + 64]
            yield FeatureBatch(space, tuple(ids), space.stack(rows[item_id] for item_id in ids))

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items in the order of writing."""
        return list(self._rows.get(space, {}))

    def spaces(self) -> list[FeatureSpace]:
        """The spaces, sorted."""
        return sorted(space for space, rows in self._rows.items() if rows)

    def clear(self) -> None:
        """Remove everything."""
        self._rows.clear()

    def close(self) -> None:
        """Do nothing: there are no files or connections."""


class FakeEmbeddings(OneItemEmbeddings):
    """Embeddings `[n, 12]`: the mean colours of the picture's four quarters."""

    dim = 12

    def __init__(self, options: Slow, context: Context) -> None:
        self.options = options
        self.context = context

    def embed(self, items: Sequence[ImageItem]) -> Float32Array:
        """A row per item; an unreadable picture is reported and gives NaN."""
        import numpy as np

        return np.array([self._row(item) for item in items], dtype=np.float32).reshape(-1, self.dim)

    def _row(self, item: ImageItem) -> Float32Array:
        import numpy as np

        time.sleep(self.options.seconds_per_item)
        try:
            small = item.open().convert("RGB").resize((2, 2))
        except ImageError as error:
            self.context.failed(item.item_id, str(error))
            return np.full(self.dim, np.nan, dtype=np.float32)
        return (np.asarray(small, dtype=np.float32) / np.float32(255)).ravel()


class FakeScorer:
    """`coverage`, the share of images a feature fires on, and `r`, its Pearson correlation with each rating."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn | ScoreFact]:
        """Yield both columns; r is NaN if the feature or the rating does not vary."""
        yield ScoreColumn("coverage", data.space, data.features.count_active() / max(data.n_items, 1))
        dense = data.features.matrix().toarray()
        for name, rating in data.ratings.items():
            yield ScoreColumn("r", data.space, _pearson(dense, rating), target=name)
        yield ScoreFact(f"coverage {data.space}", float((dense > 0).mean()) if dense.size else 0.0)


def _pearson(dense: NDArray[Any], rating: FloatArray) -> FloatArray:
    import numpy as np

    rated = np.isfinite(rating)
    x = dense[rated].astype(np.float64)
    y = rating[rated]
    if len(y) < 2:
        return np.full(dense.shape[1], np.nan)
    x, y = x - x.mean(axis=0), y - y.mean()
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    r: FloatArray = np.divide(x.T @ y, norm, out=np.full(len(norm), np.nan), where=norm > 1e-12)
    return r


class FakeSelector:
    """Selects the first features of the table: the first three in tier 1, the others in tier 2."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """The first `limit` features, by default ten."""
        rows = table.scores.head(10 if limit is None else limit)
        return [
            Selected(feature, tier=1 if rank < 3 else 2, reason=f"number {rank + 1}")
            for rank, feature in enumerate(features_of(rows))
        ]


class FakeLabelerOptions(Slow):
    """Options of `fake-labeler`."""

    fail_every: int = Field(default=0, ge=0, description="fail for every n-th feature index; 0 = never fail")


class FakeLabeler:
    """Names a feature after the most frequent `colour` of its top images; '' if they have none."""

    def __init__(self, options: FakeLabelerOptions, context: Context) -> None:
        self.options = options

    def label(self, request: LabelRequest) -> FeatureLabel:
        """The label; its confidence is the share of coloured top images that have the colour."""
        time.sleep(self.options.seconds_per_item)
        fail_every = self.options.fail_every
        if fail_every and request.feature.index % fail_every == 0:
            raise LabelError(f"{request.feature}: fake-labeler was told to fail here")
        colours = [colour for image in request.top if (colour := image.item.metadata.get("colour")) in COLOURS]
        if not colours:
            return FeatureLabel("")
        colour = max(sorted(set(colours)), key=colours.count)
        return FeatureLabel(
            label=f"{colour} things",
            description=f"Pictures in which {colour} stands out.",
            elements=(colour,),
            confidence=colours.count(colour) / len(colours),
            details={"colours": colours},
        )

    def judge(self, label: FeatureLabel, images: Sequence[ImageItem]) -> FloatArray:
        """1 if the picture's `colour` is a word of the label, else 0."""
        import numpy as np

        time.sleep(self.options.seconds_per_item)
        return np.array([item.metadata.get("colour", "?") in label.label.split() for item in images], dtype=np.float64)


class FakeReporter:
    """Writes `report.txt`, with a line for each selected feature and its label."""

    def __init__(self, options: Options, context: Context) -> None:
        self.context = context

    def write(self, run: Run) -> Path:
        """Write the file and return its path."""
        labels = run.labels
        lines = [f"{one.feature}\t{labels[one.feature].label if one.feature in labels else ''}" for one in run.selected]
        self.context.workdir.mkdir(parents=True, exist_ok=True)
        remove_temporaries(self.context.workdir)  # of a run that was killed while it wrote
        report = self.context.workdir / "report.txt"
        write_atomic(report, "".join(f"{line}\n" for line in lines))
        return report


class FakeExecutorOptions(Options):
    """Options of `fake-executor`."""

    shard_items: int = Field(default=8, ge=1, description="images per shard")


class FakeExecutor:
    """Does all shards in this process, the last one first, as if workers had done them."""

    in_process = False

    def __init__(self, options: FakeExecutorOptions, context: Context) -> None:
        self.shard_items = options.shard_items

    def map(self, work: Callable[[Shard], Iterator[int]], shards: Sequence[Shard]) -> Generator[Step, None, None]:
        """Work on one shard after the other."""
        for shard in reversed(shards):
            for n_items in work(shard):
                yield Step(shard, "fake worker", n_items)
            yield Step(shard, "fake worker", 0, finished=True)


@hookimpl
def saeviz_image_providers() -> Iterator[ImageProviderSpec]:
    """`fake-images`."""
    yield ImageProviderSpec(
        name="fake-images",
        summary="a few drawn rectangles with ratings, for tests",
        options=FakeImagesOptions,
        factory=FakeImages,
    )


@hookimpl
def saeviz_feature_extractors() -> Iterator[FeatureExtractorSpec]:
    """`fake-extractor`."""
    yield FeatureExtractorSpec(
        name="fake-extractor",
        summary="features from patch colours, for tests",
        options=FakeExtractorOptions,
        factory=FakeExtractor,
    )


@hookimpl
def saeviz_feature_stores() -> Iterator[FeatureStoreSpec]:
    """`fake-store`."""
    yield FeatureStoreSpec(name="fake-store", summary="features in memory only, for tests", factory=MemoryStore)


@hookimpl
def saeviz_embedding_providers() -> Iterator[EmbeddingProviderSpec]:
    """`fake-embeddings`."""
    yield EmbeddingProviderSpec(
        name="fake-embeddings", summary="mean colours of four quarters, for tests", options=Slow, factory=FakeEmbeddings
    )


@hookimpl
def saeviz_scorers() -> Iterator[ScorerSpec]:
    """`fake-scorer`."""
    yield ScorerSpec(
        name="fake-scorer",
        summary="coverage and Pearson r, for tests",
        factory=FakeScorer,
        columns=(
            ColumnInfo("coverage", "share of images on which the feature fires"),
            ColumnInfo("r", "Pearson's r between activation and rating, from -1 to 1"),
        ),
    )


@hookimpl
def saeviz_selectors() -> Iterator[SelectorSpec]:
    """`fake-selector`."""
    yield SelectorSpec(name="fake-selector", summary="the first features, for tests", factory=FakeSelector)


@hookimpl
def saeviz_labelers() -> Iterator[LabelerSpec]:
    """`fake-labeler`."""
    yield LabelerSpec(
        name="fake-labeler",
        summary="names a feature by the colour of its top images, for tests",
        options=FakeLabelerOptions,
        factory=FakeLabeler,
    )


@hookimpl
def saeviz_reporters() -> Iterator[ReporterSpec]:
    """`fake-reporter`."""
    yield ReporterSpec(name="fake-reporter", summary="a text file of labels, for tests", factory=FakeReporter)


@hookimpl
def saeviz_executors() -> Iterator[ExecutorSpec]:
    """`fake-executor`."""
    yield ExecutorSpec(
        name="fake-executor",
        summary="all shards in this process, for tests",
        options=FakeExecutorOptions,
        factory=FakeExecutor,
    )


def specs() -> list[ComponentSpec]:
    """The specs of all fakes, one per role."""
    return [
        *saeviz_image_providers(),
        *saeviz_feature_extractors(),
        *saeviz_feature_stores(),
        *saeviz_embedding_providers(),
        *saeviz_scorers(),
        *saeviz_selectors(),
        *saeviz_labelers(),
        *saeviz_reporters(),
        *saeviz_executors(),
    ]
