"""The columns that identify a feature in every table of a run, and conversion between rows and features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from saeviz.values.features import Feature, FeatureSpace, layer_of

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["sae", "layer", "tokens", "feature"]
"""A list rather than a tuple, because pandas requires one to select several columns. `sae` is mostly empty."""


def space_key(space: FeatureSpace | Feature) -> dict[str, Any]:
    """A space, or that of a feature, by the columns that all its rows have in common."""
    return {"sae": space.sae, "layer": space.layer, "tokens": space.tokens}


def key_of(feature: Feature) -> dict[str, Any]:
    """The key columns of a row for this feature."""
    return {**space_key(feature), "feature": feature.index}


def feature_of(row: Mapping[str, Any]) -> Feature:
    """The feature of a row, which may have other columns as well. Rows of earlier versions have no `sae`."""
    return Feature(layer_of(row["layer"]), row["tokens"], int(row["feature"]), row.get("sae", ""))


def features_of(table: pd.DataFrame) -> list[Feature]:
    """The feature of each row, in the order of the rows."""
    columns = zip(*(table[key] for key in KEYS), strict=True)
    return [Feature(layer_of(layer), tokens, int(index), sae) for sae, layer, tokens, index in columns]


def rows_in(table: pd.DataFrame, space: FeatureSpace) -> pd.DataFrame:
    """The rows about features of this space, in the order of the table and with its index."""
    layer = space.layer if table["layer"].dtype.kind in "iu" else str(space.layer)
    return table[(table["sae"] == space.sae) & (table["layer"] == layer) & (table["tokens"] == space.tokens)]


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


def columns_of(space: FeatureSpace, spaces: Iterable[FeatureSpace]) -> dict[str, Any]:
    """What the rows of a space have in `sae`, `layer` and `tokens`.

    If one of the `spaces` of the table has a named stage, `layer` is text, since a column has one type.
    """
    is_text = any(isinstance(one.layer, str) for one in spaces)
    return space_key(space) | ({"layer": str(space.layer)} if is_text else {})


def record_of(space: FeatureSpace) -> dict[str, Any]:
    """A space as files have it; one without a name is written as by versions that knew no names."""
    named = {"sae": space.sae} if space.sae else {}
    return {"layer": space.layer, "tokens": space.tokens, "n_features": space.n_features, **named}


def space_of(record: Mapping[str, Any]) -> FeatureSpace:
    """The space that a record is about; it may have other entries. `LookupError` or `DataError` if it is none."""
    return FeatureSpace(record["layer"], record["tokens"], record["n_features"], record.get("sae", ""))
