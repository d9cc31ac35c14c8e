"""Scores how much the images that a feature fires on have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import ConfigError, Context, FeatureBatch, FeatureStream, ScoreColumn, ScoreFact, ScoreInput, Texts
from saeviz.toolkit.multiple_testing import adjust
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.agreement import agreement
from saeviz_monosemanticity.baseline import Baseline, cutoffs
from saeviz_monosemanticity.blocks import FEWEST_IMAGES, OfFeatures, SumsInBlocks, TopImages, sums_over_all
from saeviz_monosemanticity.draws import MOST_IMAGES, draw_p_values
from saeviz_monosemanticity.embeddings import UnitVectors
from saeviz_monosemanticity.facts import facts, facts_of_second
from saeviz_monosemanticity.grouped import draw_in_groups
from saeviz_monosemanticity.null import null_variance, tail_probability
from saeviz_monosemanticity.similarity import sums_of_few
from saeviz_monosemanticity.weights import weights_of_top
from saeviz_monosemanticity.yardstick import Yardstick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, Mask

ALPHA = 0.05
SMALLEST_SD = 1e-6
"""Below this, scores of draws differ by rounding: there is one way to draw as many images of a group."""


class Monosemanticity:
    """The mean cosine of independent embeddings over pairs of different images, weighted by activation.

    Column `monosemanticity` is in [-1, 1], or NaN where fewer than two images have weight, and `ms_note` then says
    why; `ms_class` is `polysemantic`, `moderate`, `monosemantic`, or '' for NaN. `ms_baseline_mean` and
    `ms_baseline_sd`, the same for every feature, are of random pairs of the run's images. The null gives every image
    of the run the same chance to be where the feature's weights are: `ms_null_mean` and `ms_null_sd` (exact),
    `ms_z`, `ms_p` (one-sided: random images are as alike) and `ms_q` (Benjamini-Hochberg over the run), NaN where
    the score cannot vary. If the images have groups, random ones are drawn of which as many share a group as of the
    feature's (`grouped`), and mean and sd are of 1,000 draws. With a second embedding, `monosemanticity_2` and
    `ms_class_2` by it, the class always by calibrated cut-offs, because those of the document belong to another
    embedding.

    Images without an embedding, or with one of length zero, are left out as if the run did not have them. Sources:
    SAE-for-VLM (NeurIPS 2025) for `global`, the project's source document for `top-k`, visaebench for
    `top-k-global-weights`.
    """

    def __init__(self, options: MonosemanticityOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._yardsticks: dict[str, Yardstick] = {}
        self._told: dict[str, Yardstick] = {}

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn | ScoreFact]:
        """The columns of one space and, with the first, the run's baseline and the cut-offs in force."""
        if data.embeddings is None:
            raise ConfigError(
                "scorers.monosemanticity: the run has no embeddings to compare images by; add an [embeddings] table "
                'to the run file, for instance with use = "dinov2", or remove this scorer'
            )
        yield from self._results(data, partial(self._of_all, data))

    def in_blocks(self, data: ScoreInput) -> SumsInBlocks | None:
        """The same from blocks of features, for `global`.

        The other definitions need top images and embeddings only, which cost no more with more images.
        """
        if self.options.definition != "global" or data.embeddings is None:
            return None
        return SumsInBlocks(
            {which: cache(partial(self._sample, which, data)) for which in _embeddings_of(data)},
            lambda found: self._results(data, found),
        )

    def _results(self, data: ScoreInput, found: Callable[[str], OfFeatures]) -> Iterator[ScoreColumn | ScoreFact]:
        """What follows from sums over the images by the `first` and the `second` embedding."""
        for which in _embeddings_of(data):
            yardstick = self._yardstick(which, data)
            if self._told.get(which) is not yardstick:
                self._told[which] = yardstick
                yield from self._facts(which, data, yardstick)
            columns = self._columns if which == "first" else self._second_columns
            for name, values in columns(data, found(which), yardstick).items():
                yield ScoreColumn(name, data.space, values)

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact]:
        """`ms_q` of every feature, and how far two embeddings agree, from the columns of all spaces."""
        tested = [column for column in columns if column.name == "ms_p"]
        adjusted = adjust(np.concatenate([column.values for column in tested] or [np.zeros(0)]))
        start = 0
        for column in tested:
            yield ScoreColumn("ms_q", column.space, adjusted[start : start + column.values.size])
            start += column.values.size
        yield ScoreFact("monosemanticity_family_size", int(np.isfinite(adjusted).sum()))
        yield ScoreFact("monosemanticity_above_chance", int((adjusted <= ALPHA).sum()))
        if any(column.name == "monosemanticity_2" for column in columns):
            yield from agreement(columns, cutoffs("calibrated", self._yardsticks["first"].baseline))

    def _yardstick(self, which: str, data: ScoreInput) -> Yardstick:
        """What is measured of an embedding once for all spaces whose images share it."""
        embeddings: Any = _embeddings_of(data)[which]
        known = self._yardsticks.get(which)
        if known and known.embeddings.shape == embeddings.shape and np.may_share_memory(known.embeddings, embeddings):
            return known
        self._yardsticks[which] = Yardstick(embeddings, data.item_ids, self.context.seed)
        return self._yardsticks[which]

    def _facts(self, which: str, data: ScoreInput, measured: Yardstick) -> Iterator[ScoreFact]:
        """Of an embedding; warns of what is wrong with it."""
        if len(measured.unit) < FEWEST_IMAGES:
            self._warn_of_images(which, measured, "no feature can be scored; three images are needed")
        else:
            if len(measured.unit) < data.n_items:
                left_out = "the others (embedding missing, not finite or zero) are left out"
                self._warn_of_images(which, measured, left_out)
            if which == "second" or self.options.thresholds == "calibrated":
                self._warn_of_unreachable_class(which, measured.baseline)
        if which == "second":
            yield from facts_of_second(measured)
        else:
            draws, grouped = self._draws(len(measured.unit)), self._in_groups(data, measured)
            yield from facts(self.options, measured, draws, grouped=grouped)

    def _in_groups(self, data: ScoreInput, first: Yardstick) -> bool:
        """Whether the null allows for groups; warns if it cannot."""
        if data.groups is None or self._draws(len(first.unit)):
            return data.groups is not None
        self.context.logger.warning(
            "monosemanticity: the images belong to groups, but ms_p takes them as independent; to allow for groups, "
            "use a definition with top_k of at most %d images and draws > 0",
            MOST_IMAGES,
        )
        return False

    def _warn_of_images(self, which: str, measured: Yardstick, outcome: str) -> None:
        self.context.logger.warning(
            "monosemanticity: %d of %d images have a usable %s; %s",
            len(measured.unit),
            measured.unit.is_usable.size,
            "embedding" if which == "first" else "second embedding",
            outcome,
        )

    def _warn_of_unreachable_class(self, which: str, baseline: Baseline) -> None:
        highest = cutoffs("calibrated", baseline)[-1]
        if highest >= 1:
            asked_for = which == "second" or "thresholds" in self.options.model_fields_set
            self.context.logger.log(
                logging.WARNING if asked_for else logging.INFO,
                "monosemanticity: no feature can be monosemantic by the %s embedding: two random images have a "
                "similarity of %.2f (SD %.2f), so that the calibrated cut-off is %.2f, and no score exceeds 1",
                which,
                baseline.mean,
                baseline.sd,
                highest,
            )

    def _columns(self, data: ScoreInput, found: OfFeatures, yardstick: Yardstick) -> Mapping[str, NDArray[Any]]:
        scores = found.sums.scores()
        shown = found.sums.scores_with_self_pairs() if self.options.include_self_pairs else scores
        n_features = data.space.n_features
        return {
            "monosemanticity": shown,
            "ms_class": cutoffs(self.options.thresholds, yardstick.baseline).classes(shown),
            "ms_note": _notes(len(yardstick.unit), found, shown),
            "ms_baseline_mean": np.full(n_features, yardstick.baseline.mean),
            "ms_baseline_sd": np.full(n_features, yardstick.baseline.sd),
            **self._null_columns(scores, found, yardstick, data.groups),
        }

    def _null_columns(
        self, scores: FloatArray, found: OfFeatures, yardstick: Yardstick, groups: Sequence[str | None] | None
    ) -> Mapping[str, FloatArray]:
        sums, top = found.sums, found.top
        if len(yardstick.unit) < FEWEST_IMAGES:
            return dict.fromkeys(("ms_null_mean", "ms_null_sd", "ms_z", "ms_p"), np.full(scores.shape, np.nan))
        has_score = np.isfinite(scores)
        mean = np.where(has_score, yardstick.cosines.mean, np.nan)
        sd = np.sqrt(np.where(has_score, null_variance(sums.powers, yardstick.cosines), np.nan))
        z = (scores - mean) / sd
        draws, seed, unit = self._draws(len(yardstick.unit)), self.context.seed, yardstick.drawn_from
        testable = np.where(np.isnan(z), np.nan, scores)
        if top is None or not draws:
            p = tail_probability(z, sums.powers, yardstick.cosines)
        elif groups is None:
            p = draw_p_values(top.weights, testable, unit, draws, seed)
        else:
            place = np.argsort(unit.order)  # of an image in the order of ids
            rows = np.flatnonzero(unit.is_usable)[unit.order]
            in_order = (groups[row] for row in rows)
            mean, sd, p = draw_in_groups(place[top.rows], top.weights, testable, unit, in_order, draws, seed)
            can_vary = sd > SMALLEST_SD
            sd, p = np.where(can_vary, sd, np.nan), np.where(can_vary, p, np.nan)
            z = (scores - mean) / sd
        if self.options.include_self_pairs:  # z and p stay: these pairs have the same part in every draw
            with np.errstate(invalid="ignore"):
                share = sums.weight_of_pairs / sums.powers[1] ** 2
            mean, sd = mean * share + (1 - share), sd * share
        return {"ms_null_mean": mean, "ms_null_sd": sd, "ms_z": z, "ms_p": p}

    def _second_columns(self, _data: ScoreInput, found: OfFeatures, yardstick: Yardstick) -> Mapping[str, NDArray[Any]]:
        scores = found.sums.scores_with_self_pairs() if self.options.include_self_pairs else found.sums.scores()
        classes = cutoffs("calibrated", yardstick.baseline).classes(scores)
        return {"monosemanticity_2": scores, "ms_class_2": classes}

    def _sample(self, which: str, data: ScoreInput) -> tuple[ScoreInput, UnitVectors]:
        """The images that have an embedding."""
        unit = self._yardstick(which, data).unit
        return _only(data, unit.is_usable), unit

    def _of_all(self, data: ScoreInput, which: str) -> OfFeatures:
        data, unit = self._sample(which, data)
        if self.options.definition == "global" or data.n_items < FEWEST_IMAGES:
            return sums_over_all(data, unit)
        globally_scaled = self.options.definition == "top-k-global-weights"
        rows, weights = weights_of_top(data, self.options.top_k, globally_scaled=globally_scaled)
        n_active = data.features.count_active()
        return OfFeatures(sums_of_few(rows, weights, unit), n_active, TopImages(rows, weights))

    def _draws(self, n_images: int) -> int:
        is_few = self.options.definition != "global" and min(self.options.top_k, n_images) <= MOST_IMAGES
        return self.options.draws if is_few else 0


