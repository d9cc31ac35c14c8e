"""From a comparison of two runs to a page with scatter plots and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import saeviz
from saeviz_report import text

if TYPE_CHECKING:
    import pandas as pd

MOST_RATINGS = 12
"""Scatter plots."""
MOST_POINTS, MOST_INTERVALS = 1500, 40
"""In a plot: the strongest features in either run, and those of them with intervals."""
MOST_ROWS = 50
"""In a table of relations or partners."""
LEAST_LIMIT = 0.1


@dataclass(frozen=True)
class Link:
    """A cell that leads to a feature in the viewer of its run."""

    text: str
    address: str


Cell = str | Link


@dataclass(frozen=True)
class Table:
    """A table of the page. `numbers` are the columns that hold numbers."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[int]


@dataclass(frozen=True)
class Point:
    """A feature in a plot, in units of which 100 are `limit`: to the right r in A, upwards r in B.

    `kind` is `both` if it is significant in both runs, `a` if only in A, else `other`. `interval` has its 95 %
    intervals: from, to in A, from, to in B; None where they are not drawn. `address` is the feature in the viewer of A,
    '' without one.
    """

    x: float
    y: float
    kind: str
    title: str
    interval: tuple[float, float, float, float] | None
    address: str = ""


@dataclass(frozen=True)
class Scatter:
    """The correlations with a rating in both runs; `left_out` features have smaller ones."""

    rating: str
    limit: float
    points: Sequence[Point]
    left_out: int


@dataclass(frozen=True)
class Page:
    """What the page shows; `runs` are the names of A and B, `viewers` the addresses of pages about them."""

    runs: tuple[str, str]
    viewers: tuple[str, str] | None
    kind: str
    notes: Sequence[str]
    tables: Sequence[Table]
    scatters: Sequence[Scatter]
    more_ratings: int


class _Viewers:
    """The viewers of both runs; none where the page stands alone."""

    def __init__(self, addresses: tuple[str, str] | None) -> None:
        self._addresses = addresses

    def address(self, run: str, feature: saeviz.Feature) -> str:
        """Of a feature in the viewer of its run, '' without one."""
        return f"{self._addresses['ab'.index(run)]}#feature={quote(str(feature))}" if self._addresses else ""

    def cell(self, words: str, run: str, feature: saeviz.Feature) -> Cell:
        """The words, leading to the feature where there is a viewer."""
        return Link(words, self.address(run, feature)) if self._addresses else words


def page_of(
    found: saeviz.Comparison, runs: tuple[saeviz.Run, saeviz.Run], viewers: tuple[str, str] | None = None
) -> Page:
    """The contents of the page."""
    links = _Viewers(viewers)
    names = tuple(_names(run) for run in runs)
    labels = names[0], names[1]
    scatters: list[Scatter] = []
    n_ratings = 0
    if found.kind == "relations":
        relations = found.tables["relations"]
        ratings = relations["rating"].drop_duplicates().tolist()
        n_ratings = len(ratings)
        scatters = [
            _scatter(name, relations[relations["rating"] == name], labels, links) for name in ratings[:MOST_RATINGS]
        ]
        tables = [_ratings(found.tables["ratings"]), *_predictions(found.tables), _relations(relations, labels, links)]
    else:
        tables = [
            _spaces(found.tables["spaces"]),
            *(_partners(found.tables, place, labels, links) for place in ("a", "b")),
        ]
    where = (_place(runs[0].dir), _place(runs[1].dir))
    return Page(where, viewers, found.kind, list(found.notes), tables, scatters, max(0, n_ratings - MOST_RATINGS))


def _place(folder: Path) -> str:
    return folder.resolve().name


def _names(run: saeviz.Run) -> Mapping[saeviz.Feature, str]:
    return {feature: name for feature in (*run.labels, *run.notes) if (name := run.name(feature))}


def _scatter(
    rating: str, own: pd.DataFrame, labels: tuple[Mapping[saeviz.Feature, str], ...], links: _Viewers
) -> Scatter:
    own = own[own["r_a"].notna() & own["r_b"].notna()]
    size = own[["r_a", "r_b"]].abs().max(axis=1)
    own = own.loc[size.sort_values(ascending=False, kind="stable").index[:MOST_POINTS]]
    left_out = len(size) - len(own)
    limit = min(1.0, max(LEAST_LIMIT, math.ceil(float(size.max()) * 10) / 10)) if len(own) else LEAST_LIMIT
    with_interval = [name for name in _BOUNDS if name in own]
    points = []
    for rank, (feature, row) in enumerate(zip(saeviz.features_of(own), own.to_dict("records"), strict=True)):
        has = len(with_interval) == len(_BOUNDS) and rank < MOST_INTERVALS and _is_found(row)
        bounds = [float(row[name]) for name in with_interval] if has else []
        kind = ("both" if row.get("significant_b") == 1 else "a") if _is_found(row) else "other"
        title = f"{_shown(feature, labels)}: {text.signed(row['r_a'], 3)} in A, {text.signed(row['r_b'], 3)} in B"
        known = bool(bounds) and all(map(math.isfinite, bounds))
        scaled = [100 * max(-limit, min(limit, bound)) / limit for bound in bounds]
        interval = (scaled[0], scaled[1], scaled[2], scaled[3]) if known else None
        x, y = (100 * row[name] / limit for name in ("r_a", "r_b"))
        points.append(Point(x, y, kind, title, interval, links.address("a", feature)))
    return Scatter(rating, limit, points[::-1], left_out)  # the strongest are drawn last, above the others


