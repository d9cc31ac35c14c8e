"""A run opened for reading, for reporters and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.contract.combined import field_of_view as view_of
from saeviz.contract.roles import HasModelFiles, HeatmapExtractor
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.pairs import read_pairs
from saeviz.formats.plain import quoted
from saeviz.formats.rundir import RunDir
from saeviz.formats.selection import read_selected, read_tier_cutoffs
from saeviz.pictures.heatmap import draw_heatmap
from saeviz.results.citing import works_of
from saeviz.results.frames import halves, individual_frame, metadata_frame, ratings_frame
from saeviz.results.given import score_input
from saeviz.results.heatmaps import heatmaps_by
from saeviz.results.lookup import Clusters, TopItems, columns_of, rows_of
from saeviz.results.names import Names
from saeviz.results.predicting import RatingModels
from saeviz.results.views import FeatureTable, FeatureView, ImageView, features_in, run_html
from saeviz.values.citations import Citation
from saeviz.values.columns import ColumnInfo
from saeviz.values.errors import ConfigError, DataError, RunDirError
from saeviz.values.features import Feature, FeatureBatch, FeatureSpace
from saeviz.values.images import Box, ImageItem
from saeviz.values.naming import TopImage
from saeviz.values.outcomes import Failure
from saeviz.values.relations import facts_of, relation_prefixes
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import Selected, TierCutoff

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from saeviz.results.opened import Opened
    from saeviz.results.plots import Plots
    from saeviz.typing import Float32Array, FloatArray


class Run(Names):
    """The results of a run directory.

    Tables are read on first use and cached; images, store and model are opened only when needed. Reading a table of a
    stage that has not run raises `RunDirError`, naming the stage.
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
        """Figures about the whole run from scorers and the judge, by name."""
        stages = self.manifest["stages"]
        return {**stages.get("score", {}).get("facts", {}), **stages.get("judge", {}).get("facts", {})}

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces of the run."""
        return self._rundir.spaces()

    @property
    def ratings(self) -> list[str]:
        """The names of the ratings, in order."""
        rated = self.manifest["stages"].get("score", {}).get("counts", {}).get("rated")
        return list(rated) if isinstance(rated, Mapping) else list(self._session.dataset.ratings)

    @cached_property
    def items(self) -> Sequence[ImageItem]:
        """All images of the run that have features."""
        return list(self._session.dataset.extracted)

    @cached_property
    def ratings_table(self) -> pd.DataFrame:
        """A row per image of `items`, a float column per rating, NaN if not rated.

        Columns of `images_table` that features were correlated with, such as `residual.RATING`, come after the ratings.
        """
        table = ratings_frame(self.items)
        if further := [name for name in self.ratings if name not in table]:
            table = table.join(self.images_table.reindex(columns=further))
        return table

    @cached_property
    def metadata(self) -> pd.DataFrame:
        """A row per image of `items`, a text column per metadata field, '' if missing."""
        return metadata_frame(self.items)

    @cached_property
    def embeddings(self) -> Float32Array:
        """The embeddings of `items`, float32 `[n_items, dim]`, with a row of NaN for an image without one."""
        found = EmbeddingFiles(self._rundir.embeddings("embeddings")).read(self.items)
        if found is None:
            raise RunDirError(
                f"{self.dir} has no embeddings; add an [embeddings] table and a scorer that uses it, "
                "such as monosemanticity, to the run file and run it"
            )
        return found

    @cached_property
    def individual_ratings(self) -> pd.DataFrame:
        """A row per individual rating: `item_id`, `rating`, `rater`, `value`; empty if only means are known."""
        return individual_frame(self.items)

    @cached_property
    def split(self) -> pd.Series[str]:
        """For each image of `items`, whether relations were discovered (`found`) or tested (`held out`) on it.

        This is the split of the main correlation; without a split, all images are `found`.
        """
        prefix = next(iter(relation_prefixes(self.correlations.columns)), "")
        settings, share = self._rundir.config().get("run"), facts_of(prefix, self.facts).get("split")
        if not (share is None or (isinstance(share, float) and 0 < share < 1)):
            raise RunDirError(f"{self._rundir.manifest_file}: the share of a split is {quoted(share)}")
        return halves(self.items, share, settings.get("seed", 0) if isinstance(settings, Mapping) else 0)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The scores of every feature: a row per (sae, layer, tokens, feature)."""
        return self._rundir.read_table(self._rundir.scores, "score")

    @cached_property
    def correlations(self) -> pd.DataFrame:
        """The correlations: a row per (sae, layer, tokens, feature, rating)."""
        return self._rundir.read_table(self._rundir.correlations, "score")

    @cached_property
    def columns(self) -> Mapping[str, Mapping[str, ColumnInfo]]:
        """What each column means, by the table: `columns["scores"]["max"].words`.

        The `attrs` of the tables have it, too. Runs of earlier versions have nothing of what scorers gave.
        """
        return columns_of(self._rundir)

    @cached_property
    def citations(self) -> Mapping[str, Sequence[Citation]]:
        """The works to cite for what the run used, by the component whose spec says so: `citations["embeddings"]`."""
        return works_of(self.manifest, self.facts, self.columns, lambda: self._session.manager)

    def companions(self, feature: Feature | str) -> list[Feature]:
        """The other features of its cluster, which fire together with it, most active first; none without clusters."""
        return self._clusters.companions(self._feature(feature))

    @property
    def rating_models(self) -> RatingModels:
        """What each rating is predicted by: intercepts, and the weights of features; without any if none are kept."""
        return RatingModels(self._rundir, self.facts)

    @cached_property
    def selected(self) -> list[Selected]:
        """The selected features, best first."""
        return read_selected(self._rundir)

    @property
    def tier_cutoffs(self) -> list[TierCutoff]:
        """Where the tiers of the selection begin, best first; empty if the selector does not say."""
        return read_tier_cutoffs(self._rundir)

    @cached_property
    def failures(self) -> list[Failure]:
        """The images and features that were left out."""
        return self._rundir.failures.read()

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """What changes when a picture changes, by its id, for all images with features: `size-time` of a file."""
        table = self._rundir.read_table(self._rundir.items, "extract")
        known = dict(zip(table["item_id"], table["fingerprint"].astype(str), strict=True))
        return {item_id: known[item_id] for item_id in self._rundir.extracted_ids()}

    def batches(self, space: FeatureSpace | str, item_ids: Sequence[str]) -> Iterator[FeatureBatch]:
        """The features of a space on these images, in this order, batch by batch in bounded memory."""
        space = self._space(str(space))
        return iter(self._session.components.store.read(space, item_ids) if item_ids else ())

    def score_input(self, space: FeatureSpace | str) -> ScoreInput:
        """One space as a scorer of this run is given it, to try one in a notebook: `list(MyScorer().score(data))`.

        Its columns of images are those of all scorers of the run.
        """
        found, items = self._space(str(space)), self.items
        ids = [item.item_id for item in items]
        first, second = (
            EmbeddingFiles(self._rundir.embeddings(table)).read(items) for table in ("embeddings", "second_embeddings")
        )
        tables = ratings_frame(items), self.metadata, self.images_table.reindex(ids)
        return score_input(found, lambda: self.batches(found, ids), items, tables, (first, second))

    def features(self, space: FeatureSpace | str) -> FeatureBatch:
        """The features of a space, for all images that have them, as one batch with `.item_ids` and CSR `.matrix`.

        Images that were removed later, or can no longer be read, are left out even if the store has them.
        """
        space = self._space(str(space))
        ids = tuple(self._rundir.extracted_ids())
        if "finished" not in self.manifest["stages"].get("extract", {}):
            there = set(self._session.components.store.item_ids(space))
            ids = tuple(item_id for item_id in ids if item_id in there)
        batches = self._session.components.store.read(space, ids) if ids else ()
        return FeatureBatch(space, ids, space.stack(batch.matrix for batch in batches))

    def activations(self, feature: Feature | str) -> FloatArray:
        """The activation of one feature on every image of `items`, float64 `[n_items]`."""
        import numpy as np

        found, item_ids = self._feature(feature), self._rundir.extracted_ids()
        batches = self.batches(found.space_name, item_ids)
        parts = [batch.matrix[:, [found.index]].toarray()[:, 0] for batch in batches]
        return np.concatenate([np.zeros(0), *parts])

    def top_images(self, feature: Feature | str, k: int | None = None) -> list[TopImage]:
        """The images on which a feature fires most, strongest first; at most `run.top_images` of them."""
        found, items = self._feature(feature), self._session.dataset.by_id
        space = self._space(found.space_name)
        if space not in self._top_items:
            self._top_items[space] = TopItems(self._rundir, space)
        top = self._top_items[space].of(found.index)[:k]
        return [TopImage(items[item_id], activation) for item_id, activation in top if item_id in items]

    def top_item_ids(self, feature: Feature | str, k: int | None = None) -> list[tuple[str, float]]:
        """Ids and activations of the top images, including images that no longer exist; opens no components."""
        rows = rows_of(self._rundir, self._rundir.top_images, "score", self._feature(feature))
        return [(row["item_id"], row["activation"]) for row in sorted(rows, key=lambda row: row["rank"])[:k]]

    @cached_property
    def images_table(self) -> pd.DataFrame:
        """Numbers of images, a float column each; the index is `item_id`. Runs of earlier versions have no columns.

        `l0.SPACE` is how many features of a space are active on an image; scorers add others, such as the out-of-fold
        prediction of a rating.
        """
        import pandas as pd

        self._rundir.verify(self._rundir.images, "score")
        if not self._rundir.images.exists():
            return pd.DataFrame(index=pd.Index(self._rundir.extracted_ids(), name="item_id", dtype="str"))
        table = self._rundir.read_table(self._rundir.images, "score").set_index("item_id")
        if text := [name for name in table if table[name].dtype.kind not in "biuf"]:
            raise RunDirError(
                f"{self._rundir.images}: the column {quoted(text[0])} has no numbers; run `saeviz run` again"
            )
        return table.astype(float)

    def scores_of(self, feature: Feature | str) -> dict[str, Any]:
        """The row of `scores` for one feature as a dictionary, None for missing values; reads only this row."""
        found = rows_of(self._rundir, self._rundir.scores, "score", self._feature(feature))
        return found[0] if found else {}

    def correlations_of(self, feature: Feature | str) -> list[dict[str, Any]]:
        """The rows of `correlations` for one feature, as dictionaries."""
        return rows_of(self._rundir, self._rundir.correlations, "score", self._feature(feature))

    def pairs(self, rating: str | None = None, feature: Feature | str | None = None) -> pd.DataFrame:
        """All tested pairs of a rating, of a feature, or of both: rows as of `correlations`, with the `scorer`.

        For more than 100 ratings, where `correlations` keeps only the strongest; reads only the files it needs.
        Raises `RunDirError` if no scorer wrote them.
        """
        if rating is None and feature is None:
            raise ConfigError(f"name a rating or a feature; {self._rundir.pairs} is too large to be read at once")
        if rating is not None and rating not in self.ratings:
            raise ConfigError(f"this run has no rating {quoted(rating)} ({self.dir})")
        return read_pairs(self._rundir, rating, None if feature is None else self._feature(feature))

    def heatmap(self, feature: Feature | str, item_id: str, *, fine: bool = False) -> Float32Array:
        """Where on an image a feature fires: float32 `[rows, cols]` over the patches, see `field_of_view`.

        For a feature of the class token, the map shows where the same SAE feature fires on patches. With `fine`, rows
        and columns are multiplied, with the same values in the middle of patches. Raises `DataError` if the extractor
        cannot compute heatmaps or its SAE is not for patches.
        """
        feature = self._feature(feature)
        return self.heatmaps([feature], item_id, fine=fine)[feature]

    def heatmaps(
        self, features: Sequence[Feature | str], item_id: str, *, fine: bool = False
    ) -> dict[Feature, Float32Array]:
        """The heatmaps of several features on an image, as `heatmap`, looking at the image once for each site."""
        words, extractor = self._session.config.extractors_in_words, self._session.components.peer("extractor")
        own = [self._feature(one) for one in features]
        return heatmaps_by(extractor, words, own, self._item(item_id), fine=fine)

    def heatmap_image(self, feature: Feature | str, item_id: str, *, smooth: bool = True, fine: bool = False) -> Image:
        """The heatmap drawn over its picture, RGB with a legend; parts that the model did not see are dimmed.

        `smooth` interpolates between the centres of cells. Raises `DataError` like `heatmap`, and if the extractor does
        not report its field of view.
        """
        box = self.field_of_view(item_id, feature)
        values = self.heatmap(feature, item_id, fine=fine)
        return draw_heatmap(self._item(item_id).open(), values, box, smooth=smooth, caption=str(feature))

    def field_of_view(self, item_id: str, feature: Feature | str | None = None) -> Box:
        """The part of an image that heatmaps cover: (left, top, right, bottom) in pixels of the upright picture.

        With `feature` that of its extractor, which in a run with several may see another part than the first one.

        The model does not see anything outside. It extends beyond the picture if the model pads it.
        """
        extractor = self._session.components.peer("extractor")
        if not isinstance(extractor, HeatmapExtractor):
            words = self._session.config.extractors_in_words
            raise DataError(f"{words} cannot say which part of a picture heatmaps cover")
        item, own = self._item(item_id), None if feature is None else self._feature(feature)
        return extractor.field_of_view(item) if own is None else view_of(extractor, item, own)

    def component(self, table: str) -> Any:
        """That of a table of the run file, such as `extractor`, if granted; raises `ConfigError` if there is none."""
        return self._session.components.peer(table)

    def model_files(self, table: str = "extractor") -> list[Path]:
        """The files with the weights of the extractor, or those of the table `embeddings` or `second_embeddings`.

        Raises `DataError` if the component does not say which, or one is not there.
        """
        component = self.component(table)
        if not isinstance(component, HasModelFiles):
            raise DataError(f"the component of [{table}] does not say which files it uses")
        return list(component.model_files())

    def feature(self, feature: Feature | str) -> FeatureView:
        """A feature, which a notebook displays as the value of a cell."""
        return FeatureView(self, self._feature(feature))

    def image(self, item_id: str) -> ImageView:
        """An image, which a notebook displays as the value of a cell. Raises `DataError` for an unknown id."""
        return ImageView(self, self._item(item_id))

    def table(self, features: Sequence[Feature | str] | pd.DataFrame | None = None) -> FeatureTable:
        """Features with their top images, displayed by a notebook as the value of a cell; default: the selected ones.

        `features` may also be rows of `scores` or `correlations`.
        """
        return FeatureTable(self, tuple(map(self._feature, features_in(self, features))))

    def _repr_html_(self) -> str:
        return run_html(self)

    @property
    def plot(self) -> Plots:
        """Figures to change and save, such as `run.plot.volcano("valence")`. `ConfigError` without matplotlib."""
        from saeviz.results.plots import Plots

        return Plots(self)

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
        known = ", ".join(map(str, self.spaces))
        there_are = f"there are: {known}" if known else "it has no features yet"
        raise ConfigError(f"this run has no space {text!r}; {there_are} ({self.dir})")

    def _feature(self, feature: Feature | str) -> Feature:
        found = Feature.parse(feature) if isinstance(feature, str) else feature
        space = self._space(found.space_name)
        if not found.index < space.n_features:
            raise ConfigError(f"{space} has {space.n_features} features, so {found} does not exist")
        return found
