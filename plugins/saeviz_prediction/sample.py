"""The images that take part, in an order that depends on their ids alone, and all that predicts their ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz import Context, ScoreInput, TargetKind, target_kind
from saeviz_prediction import PredictionOptions
from saeviz_prediction.activations import raw_activations
from saeviz_prediction.folds import fold_rows, group_numbers, in_random_order

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import FloatArray, IntArray


IMAGES_PER_FOLD = 4
"""Images per fold below which a rating is not predicted."""


@dataclass(frozen=True)
class Rated:
    """The images of a sample that have one rating, `[n]` rows of it, and this rating of theirs.

    `folds` are the parts of these `n` that are predicted from the others, `groups` the number of each row's group.
    """

    name: str
    rows: IntArray
    values: FloatArray
    folds: list[IntArray]
    groups: IntArray | None

    @property
    def kind(self) -> TargetKind:
        """Whether the rating is binary, by the values of these images."""
        return target_kind(self.values)


@dataclass(frozen=True)
class Sample:
    """Images with a rating, an activation and an embedding, where there are such; `rows` are theirs in the data.

    `vectors` are float64 `[n, dim]` by where they come from: `activations` and `embeddings`. `groups` has a number for
    each group of images, None if they have none.
    """

    item_ids: tuple[str, ...]
    rows: IntArray
    vectors: Mapping[str, FloatArray]
    ratings: Mapping[str, FloatArray]
    groups: IntArray | None

    def rated(self, folds: int) -> tuple[list[Rated], dict[str, str]]:
        """The ratings that can be predicted, and for each other rating the reason why not."""
        usable, reasons = [], {}
        for name, ratings in self.ratings.items():
            rows = np.flatnonzero(np.isfinite(ratings))
            values, groups = ratings[rows], None if self.groups is None else self.groups[rows]
            if rows.size < IMAGES_PER_FOLD * folds:
                reasons[name] = f"only {rows.size} images have it, but {IMAGES_PER_FOLD * folds} are needed"
            elif values.max() == values.min():
                reasons[name] = "all images have the same value"
            elif groups is not None and np.unique(groups).size < folds:
                n = np.unique(groups).size
                reasons[name] = f"its images belong to {n} group{'s' * (n != 1)}, fewer than the {folds} folds"
            else:
                usable.append(Rated(name, rows, values, fold_rows(rows.size, folds, groups), groups))
        return usable, reasons


def draw_sample(data: ScoreInput, names: Sequence[str], options: PredictionOptions, context: Context) -> Sample:
    """At most `max_images` of those that have a rating. Runs the model where its activations are not kept yet."""
    ratings = {name: np.asarray(data.ratings[name], dtype=np.float64) for name in names}
    is_rated = np.any([np.isfinite(values) for values in ratings.values()] or [np.zeros(data.n_items, bool)], axis=0)
    rows = in_random_order(data.item_ids, np.flatnonzero(is_rated), context.seed)[: options.max_images]
    vectors = dict(_vectors(data, rows, options, context))
    complete = np.ones(rows.size, dtype=bool)
    for values in vectors.values():
        complete &= np.isfinite(values).all(axis=1)
    return Sample(
        item_ids=tuple(data.item_ids[row] for row in rows[complete]),
        rows=rows[complete],
        vectors={source: values[complete] for source, values in vectors.items()},
        ratings={name: values[rows[complete]] for name, values in ratings.items()},
        groups=None if data.groups is None else group_numbers([data.groups[row] for row in rows[complete]]),
    )


def _vectors(
    data: ScoreInput, rows: IntArray, options: PredictionOptions, context: Context
) -> Iterator[tuple[str, FloatArray]]:
    """Those that at least one image has."""
    if options.raw_model and rows.size:
        activations = raw_activations([data.item_ids[row] for row in rows], data.space, context)
        if activations is not None and np.isfinite(activations).all(axis=1).any():
            yield "activations", activations.astype(np.float64)
    if data.embeddings is not None:
        embeddings = data.embeddings[rows].astype(np.float64)
        embeddings[~embeddings.any(axis=1)] = np.nan  # zeros are no embedding
        if np.isfinite(embeddings).all(axis=1).any():
            yield "embeddings", embeddings


def features_of(data: ScoreInput, rows: IntArray) -> csr_array:
    """The features of some images in float64, in the order of `rows`."""
    order = np.argsort(rows)
    wanted = rows[order]
    parts = []
    for chunk, matrix in data.chunks():
        inside = wanted[np.searchsorted(wanted, chunk.start) : np.searchsorted(wanted, chunk.stop)]
        parts.append(matrix[inside - chunk.start].astype(np.float64))
    back = np.empty(order.size, dtype=np.int64)
    back[order] = np.arange(order.size)
    return data.space.stack(parts)[back]
