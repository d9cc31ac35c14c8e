"""The columns that identify a feature in every table of a run, and conversion between rows and features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from saeviz.values.features import Feature, FeatureSpace

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["layer", "tokens", "feature"]
"""A list rather than a tuple, because pandas requires one to select several columns."""


def space_key(space: FeatureSpace | Feature) -> dict[str, Any]:
    """A space, or that of a feature, by the columns that all its rows have in common."""
    return {"layer": space.layer, "tokens": space.tokens}


def key_of(feature: Feature) -> dict[str, Any]:
    """The key columns of a row for this feature."""
    return {**space_key(feature), "feature": feature.index}


def feature_of(row: Mapping[str, Any]) -> Feature:
    """The feature of a row, which may have other columns as well."""
    return Feature(int(row["layer"]), row["tokens"], int(row["feature"]))


def features_of(table: pd.DataFrame) -> list[Feature]:
    """The feature of each row, in the order of the rows."""
    columns = zip(*(table[key] for key in KEYS), strict=True)
    return [Feature(int(layer), tokens, int(index)) for layer, tokens, index in columns]


def rows_in(table: pd.DataFrame, space: FeatureSpace) -> pd.DataFrame:
    """The rows about features of this space, in the order of the table and with its index."""
    return table[(table["layer"] == space.layer) & (table["tokens"] == space.tokens)]


def rows_about(table: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """The rows about these features, in the order of the table and with its index.

    Tables may have millions of rows, so they are first filtered by feature index.
    """
    import pandas as pd

    wanted = pd.MultiIndex.from_tuples([tuple(key_of(feature).values()) for feature in features], names=KEYS)
    near = table[table["feature"].isin(wanted.get_level_values("feature"))]
    return near[pd.MultiIndex.from_frame(near[KEYS]).isin(wanted)]


def by_feature(table: pd.DataFrame) -> dict[Feature, list[dict[str, Any]]]:
    """The rows of each feature, by column, in the order of the table: a few rows each are no work for pandas."""
    found: dict[Feature, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        found.setdefault(feature_of(row), []).append(row)
    return found
