"""What the scorers of a finished run were given, to try another scorer in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.score_input import IndividualRatings, ScoreInput
from saeviz.values.streams import FeatureStream

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import Float32Array


def score_input(
    space: FeatureSpace,
    read: Callable[[], Iterator[FeatureBatch]],
    items: Sequence[ImageItem],
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    embeddings: tuple[Float32Array | None, Float32Array | None],
) -> ScoreInput:
    """One space of a run; `tables` are its ratings, metadata and numbers of images, in the order of `items`."""
    ratings, metadata, numbers = tables
    names = dict.fromkeys(name for item in items for name in item.individual)
    groups = tuple(item.group for item in items)
    return ScoreInput(
        space,
        tuple(item.item_id for item in items),
        FeatureStream(space, read),
        embeddings[0],
        {name: ratings[name].to_numpy(float) for name in ratings},
        {name: _individual(name, items) for name in names},
        {name: tuple(metadata[name]) for name in metadata},
        embeddings[1],
        groups if any(group is not None for group in groups) else None,
        {name: numbers[name].to_numpy(float) for name in numbers},
    ).locked()


def _individual(name: str, items: Sequence[ImageItem]) -> IndividualRatings:
    import numpy as np

    given = [(row, *pair) for row, item in enumerate(items) for pair in item.individual.get(name, {}).items()]
    codes = {rater: code for code, rater in enumerate(dict.fromkeys(rater for _, rater, _ in given))}
    return IndividualRatings(
        np.array([row for row, _, _ in given], dtype=np.int64),
        np.array([codes[rater] for _, rater, _ in given], dtype=np.int64),
        np.array([value for _, _, value in given], dtype=np.float64),
        tuple(codes),
    )
