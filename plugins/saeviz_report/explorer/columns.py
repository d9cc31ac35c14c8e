"""Every feature of the run as columns: a row per feature, space after space, in the order of their indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import saeviz
from saeviz.toolkit.packed import packed
from saeviz_report.explorer.encoding import numbers, texts
from saeviz_report.method import Method
from saeviz_report.rows import ranked

if TYPE_CHECKING:
    import pandas as pd

_STABILITIES = ("selection_stability", "tier_stability")
_OF_THE_SELECTION = (
    saeviz.ColumnInfo("tier", "tier of the selection, 1 is best; 0 if not selected"),
    saeviz.ColumnInfo("rank", "place in the selection, 1 is best", better="lower"),
    saeviz.ColumnInfo("selection_stability", "share of random halves of the images that select it again", "", "higher"),
    saeviz.ColumnInfo("tier_stability", "share of random halves of the images with the same tier", "", "higher"),
    saeviz.ColumnInfo("label", "name of the feature"),
    saeviz.ColumnInfo(
        "confidence", "how sure the labeler is of the name, by its own measure from 0 to 1", "", "higher"
    ),
    saeviz.ColumnInfo("verdict", "whether a judge, given only the name, finds the feature's images by it"),
)


@dataclass(frozen=True)
class Column:
    """A column of the table of features: what it is called, whom it is about, and its values as data files have them.

    `rating` is None where it is about the feature alone.
    """

    name: str
    rating: str | None
    values: dict[str, Any]

    @property
    def head(self) -> dict[str, Any]:
        """What the viewer knows of it before its values are loaded."""
        return {"name": self.name, "rating": self.rating, "text": self.values["kind"] == "text"}


class Rows:
    """The place of every feature in the table."""

    def __init__(self, spaces: Sequence[saeviz.FeatureSpace]) -> None:
        self.spaces = spaces
        sizes = [space.n_features for space in spaces]
        self.starts: list[int] = [0, *np.cumsum(sizes).tolist()]
        self.n = self.starts[-1]

    def of(self, feature: saeviz.Feature) -> int | None:
        """The row of a feature; None if it belongs to no space of the run."""
        for space, start in zip(self.spaces, self.starts, strict=False):
            if feature in space:
                return start + feature.index
        return None

    def parts(self, table: pd.DataFrame) -> Iterator[tuple[npt.NDArray[np.int64], pd.DataFrame]]:
        """For each space the rows of the table that are about it, and their places here."""
        for space, start in zip(self.spaces, self.starts, strict=False):
            found = saeviz.rows_in(table, space)
            found = found[found["feature"].between(0, space.n_features - 1)]
            yield start + found["feature"].to_numpy(np.int64), found


def columns_of(run: saeviz.Run, method: Method, rows: Rows, ratings: Sequence[str]) -> Iterator[Column]:
    """All columns of the run's tables about features, one at a time, then those with each of the ratings.

    The columns of the main correlation are called `r`, `q` ... whichever it is.
    """
    yield from _of_table(run.scores, rows, None)
    yield from _of_selection(run, method, rows)
    correlations = method.correlations.drop(columns=list(saeviz.difference_columns(method.correlations)))
    for rating in ratings if "rating" in correlations else ():
        yield from _of_table(correlations[correlations["rating"] == rating].drop(columns="rating"), rows, rating)


def infos_of(
    run: saeviz.Run, method: Method, heads: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, str | None]]]:
    """What is known of columns with these heads, by name: about features, with ratings, and those of images."""
    there = {(head["name"], head["rating"] is None) for head in heads}
    of_features = {**run.columns["scores"], **{info.name: info for info in _OF_THE_SELECTION}}
    return {
        "features": _as_json({name: info for name, info in of_features.items() if (name, True) in there}),
        "ratings": _as_json({name: info for name, info in method.infos.items() if (name, False) in there}),
        "images": _as_json(run.columns["images_table"]),
    }


def _as_json(infos: Mapping[str, saeviz.ColumnInfo]) -> dict[str, dict[str, str | None]]:
    return {
        name: {"description": info.description, "unit": info.unit, "better": info.better, "words": info.words}
        for name, info in infos.items()
        if info.words
    }


def _of_table(table: pd.DataFrame, rows: Rows, rating: str | None) -> Iterator[Column]:
    if table.empty:
        return
    parts = list(rows.parts(table))
    for name in table.columns:
        if name in saeviz.KEYS:
            continue
        if table[name].dtype.kind in "iufb":
            values = np.full(rows.n, np.nan)
            for places, part in parts:
                values[places] = part[name].to_numpy(np.float64)
            yield Column(name, rating, numbers(values))
        else:
            words = np.full(rows.n, "", dtype=object)
            for places, part in parts:
                words[places] = part[name].fillna("").astype(str).to_numpy(object)
            yield Column(name, rating, texts(words.tolist()))


def _of_selection(run: saeviz.Run, method: Method, rows: Rows) -> Iterator[Column]:
    """Tier (0 where not selected), rank, how stable both are if the run knows, and what is said of the label."""
    tier, rank = np.zeros(rows.n, np.uint8), np.full(rows.n, np.nan)
    stability = {name: np.full(rows.n, np.nan) for name in _STABILITIES}
    for place, chosen in enumerate(ranked(run, method), start=1):
        if (row := rows.of(chosen.feature)) is not None:
            tier[row], rank[row] = min(max(chosen.tier, 0), 255), place
            for name, values in stability.items():
                values[row] = getattr(chosen, name)
    yield Column("tier", None, packed(tier))
    yield Column("rank", None, numbers(rank))
    yield from (Column(name, None, numbers(found)) for name, found in stability.items() if np.isfinite(found).any())
    labels = np.full(rows.n, "", dtype=object)
    confidence = np.full(rows.n, np.nan)
    for feature, label in run.labels.items():
        if (row := rows.of(feature)) is not None:
            labels[row] = label.label
            confidence[row] = np.nan if label.confidence is None else label.confidence
    yield Column("label", None, texts(labels.tolist()))
    yield Column("confidence", None, numbers(confidence))
    verdicts = np.full(rows.n, "", dtype=object)
    for places, part in rows.parts(run.judgements) if not run.judgements.empty else ():
        verdicts[places] = part["verdict"].to_numpy(object)
    yield Column("verdict", None, texts(verdicts.tolist()))