def _embeddings_of(data: ScoreInput) -> dict[str, Any]:
    given = {"first": data.embeddings, "second": data.second_embeddings}
    return {which: embeddings for which, embeddings in given.items() if embeddings is not None}


def _only(data: ScoreInput, wanted: Mask) -> ScoreInput:
    if wanted.all():
        return data
    item_ids = Texts.of(data.item_ids).take(wanted)
    return ScoreInput(data.space, item_ids, FeatureStream(data.space, partial(_batches_of, data, wanted)), None, {})


def _batches_of(data: ScoreInput, wanted: Mask) -> Iterator[FeatureBatch]:
    for rows, matrix in data.features.parts():
        keep = wanted[rows]
        yield FeatureBatch(data.space, tuple(compress(data.item_ids[rows], keep)), matrix[keep])


def _notes(n_images: int, found: OfFeatures, scores: FloatArray) -> NDArray[np.str_]:
    """Why a feature has no score, '' where it has one."""
    if n_images < FEWEST_IMAGES:
        return np.full(scores.shape, "fewer than three images have an embedding")
    conditions = [np.isfinite(scores), found.n_active < 2, found.sums.powers[0] == 0]
    reasons = ["", "fires on fewer than two images", "fires equally on all images that it is scaled over"]
    return np.select(conditions, reasons, default="one image has nearly all the weight")
