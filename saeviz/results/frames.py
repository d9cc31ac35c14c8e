"""The images of a run with their ratings and metadata, as DataFrames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.values.images import ImageItem
from saeviz.values.score_input import finding_images

if TYPE_CHECKING:
    import pandas as pd


def ratings_frame(items: Sequence[ImageItem]) -> pd.DataFrame:
    """A float column per rating, NaN if an image is not rated; the index is `item_id`."""
    return _frame(items, [item.ratings for item in items]).astype(float)


def metadata_frame(items: Sequence[ImageItem]) -> pd.DataFrame:
    """A text column per metadata field, '' if missing; the index is `item_id`."""
    return _frame(items, [item.metadata for item in items]).fillna("")


def individual_frame(items: Sequence[ImageItem]) -> pd.DataFrame:
    """A row per individual rating: `item_id`, `rating`, `rater`, `value`; empty if only means are known."""
    import pandas as pd

    rows = [
        (item.item_id, name, rater, float(value))
        for item in items
        for name, given in item.individual.items()
        for rater, value in given.items()
    ]
    return pd.DataFrame(rows, columns=["item_id", "rating", "rater", "value"])


def halves(items: Sequence[ImageItem], share: float | None, seed: int) -> pd.Series[str]:
    """For each image `found` (used to discover relations) or `held out` (used to test them); the index is `item_id`.

    All are `found` if `share` is None. Images of one group are in the same half.
    """
    import numpy as np
    import pandas as pd

    ids = [item.item_id for item in items]
    finding = finding_images(ids, share, seed, [item.group for item in items])
    return pd.Series(
        np.where(finding, "found", "held out"),
        index=pd.Index(ids, name="item_id", dtype=object),
        name="split",
        dtype=object,
    )


def _frame(items: Sequence[ImageItem], rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    columns = list(dict.fromkeys(name for row in rows for name in row))
    index = pd.Index([item.item_id for item in items], name="item_id", dtype=object)
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], index=index, dtype=object) for name in columns}, index=index
    )
