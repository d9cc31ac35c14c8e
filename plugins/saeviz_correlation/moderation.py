"""Whether the relation of a feature with a rating differs between groups of images or of raters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from saeviz import Context, FeatureSpace, ScoreColumn, ScoreFact, ScoreInput
from saeviz.toolkit.multiple_testing import adjust
from saeviz_correlation.clusters import group_codes
from saeviz_correlation.columns import feature_blocks
from saeviz_correlation.controls import MadeFromRatings
from saeviz_correlation.grouping import FEW_GROUPS
from saeviz_correlation.moderators import Sample, count_active, make_contrasts, make_samples
from saeviz_correlation.options import ModerationOptions, column_of
from saeviz_correlation.slopes import slopes

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray

PREFIX = "moderation_"
AT_ONCE = 1 << 24
"""Features times images, of which is counted at once where a feature fires."""


class Moderation:
    """The slope of each rating on a feature where a moderator is low and where it is high, and their difference.

    Columns per rating and contrast, each followed by `.` and the name of the contrast: `moderation_low` and
    `moderation_high`, the slopes in standard deviations of the rating per standard deviation of the feature;
    `moderation_difference`, high minus low, `moderation_ci_low` and `moderation_ci_high` (95 %), `moderation_p`
    (Student's t with `moderation_df`; of two groups of raters at least the p of `independent`), `moderation_n`,
    `moderation_n_active`; then `moderation_q` and `moderation_significant` over the family. NaN for a feature that
    fires on fewer than `min_active` images, or on fewer on either side of a moderator of two values.
    """

    def __init__(self, options: ModerationOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._errors = ""
        self._words: dict[str, str] = {}
        self._made_from_ratings = MadeFromRatings("moderation", context.logger)

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space."""
        if scores := self.in_blocks(data):
            blocks = feature_blocks(data, lambda matrix: matrix)
            yield from scores.finish(scores.block(features, block) for features, block in blocks)

    def in_blocks(self, data: ScoreInput) -> SlopesInBlocks | None:
        """The columns from blocks of features (`saeviz.BlockScorer`); None if there is nothing to compare."""
        place = "scorers.moderation"
        self.options.check_columns(place, data.ratings, data.metadata, data.of_images)
        self.options.check_groups(place, data.groups is not None)
        data = data.with_targets(self.options.ratings or ())
        contrasts = make_contrasts(data, self.options, place)
        self._warn_of_predictions(data)
        codes = self._codes(data)
        is_robust = self._errors != "independent"
        samples = [sample for one in contrasts for sample in make_samples(data, one, codes, is_robust)]
        self._tell(data, samples, {contrast.name: contrast.words for contrast in contrasts})
        return SlopesInBlocks(data.space, samples, self.options.min_active) if samples else None

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact]:
        """`q` and `significant` over all contrasts, ratings and features of a family."""
        start = f"{PREFIX}p."
        tests = [column for column in columns if column.name.startswith(start)]
        families: dict[str, list[ScoreColumn]] = {}
        for test in tests:
            name = {"run": "run", "space": str(test.space), "rating": str(test.target)}[self.options.family]
            families.setdefault(name, []).append(test)
        found: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for family, members in families.items():
            q = adjust(np.concatenate([test.values for test in members]), self.options.correction)
            sizes[family] = int(np.isfinite(q).sum())
            for test, values in zip(members, _dealt_out(q, members), strict=True):
                contrast = test.name.removeprefix(start)
                significant = np.where(np.isfinite(values), values <= self.options.alpha, np.nan)
                key = f"{test.target}.{contrast}"
                found[key] = found.get(key, 0) + int(np.nansum(significant))
                for name, column in (("q", values), ("significant", significant)):
                    yield ScoreColumn(f"{PREFIX}{name}.{contrast}", test.space, column, target=test.target)
        yield from self._facts(sizes, found)

    def _warn_of_predictions(self, data: ScoreInput) -> None:
        """Of columns computed from a rating that are held constant, or that the relation with it may change with."""
        known = [*data.ratings, *data.metadata, *data.of_images]
        columns = [column_of(name, known) for name in (*self.options.moderators, *self.options.control)]
        ratings = {name for pair in self.options.rater_groups for name in pair}
        if self.options.moderators:
            ratings |= set(self.options.ratings or data.ratings)
        self._made_from_ratings.warn(data, columns, ratings)

    def _codes(self, data: ScoreInput) -> IntArray | None:
        kind = self.options.errors
        if kind == "auto":
            kind = "hc2" if data.groups is None else "clusters"
        self._errors = kind
        return group_codes(data.groups) if kind == "clusters" and data.groups is not None else None

    def _tell(self, data: ScoreInput, samples: Sequence[Sample], words: dict[str, str]) -> None:
        """Warns once of contrasts without images, of ratings that do not vary, and of few groups."""
        if self._words:
            return
        self._words = words
        logger = self.context.logger
        for name in words.keys() - {sample.contrast.name for sample in samples}:
            logger.warning("moderation: no image has a rating and all values that %s needs", words[name])
        for flat in dict.fromkeys(chain.from_iterable(_without_variance(data, sample) for sample in samples)):
            logger.warning("moderation: %s", flat)
        for sample in samples:
            starts = sample.model.starts
            if self._errors == "clusters" and starts is not None and starts.size < FEW_GROUPS:
                logger.warning(
                    "moderation: the images of %s with rating %r belong to only %d group%s, so hardly anything can be "
                    "significant",
                    sample.contrast.words,
                    sample.targets[0],
                    starts.size,
                    "s" * (starts.size != 1),
                )
                return

    def _facts(self, sizes: dict[str, int], found: dict[str, int]) -> Iterator[ScoreFact]:
        options = self.options
        size = sizes.get("run", 0) if options.family == "run" else [f"{name}: {n}" for name, n in sizes.items()]
        facts: dict[str, object] = {
            "contrasts": list(self._words.values()),
            "control": list(options.control),
            "errors": self._errors,
            "correction": options.correction,
            "family": options.family,
            "family_size": size,
            "alpha": options.alpha,
            "min_active": options.min_active,
        }
        facts |= {f"significant_{name}": n for name, n in found.items()}
        for name, value in facts.items():
            yield ScoreFact(PREFIX + name, value)