_BOUNDS = ("ci_low_a", "ci_high_a", "ci_low_b", "ci_high_b")


def _is_found(row: Mapping[str, Any]) -> bool:
    return row.get("significant_a") == 1


def _shown(feature: saeviz.Feature, labels: Sequence[Mapping[saeviz.Feature, str]]) -> str:
    label = next((names[feature] for names in labels if feature in names), "")
    return f"{feature} ({label})" if label else str(feature)


def _ratings(table: pd.DataFrame) -> Table:
    heads = ["rating", "images in A", "images in B", "features", "agreement (r of r)", "significant in A",
             "of these: same sign in B", "significant in B, too", "significant jointly"]  # fmt: skip
    rows = [
        [
            str(row["rating"]),
            *(text.plain(row.get(name)) for name in ("n_a", "n_b", "features")),
            _with_interval(row, "r_of_r", "r_of_r_low", "r_of_r_high"),
            *(text.plain(row.get(name)) for name in ("significant_a", "same_sign")),
            f"{text.plain(row.get('transferred'))}{_share(row)}",
            text.plain(row.get("significant_joint")),
        ]
        for row in table.to_dict("records")
    ]
    return Table("Whether relations with each rating hold in B", heads, rows, frozenset(range(1, len(heads))))


def _share(row: Mapping[str, Any]) -> str:
    bounds = [_number(row.get(f"transferred_{name}")) for name in ("share", "low", "high")]
    if None in bounds:
        return ""
    share, low, high = (f"{100 * (value or 0):.0f}" for value in bounds)
    return f" ({share} %, {low} to {high})"


def _predictions(tables: Mapping[str, pd.DataFrame]) -> Iterator[Table]:
    if "predictions" not in tables:
        return
    heads = ["rating", "features fitted", "images in A", "images in B", "R²", "r"]
    rows = [
        [
            str(row["rating"]),
            *(text.plain(row.get(name)) for name in ("n_features", "n_fitted", "n_predicted")),
            _with_interval(row, "r2", "r2_low", "r2_high"),
            text.signed(_number(row.get("r"))),
        ]
        for row in tables["predictions"].to_dict("records")
    ]
    yield Table("Ratings of B, predicted by features as fitted in A", heads, rows, frozenset(range(1, len(heads))))


def _relations(table: pd.DataFrame, labels: tuple[Mapping[saeviz.Feature, str], ...], links: _Viewers) -> Table:
    if "significant_a" in table:
        table = table[table["significant_a"] == 1]
    table = table.loc[table["r_a"].abs().sort_values(ascending=False, kind="stable").index[:MOST_ROWS]]
    heads = ["feature", "rating", "r in A", "r in B", "q in A", "q in B", "q of both"]
    rows: list[list[Cell]] = [
        [
            _shown(feature, labels),
            str(row["rating"]),
            *(
                links.cell(_with_interval(row, f"r_{run}", f"ci_low_{run}", f"ci_high_{run}"), run, feature)
                for run in "ab"
            ),
            *(text.exact(_number(row.get(name))) for name in ("q_a", "q_b", "q_joint")),
        ]
        for feature, row in zip(saeviz.features_of(table), table.to_dict("records"), strict=True)
    ]
    return Table(f"The strongest relations of A (at most {MOST_ROWS})", heads, rows, frozenset(range(2, len(heads))))


def _spaces(table: pd.DataFrame) -> Table:
    names = [name for name in table if name not in ("run", "space")]
    heads = ["run", "space", *(name.replace("_", " ") for name in map(str, names))]
    rows = [
        [str(row["run"]), str(row["space"]), *(text.plain(row[name]) for name in names)]
        for row in table.to_dict("records")
    ]
    return Table("Features with a partner in the other run", heads, rows, frozenset(range(2, len(heads))))


def _partners(
    tables: Mapping[str, pd.DataFrame],
    run: str,
    labels: tuple[Mapping[saeviz.Feature, str], ...],
    links: _Viewers,
) -> Table:
    table, other = tables[f"partners_{run}"], labels[1] if run == "a" else labels[0]
    own = labels[0] if run == "a" else labels[1]
    table = table.loc[table["r"].abs().sort_values(ascending=False, kind="stable").index[:MOST_ROWS]]
    heads = ["feature", "its partner", "r", "mutual"]
    rows: list[list[Cell]] = [
        [
            links.cell(_shown(feature, [own]), run, feature),
            _partner(saeviz.Feature.parse(row["partner"]), other, "b" if run == "a" else "a", links),
            text.signed(_number(row["r"]), 3),
            "yes" if row["mutual"] == 1 else "no",
        ]
        for feature, row in zip(saeviz.features_of(table), table.to_dict("records"), strict=True)
    ]
    caption = f"Features of {run.upper()} with the closest partner (at most {MOST_ROWS})"
    return Table(caption, heads, rows, frozenset({2}))


def _partner(feature: saeviz.Feature, names: Mapping[saeviz.Feature, str], run: str, links: _Viewers) -> Cell:
    return links.cell(_shown(feature, [names]), run, feature)


def _with_interval(row: Mapping[str, Any], name: str, low: str, high: str) -> str:
    value, bounds = _number(row.get(name)), [_number(row.get(bound)) for bound in (low, high)]
    if None in bounds:
        return text.signed(value)
    return f"{text.signed(value)} ({text.signed(bounds[0])} to {text.signed(bounds[1])})"


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
