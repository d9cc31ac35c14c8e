"""A run, opened for reading: what reporters and notebooks work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from saeviz.contract.roles import HeatmapExtractor, SingleImageExtractor
from saeviz.formats.judgements import table_of
from saeviz.formats.labels import read_labels
from saeviz.formats.plain import quoted
from saeviz.formats.rundir import RunDir
from saeviz.formats.selection import read_selected
from saeviz.pictures.heatmap import draw_heatmap
from saeviz.results.frames import halves, individual_frame, metadata_frame, ratings_frame
from saeviz.results.lookup import Clusters, TopItems, rows_of
from saeviz.values.errors import ConfigError, DataError, RunDirError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace
from saeviz.values.images import Box, ImageItem
from saeviz.values.naming import FeatureLabel, TopImage
from saeviz.values.outcomes import Failure
from saeviz.values.relations import facts_of, relation_prefixes
from saeviz.values.scores import Selected

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from saeviz.config.schema import RunConfig
    from saeviz.contract.roles import FeatureExtractor, ImageProvider
    from saeviz.typing import Float32Array


class Opened(Protocol):
    """What reading needs of an open run."""

    config: RunConfig

    @property
    def components(self) -> Built:
        """The components."""
        ...

    @property
    def dataset(self) -> Images:
        """The images."""
        ...


class Built(Protocol):
    """The components of a run, each built when it is first used."""

    @property
    def images(self) -> ImageProvider:
        """The image provider."""
        ...

    @property
    def extractor(self) -> FeatureExtractor:
        """The feature extractor."""
        ...

    @property
    def store(self) -> Readable:
        """The feature store."""
        ...


class Images(Protocol):
    """The images of a run."""

    @property
    def by_id(self) -> Mapping[str, ImageItem]:
        """Every image by its id."""
        ...

    @property
    def extracted(self) -> Sequence[ImageItem]:
        """Those that have features."""
        ...

    @property
    def ratings(self) -> Sequence[str]:
        """The names of the ratings."""
        ...


class Readable(Protocol):
    """What reading needs of a feature store."""

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """The batches of a space; with `item_ids` exactly these, in this order."""
        ...

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items kept for a space."""
        ...