class SlopesInBlocks:
    """Slopes of some features at a time in each of the samples (`saeviz.BlockScores`)."""

    def __init__(self, space: FeatureSpace, samples: Sequence[Sample], min_active: int) -> None:
        self._samples = samples
        self._space = space
        self._min_active = min_active

    def block(self, _features: slice, values: CSR) -> Mapping[str, FloatArray]:
        """The columns of a block, `[n_features, n_ratings]`, by the place of the sample and their name."""
        return {
            f"{place}.{name}": column
            for place, sample in enumerate(self._samples)
            for name, column in self._of_sample(values, sample).items()
        }

    def finish(self, blocks: Iterable[Mapping[str, FloatArray]]) -> Iterator[ScoreColumn]:
        """The columns of all features."""
        parts = list(blocks)
        for key in parts[0] if parts else ():
            place, name = key.split(".")
            sample, values = self._samples[int(place)], np.concatenate([part[key] for part in parts])
            for rating, column in zip(sample.targets, values.T, strict=True):
                yield ScoreColumn(f"{PREFIX}{name}.{sample.contrast.name}", self._space, column, target=rating)

    def _of_sample(self, block: CSR, sample: Sample) -> dict[str, FloatArray]:
        n, shape = sample.model.images.size, (block.shape[0], len(sample.targets))
        step = max(1, AT_ONCE // n)
        n_active = np.zeros(block.shape[0], dtype=np.int64)
        for start in range(0, block.shape[0], step):
            values = block[start : start + step].toarray()[:, sample.model.images]
            n_active[start : start + step] = count_active(values > 0, sample.sides)
        tested = np.flatnonzero(n_active >= self._min_active)
        low, high, p, half, df = columns = [np.full(shape, np.nan) for _ in range(5)]
        for column, found in zip(columns, slopes(block[tested], sample.model, sample.ratings), strict=True):
            column[tested] = found
        difference = high - low
        return {
            "n": np.full(shape, float(n)),
            "n_active": np.broadcast_to(n_active[:, None].astype(float), shape),
            "low": low,
            "high": high,
            "difference": difference,
            "ci_low": difference - half,
            "ci_high": difference + half,
            "df": np.where(np.isfinite(p), df, np.nan),
            "p": p,
        }


def _dealt_out(values: FloatArray, columns: Sequence[ScoreColumn]) -> list[FloatArray]:
    return np.split(values, np.cumsum([column.space.n_features for column in columns])[:-1])


def _without_variance(data: ScoreInput, sample: Sample) -> Iterator[str]:
    """What to know of ratings that are the same on all images of a contrast, or on one side of it."""
    for rating in sample.targets if sample.model.moderator is not None else ():
        values = np.asarray(data.ratings[rating], dtype=np.float64)[sample.model.images]
        if not np.ptp(values):
            yield f"rating {rating!r} is not tested: all images have the same value"
        elif not all(np.ptp(values[side]) for side in sample.sides if side.any()):
            yield (
                f"rating {rating!r} never varies on one side of {sample.contrast.words}, so a difference says only "
                "that there is a relation on the other"
            )
