"""A plugin with a component of each role, as it was written against the first release: only names are public ones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from saeviz import (
    ComponentSpec,
    ConfigError,
    Context,
    DataError,
    EmbeddingProviderSpec,
    Feature,
    FeatureBatch,
    FeatureExtractorSpec,
    FeatureLabel,
    FeatureSpace,
    FeatureStoreSpec,
    ImageError,
    ImageItem,
    ImageProviderSpec,
    LabelError,
    LabelerSpec,
    LabelRequest,
    OneItemEmbeddings,
    OneItemStore,
    Options,
    ReporterSpec,
    Run,
    SAEFeatureResult,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
    ScorerSpec,
    ScoreTable,
    Selected,
    SelectorSpec,
    SpatialFeatures,
    Tokens,
    hookimpl,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from saeviz.typing import Float32Array

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (40, 70, 220),
    "yellow": (230, 210, 50),
    "violet": (150, 50, 190),
    "white": (240, 240, 240),
}
GREY = 128 / 255
THRESHOLD = 0.02
GRID = 4
STATISTICS = 6
"""Numbers per patch: mean and standard deviation of red, green and blue, each in [0, 1]."""


class Slow(Options):
    """Options of a fake that can take its time."""

    seconds_per_item: float = Field(0.0, ge=0, description="wait this long for each item, so that a test can interrupt")


class FakeImagesOptions(Options):
    """Options of `fake-images`."""

    n: int = Field(12, ge=0, description="how many pictures")
    broken: int = Field(0, ge=0, description="how many of them, the last ones, are not pictures at all")
    unrated: int = Field(0, ge=0, description="how many, the first ones, have no ratings")
    seed: int = Field(0, description="another seed draws other pictures")


class FakeImages:
    """Pictures of one coloured rectangle on grey, with the ratings `warmth` (red less blue) and `noise`.

    Metadata: `colour` is the rectangle's colour, `title` a short text with it.
    """

    def __init__(self, options: FakeImagesOptions, context: Context) -> None:
        self.options = options

    def get_image(self, item_id: str) -> ImageItem | None:
        """The picture `picture/7`."""
        prefix, _, number = item_id.rpartition("/")
        known = prefix == "picture" and number in map(str, range(self.options.n))
        return self._item(int(number)) if known else None

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """The pictures by number."""
        items = (self._item(number) for number in range(self.options.n))
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> list[str]:
        """How many pictures are not rated."""
        return [f"{self.options.unrated} images have no ratings"] if self.options.unrated else []

    def _item(self, number: int) -> ImageItem:
        import numpy as np

        generator = np.random.default_rng([self.options.seed, number])
        colour = list(COLOURS)[int(generator.integers(len(COLOURS)))]
        red, _, blue = COLOURS[colour]
        ratings = {"warmth": (red - blue) / 255 + float(generator.normal(0, 0.1)), "noise": float(generator.normal())}
        broken = number >= self.options.n - self.options.broken
        return ImageItem(
            item_id=f"picture/{number}",
            source=b"not a picture" if broken else draw_rectangle(colour, generator),
            ratings={} if number < self.options.unrated else ratings,
            metadata={"colour": colour, "title": f"a {colour} rectangle"},
        )


def draw_rectangle(colour: str, generator: np.random.Generator) -> bytes:
    """A PNG of 32 by 32 pixels: a rectangle of this colour somewhere on grey."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (32, 32), (128, 128, 128))
    left, top, width, height = (int(number) for number in generator.integers([0, 0, 10, 10], [16, 16, 24, 24]))
    ImageDraw.Draw(image).rectangle((left, top, left + width, top + height), fill=COLOURS[colour])
    buffer = BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


class FakeExtractorOptions(Slow):
    """Options of `fake-extractor`."""

    layers: tuple[int, ...] = Field((1, 2), min_length=1, description="layers; each has its own features")
    tokens: tuple[Tokens, ...] = Field(("cls",), min_length=1, description="where the features are read")
    n_features: int = Field(32, ge=STATISTICS, description="features per space")
    batch_size: int = Field(4, ge=1, description="images at once")