class Run:
    """The results of a run directory.

    Tables are read on first use and kept; images, store and model are opened only by what needs them.
    A table of a stage that has not run raises `RunDirError` naming the stage.
    """

    def __init__(self, rundir: RunDir, session: Callable[[], Opened]) -> None:
        self._rundir = rundir
        self._open_session = session

    def __repr__(self) -> str:
        done = [name for name, record in self.manifest["stages"].items() if "finished" in record]
        return f"Run({str(self.dir)!r}, finished: {', '.join(done) or 'nothing yet'})"

    @property
    def dir(self) -> Path:
        """The run directory."""
        return self._rundir.path

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """`run.json`: configuration without secrets, versions, a digest, counts and seconds per stage."""
        return self._rundir.read_manifest()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Figures about the whole run that scorers and the judge left, by name."""
        stages = self.manifest["stages"]
        return {**stages.get("score", {}).get("facts", {}), **stages.get("judge", {}).get("facts", {})}

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces of the run."""
        return self._rundir.spaces()

    @property
    def ratings(self) -> list[str]:
        """The names of the ratings, in their order."""
        rated = self.manifest["stages"].get("score", {}).get("counts", {}).get("rated")
        return list(rated) if isinstance(rated, Mapping) else list(self._session.dataset.ratings)

    @cached_property
    def items(self) -> Sequence[ImageItem]:
        """Every image of the run that has features."""
        return list(self._session.dataset.extracted)

    @cached_property
    def ratings_table(self) -> pd.DataFrame:
        """A row per image of `items`, a float column per rating, NaN where an image does not have it."""
        return ratings_frame(self.items)

    @cached_property
    def metadata(self) -> pd.DataFrame:
        """A row per image of `items`, a column of text per field, '' where an image does not have it."""
        return metadata_frame(self.items)

    @cached_property
    def individual_ratings(self) -> pd.DataFrame:
        """A row per single rating: `item_id`, `rating`, `rater`, `value`; empty where only means are known."""
        return individual_frame(self.items)

    @cached_property
    def split(self) -> pd.Series[str]:
        """For each image of `items` whether relations were found on it (`found`) or tested again (`held out`).

        That of the main correlation; all images are `found` in a run that held none out.
        """
        prefix = next(iter(relation_prefixes(self.correlations.columns)), "")
        settings, share = self._rundir.config().get("run"), facts_of(prefix, self.facts).get("split")
        if not (share is None or (isinstance(share, float) and 0 < share < 1)):
            raise RunDirError(f"{self._rundir.manifest_file}: the share of a split is {quoted(share)}")
        return halves(self.items, share, settings.get("seed", 0) if isinstance(settings, Mapping) else 0)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per (layer, tokens, feature)."""
        return self._rundir.read_table(self._rundir.scores, "score")

    @cached_property
    def correlations(self) -> pd.DataFrame:
        """A row per (layer, tokens, feature, rating)."""
        return self._rundir.read_table(self._rundir.correlations, "score")

    def companions(self, feature: Feature | str) -> list[Feature]:
        """The other features of its cluster, which fire together with it, most active first.

        Empty where it has none, or no scorer looked for any; the scorer `redundancy` does.
        """
        return self._clusters.companions(self._feature(feature))

    @cached_property
    def selected(self) -> list[Selected]:
        """The selected features, best first."""
        return read_selected(self._rundir)

    @cached_property
    def labels(self) -> Mapping[Feature, FeatureLabel]:
        """Names of features; empty in a run without a labeler."""
        self._rundir.verify(self._rundir.labels, "label")
        return {feature: line.label for feature, line in read_labels(self._rundir.labels).items()}

    @cached_property
    def judgements(self) -> pd.DataFrame:
        """A row per judged label: verdict, balanced accuracy with its interval; empty in a run without a judge."""
        self._rundir.verify(self._rundir.judgements, "judge")
        if not self._rundir.judgements.exists():
            return table_of([])
        return self._rundir.read_table(self._rundir.judgements, "judge")

    def judgement_of(self, feature: Feature | str) -> dict[str, Any] | None:
        """The row of `judgements` for one feature, as `scores_of`; None where its label was not judged."""
        self._rundir.verify(self._rundir.judgements, "judge")
        if not self._rundir.judgements.exists():
            return None
        return next(iter(rows_of(self._rundir, self._rundir.judgements, "judge", self._feature(feature))), None)

    @cached_property
    def failures(self) -> list[Failure]:
        """What was left out."""
        return self._rundir.failures()

    def features(self, space: FeatureSpace | str) -> FeatureBatch:
        """The features of a space as one batch, of the run's images that have some: `.item_ids` and CSR `.matrix`.

        Images that have been removed since, or can no longer be read, are left out, whatever the store still has.
        """
        space = self._space(str(space))
        ids = tuple(self._rundir.extracted_ids())
        if "finished" not in self.manifest["stages"].get("extract", {}):
            there = set(self._session.components.store.item_ids(space))
            ids = tuple(item_id for item_id in ids if item_id in there)
        batches = self._session.components.store.read(space, ids) if ids else ()
        return FeatureBatch(space, ids, space.stack(batch.matrix for batch in batches))

    def top_images(self, feature: Feature | str, k: int | None = None) -> list[TopImage]:
        """The images on which a feature fires most, strongest first; at most as many as the run kept."""
        found, items = self._feature(feature), self._session.dataset.by_id
        space = self._space(f"layer{found.layer}.{found.tokens}")
        if space not in self._top_items:
            self._top_items[space] = TopItems(self._rundir, space)
        top = self._top_items[space].of(found.index)[:k]
        return [TopImage(items[item_id], activation) for item_id, activation in top if item_id in items]

    def top_item_ids(self, feature: Feature | str, k: int | None = None) -> list[tuple[str, float]]:
        """Ids and activations of `top_images` as the run kept them, also of images that are gone; nothing is opened."""
        rows = rows_of(self._rundir, self._rundir.top_images, "score", self._feature(feature))
        return [(row["item_id"], row["activation"]) for row in sorted(rows, key=lambda row: row["rank"])[:k]]

    def scores_of(self, feature: Feature | str) -> dict[str, Any]:
        """The row of `scores` for one feature by column, None for no value; the rest of the table is not read."""
        found = rows_of(self._rundir, self._rundir.scores, "score", self._feature(feature))
        return found[0] if found else {}

    def correlations_of(self, feature: Feature | str) -> list[dict[str, Any]]:
        """The rows of `correlations` for one feature, as `scores_of`."""
        return rows_of(self._rundir, self._rundir.correlations, "score", self._feature(feature))

    def heatmap(self, feature: Feature | str, item_id: str, *, fine: bool = False) -> Float32Array:
        """Where on an image a feature fires: float32 `[rows, cols]` over the patches, see `field_of_view`.

        For a feature of the class token it is where the same SAE feature fires on patches. `fine` gives a multiple of
        rows and columns, with the same values in the middle of patches. Raises `DataError` where the extractor
        cannot do that, or its SAE knows no patches.
        """
        feature, item = self._feature(feature), self._item(item_id)
        extractor = self._session.components.extractor
        if isinstance(extractor, HeatmapExtractor):
            found: Float32Array = extractor.heatmaps([item], feature.layer, [feature.index], fine)[0, 0]
            return found
        if isinstance(extractor, SingleImageExtractor) and not fine:
            return extractor.extract_spatial(item, layer=feature.layer).heatmap(feature.index)
        what = "make fine heatmaps" if fine else "look at single images"
        raise DataError(f"the extractor {self._session.config.extractor.use} cannot {what}")

    def heatmap_image(self, feature: Feature | str, item_id: str, *, smooth: bool = True, fine: bool = False) -> Image:
        """The heatmap over its picture, RGB with a legend; dim where the model saw nothing of it.

        `smooth` interpolates between the centres of cells. Raises `DataError` as `heatmap`, and where the extractor
        does not say which part of a picture it sees.
        """
        box = self.field_of_view(item_id)
        values = self.heatmap(feature, item_id, fine=fine)
        return draw_heatmap(self._item(item_id).open(), values, box, smooth=smooth, caption=str(feature))

    def field_of_view(self, item_id: str) -> Box:
        """Which part of an image its heatmaps cover: left, top, right, bottom in pixels of the upright picture.

        The model sees nothing of what is outside. It reaches beyond the picture where the model pads it.
        """
        extractor = self._session.components.extractor
        if not isinstance(extractor, HeatmapExtractor):
            raise DataError(
                f"the extractor {self._session.config.extractor.use} does not say which part of a picture it sees"
            )
        return extractor.field_of_view(self._item(item_id))

    @cached_property
    def _session(self) -> Opened:
        return self._open_session()

    @cached_property
    def _top_items(self) -> dict[FeatureSpace, TopItems]:
        return {}

    @cached_property
    def _clusters(self) -> Clusters:
        return Clusters(self._rundir)

    def _item(self, item_id: str) -> ImageItem:
        item = self._session.components.images.get_image(item_id)
        if item is None:
            raise DataError(f"this run has no image {item_id!r}")
        return item

    def _space(self, text: str) -> FeatureSpace:
        for space in self.spaces:
            if str(space) == text:
                return space
        raise ConfigError(f"this run has no space {text!r}; there are: {', '.join(map(str, self.spaces))}")

    def _feature(self, feature: Feature | str) -> Feature:
        found = Feature.parse(feature) if isinstance(feature, str) else feature
        space = self._space(f"layer{found.layer}.{found.tokens}")
        if not found.index < space.n_features:
            raise ConfigError(f"{space} has {space.n_features} features, so {found} does not exist")
        return found
