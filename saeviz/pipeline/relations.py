"""Scorers at work, and the table of the correlations that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.contract import handover
from saeviz.contract.roles import FamilyScorer
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import KEYS, columns_of
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import ScoreColumn, ScoreResult

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import IntArray


def run_scorer(
    who: str,
    scorer: Any,
    inputs: Sequence[ScoreInput],
    score: Callable[[ScoreInput], Iterable[ScoreResult]] | None = None,
) -> Iterator[ScoreResult]:
    """Everything that a scorer gives, checked: for each space, by `score` or else its own, then of all together."""
    given: list[ScoreColumn] = []
    for data in inputs:
        for result in handover.results(who, "score", (score or scorer.score)(data), data.n_items):
            if isinstance(result, ScoreColumn):
                given.append(result)
            yield result
    if isinstance(scorer, FamilyScorer):
        yield from handover.results(who, "combine", scorer.combine(list(given)), inputs[0].n_items)


def correlations_table(
    spaces: Sequence[FeatureSpace], columns: Sequence[ScoreColumn], ratings: Sequence[str]
) -> pd.DataFrame:
    """The columns with a target as a table: for each rating a row for each feature that any of them is of."""
    import numpy as np
    import pandas as pd

    of_pairs: dict[tuple[FeatureSpace, str | None], list[ScoreColumn]] = {}
    for column in columns:
        of_pairs.setdefault((column.space, column.target), []).append(column)
    tables = []
    for space in spaces:
        for rating in ratings:
            if own := of_pairs.get((space, rating)):
                features = _features_of(own)
                keys = {**columns_of(space, spaces), "feature": features}
                values = {column.name: _spread_out(column, features) for column in own}
                tables.append(pd.DataFrame({**keys, "rating": rating, **values}))
    if not tables:  # columns of the same types, without rows
        return pd.DataFrame({**columns_of(spaces[0], spaces), "feature": np.arange(0), "rating": ""}).iloc[:0]
    found = pd.concat(tables, ignore_index=True)
    names = dict.fromkeys(column.name for column in columns if column.name in found)  # the first scorer's come first
    order = [*KEYS, "rating", *names]
    return found if list(found) == order else found[order]


def _features_of(columns: Sequence[ScoreColumn]) -> IntArray:
    """The features that any of the columns is of."""
    import numpy as np

    if any(column.features is None for column in columns):
        return np.arange(columns[0].space.n_features)
    different = {id(column.features): column.features for column in columns if column.features is not None}
    return np.unique(np.concatenate(list(different.values())))


def _spread_out(column: ScoreColumn, features: IntArray) -> Any:
    """The values of these features: NaN, or '' in text, for those that the column is not of."""
    import numpy as np

    if len(column.values) == len(features):
        return column.values
    is_text = column.values.dtype.kind == "U"
    empty = np.full(features.shape, "" if is_text else np.nan, dtype=column.values.dtype if is_text else np.float64)
    assert column.features is not None  # noqa: S101 - else it would have a value for each of them
    empty[np.searchsorted(features, column.features)] = column.values
    return empty
