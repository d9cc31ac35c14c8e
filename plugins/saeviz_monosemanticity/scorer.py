"""Scores how much the images that a feature fires on have in common."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import ConfigError, Context, FeatureBatch, FeatureStream, ScoreColumn, ScoreFact, ScoreInput
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.baseline import Baseline, Cutoffs, cutoffs, measure_baseline
from saeviz_monosemanticity.similarity import StreamedSimilarity, similarity_of_few
from saeviz_monosemanticity.weights import weights_of_all, weights_of_top

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class Monosemanticity:
    """The mean cosine of independent embeddings over pairs of different images, weighted by activation.

    Column `monosemanticity` is in [-1, 1], or NaN where fewer than two images have weight; `ms_class` is
    `polysemantic`, `moderate`, `monosemantic`, or '' for NaN. Images without an embedding, or with one of
    length zero, are left out as if the run did not have them. Sources: SAE-for-VLM (NeurIPS 2025) for
    `global`, the project's source document for `top-k`, visaebench for `top-k-global-weights`.
    """

    def __init__(self, options: MonosemanticityOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._measured: tuple[Any, Baseline] | None = None

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn | ScoreFact]:
        """The columns of one space and, with the first, the run's baseline and the cut-offs in force."""
        if data.embeddings is None:
            raise ConfigError(
                "scorers.monosemanticity: the run has no embeddings to compare images by; add an [embeddings] table "
                'to the run file, for instance with use = "dinov2", or leave this scorer out'
            )
        usable, unit = _with_embedding(data, data.embeddings)
        limits = yield from self._cutoffs(data.embeddings, unit)
        values = self._scores(usable, unit)
        yield ScoreColumn("monosemanticity", data.space, values)
        yield ScoreColumn("ms_class", data.space, _classes(values, limits))

    def _cutoffs(self, embeddings: Any, unit: FloatArray) -> Generator[ScoreFact, None, Cutoffs]:
        """Measured once for all spaces whose images share their embeddings, with the facts about it."""
        if self._measured is None or self._measured[0] is not embeddings:
            self._measured = embeddings, measure_baseline(unit, self.context.seed)
            yield from self._facts(self._measured[1], len(unit))
            if len(unit) < 2:
                self.context.logger.warning(
                    "monosemanticity: %d of %d images have a usable embedding and no feature can be scored; "
                    "it takes two images",
                    len(unit),
                    len(embeddings),
                )
        return cutoffs(self.options.thresholds, self._measured[1])

    def _scores(self, data: ScoreInput, unit: FloatArray) -> FloatArray:
        options = self.options
        if data.n_items < 2:
            return np.full(data.space.n_features, np.nan)
        if options.definition == "global":
            streamed = StreamedSimilarity(data.space.n_features, unit.shape[1])
            for images, weights in weights_of_all(data):
                streamed.add(weights, unit[images])
            return streamed.scores(include_self_pairs=options.include_self_pairs)
        rows, top_weights = weights_of_top(
            data, options.top_k, globally_scaled=options.definition == "top-k-global-weights"
        )
        return similarity_of_few(rows, top_weights, unit, include_self_pairs=options.include_self_pairs)

    def _facts(self, baseline: Baseline, n_images: int) -> Iterator[ScoreFact]:
        yield ScoreFact("monosemanticity_definition", self.options.definition)
        if self.options.definition != "global":
            yield ScoreFact("monosemanticity_top_k", self.options.top_k)
        yield ScoreFact("monosemanticity_images", n_images)
        if baseline.n_pairs:
            yield ScoreFact("monosemanticity_baseline_mean", baseline.mean)
            yield ScoreFact("monosemanticity_baseline_sd", baseline.sd)
            yield ScoreFact("monosemanticity_baseline_pairs", baseline.n_pairs)
            limits = cutoffs(self.options.thresholds, baseline)
            yield ScoreFact("monosemanticity_thresholds", self.options.thresholds)
            yield ScoreFact("monosemanticity_cutoffs", list(limits))


def _with_embedding(data: ScoreInput, embeddings: Any) -> tuple[ScoreInput, FloatArray]:
    """The images that have an embedding, and these, each of length 1: float64 `[n, dim]`."""
    length = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    is_usable = np.isfinite(length) & (length > 0)
    unit = embeddings[is_usable].astype(np.float64)
    unit /= length[is_usable, None]
    if is_usable.all():
        return data, unit
    features = FeatureStream(data.space, partial(_batches_of, data, is_usable))
    ids = tuple(compress(data.item_ids, is_usable))
    return ScoreInput(data.space, ids, features, None, {}), unit


def _batches_of(data: ScoreInput, wanted: NDArray[np.bool_]) -> Iterator[FeatureBatch]:
    for rows, matrix in data.chunks():
        keep = wanted[rows]
        yield FeatureBatch(data.space, tuple(compress(data.item_ids[rows], keep)), matrix[keep])


def _classes(scores: FloatArray, limits: Cutoffs) -> NDArray[np.str_]:
    conditions = [np.isnan(scores), scores >= limits.monosemantic, scores >= limits.moderate]
    return np.select(conditions, ["", "monosemantic", "moderate"], default="polysemantic")