class FakeExtractor:
    """Sparse features of patch colours; `cls` is the mean patch.

    Features 0 to 5 are how far red, green and blue are above grey and their standard deviations, the others random
    mixtures of them. Able to do all that an extractor can, with a joint space of pictures and the words for colours.
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

    def extract(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """Features in batches; an unreadable picture is reported and left out."""
        from scipy.sparse import csr_array

        source = iter(items)
        while chunk := list(islice(source, self.options.batch_size)):
            readable = [(item.item_id, patches) for item in chunk if (patches := self._try_patches(item)) is not None]
            if not readable:
                continue
            ids = tuple(item_id for item_id, _ in readable)
            for space in self.spaces:
                rows = [self._pooled(patches, space) for _, patches in readable]
                yield FeatureBatch(space, ids, csr_array(rows))

    def extract_from_image(
        self, image: Image | ImageItem | Path, layer: int | None = None, top_k: int = 20
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

    def extract_spatial(self, image: Image | ImageItem | Path, layer: int | None = None) -> SpatialFeatures:
        """Features of every patch of one picture."""
        layer = self._layer(layer)
        return SpatialFeatures(layer, _encode(_patches(_picture(image)), layer, self.options.n_features), (GRID, GRID))

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
            raise ConfigError(f"extractor.layers: layer {layer} is none of {list(self.options.layers)}")
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
        features = _encode(patches, space.layer, space.n_features)
        pooled: Float32Array = features.mean(axis=0) if space.tokens == "patch-mean" else features.max(axis=0)
        return pooled


def _picture(image: Image | ImageItem | Path) -> Image:
    if isinstance(image, Path):
        image = ImageItem(str(image), image)
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


class MemoryStore(OneItemStore):
    """Features in a dictionary, gone with the process."""

    def __init__(self, options: Options | None = None, context: Context | None = None) -> None:
        self._rows: dict[FeatureSpace, dict[str, Any]] = {}

    def write(self, batch: FeatureBatch) -> None:
        """Keep a batch; an item that is already there is replaced and keeps its place."""
        for kept in self.spaces():
            if (kept.layer, kept.tokens) == (batch.space.layer, batch.space.tokens) and kept != batch.space:
                raise DataError(f"{kept}: the store holds {kept.n_features} features, not {batch.space.n_features}")
        rows = self._rows.setdefault(batch.space, {})
        rows.update((item_id, batch.matrix[[row]]) for row, item_id in enumerate(batch.item_ids))

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Batches of up to 64 items."""
        from scipy.sparse import vstack

        rows = self._rows.get(space, {})
        wanted = list(rows) if item_ids is None else list(item_ids)
        missing = [item_id for item_id in wanted if item_id not in rows]
        if missing:
            raise DataError(f"{space}: the store has no item {missing[0]!r}")
        for start in range(0, len(wanted), 64):
            ids = wanted[start : start + 64]
            yield FeatureBatch(space, tuple(ids), vstack([rows[item_id] for item_id in ids], format="csr"))

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items in the order they came in."""
        return list(self._rows.get(space, {}))

    def spaces(self) -> list[FeatureSpace]:
        """The spaces, sorted."""
        return sorted(space for space, rows in self._rows.items() if rows)

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()

    def close(self) -> None:
        """Nothing to release."""


class FakeEmbeddings(OneItemEmbeddings):
    """The mean colours of the picture's quarters, `[n, 12]`."""

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
        """NaN where a feature or a rating does not vary."""
        yield ScoreColumn("coverage", data.space, data.features.count_active() / max(data.n_items, 1))
        dense = data.features.matrix().toarray()
        for name, rating in data.ratings.items():
            yield ScoreColumn("r", data.space, _pearson(dense, rating), target=name)
        yield ScoreFact(f"coverage {data.space}", float((dense > 0).mean()) if dense.size else 0.0)


def _pearson(dense: NDArray[Any], rating: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    rated = np.isfinite(rating)
    x = dense[rated].astype(np.float64)
    y = rating[rated]
    if len(y) < 2:
        return np.full(dense.shape[1], np.nan)
    x, y = x - x.mean(axis=0), y - y.mean()
    norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    r: NDArray[np.float64] = np.divide(x.T @ y, norm, out=np.full(len(norm), np.nan), where=norm > 1e-12)
    return r


class FakeSelector:
    """The first features of the table: tier 1 for the first three, tier 2 for the others."""

    def __init__(self, options: Options, context: Context) -> None:
        pass

    def select(self, table: ScoreTable, limit: int | None = None) -> list[Selected]:
        """At most `limit` features, or ten."""
        rows = table.scores.head(10 if limit is None else limit)
        keys = zip(rows["layer"], rows["tokens"], rows["feature"], strict=True)
        return [
            Selected(Feature(int(layer), tokens, int(index)), tier=1 if rank < 3 else 2, reason=f"number {rank + 1}")
            for rank, (layer, tokens, index) in enumerate(keys)
        ]


class FakeLabelerOptions(Slow):
    """Options of `fake-labeler`."""

    fail_every: int = Field(0, ge=0, description="every so manieth feature index cannot be named; 0 = all can")


class FakeLabeler:
    """Names a feature by the `colour` of its top images, or by what it is strongest on."""

    def __init__(self, options: FakeLabelerOptions, context: Context) -> None:
        self.options = options

    def label(self, request: LabelRequest) -> FeatureLabel:
        """The most frequent colour; the share of the top images that have it is the confidence."""
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


class FakeReporter:
    """`report.txt`: a line per selected feature with its label."""

    def __init__(self, options: Options, context: Context) -> None:
        self.context = context

    def write(self, run: Run) -> Path:
        """Write the file and give its path."""
        labels = run.labels
        lines = [f"{one.feature}\t{labels[one.feature].label if one.feature in labels else ''}" for one in run.selected]
        self.context.workdir.mkdir(parents=True, exist_ok=True)
        report = self.context.workdir / "report.txt"
        report.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return report


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
    yield ScorerSpec(name="fake-scorer", summary="coverage and Pearson r, for tests", factory=FakeScorer)


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
    ]
