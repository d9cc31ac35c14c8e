"""The table of selected features, as values: what the page shows of each, in order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_report.judgements import judgements_of
from saeviz_report.method import Method

if TYPE_CHECKING:
    import pandas as pd

_MONOSEMANTICITY = {
    "monosemanticity", "ms_class", "ms_note", "ms_baseline_mean", "ms_baseline_sd", "ms_null_mean", "ms_null_sd",
    "ms_z", "ms_p", "ms_q", "monosemanticity_2", "ms_class_2",
}  # fmt: skip
_SHOWN_ELSEWHERE = {
    *saeviz.KEYS,
    "n_active",
    "max",
    "mean",
    "cluster",
    "cluster_size",
    "map_x",
    "map_y",
    *_MONOSEMANTICITY,
}
_OF_A_RELATION = ["n", "n_active", "r", "p", "q", "ci_low", "ci_high", "significant"]
_HELD_OUT = [
    *(f"{name}_held_out" for name in ("n", "r", "p", "q", "ci_low", "ci_high")),
    "replicated",
]
_AFTER_SELECTION = ["r_corrected", "ci_low_corrected", "ci_high_corrected", "negligible"]

MOST_RATINGS = 12
"""In the columns of the page; a run with categories may have hundreds."""
MOST_FIGURES = 30
"""Ratings below one feature."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class FeatureRow:
    """One selected feature.

    `scores` is its row of the score table, `relations` its row of the correlations for each rating; what was not
    given is None or absent. `companions` fire together with it. `label_ratings` has how the name goes with each rating.
    """

    rank: int
    feature: saeviz.Feature
    tier: int
    reason: str
    label: saeviz.FeatureLabel
    note: saeviz.Note
    scores: Record
    relations: Mapping[str, Record]
    images: Sequence[saeviz.TopImage]
    companions: Sequence[saeviz.Feature] = ()
    judgement: Record | None = None
    label_ratings: Mapping[str, Record] = field(default_factory=dict)

    @property
    def space(self) -> str:
        """The feature's space, as text."""
        return str(self.feature).partition("/")[0]

    @property
    def figures(self) -> list[tuple[str, Record]]:
        """Its correlations by rating, of more than 30 the strongest ones."""
        by_size = sorted(self.relations.items(), key=lambda pair: -abs(pair[1].get("r") or 0))
        return list(self.relations.items()) if len(by_size) <= MOST_FIGURES else by_size[:MOST_FIGURES]

    @property
    def differences(self) -> list[tuple[str, saeviz.RelationDifference]]:
        """The significant differences of its relations, by rating."""
        found = [(rating, one) for rating, row in self.figures for one in saeviz.relation_differences(row)]
        return [(rating, one) for rating, one in found if one.significant]

    @property
    def label_figures(self) -> list[Record]:
        """How its name goes with ratings, in the order of `figures`."""
        order = [rating for rating, _ in self.figures]
        return [self.label_ratings[rating] for rating in order if rating in self.label_ratings]

    @property
    def searchable(self) -> str:
        """What a reader may look for: the names it has, and what is known of its images, a line each."""
        label = self.label
        lines = [
            str(self.feature),
            self.note.label,
            self.note.description,
            self.note.text,
            label.label,
            label.description,
            *label.elements,
            label.why,
        ]
        lines += map(str, self.companions)
        for item, _ in self.images:
            lines += [item.item_id, *item.metadata.values()]
        return "\n".join(filter(None, lines))


@dataclass(frozen=True)
class FeatureTable:
    """All selected features, best first, and which columns they have.

    `ratings` are those with a correlation, of many the most telling ones, and `n_more_ratings` counts the others;
    `score_columns` and `relation_columns` are those that further scorers added; `r_limit` is the end of the scale on
    which every r and its interval fit.
    """

    rows: Sequence[FeatureRow]
    has_monosemanticity: bool
    ratings: Sequence[str]
    n_more_ratings: int
    score_columns: Sequence[str]
    relation_columns: Sequence[str]
    r_limit: float

    @property
    def has_label_ratings(self) -> bool:
        """Whether names were to predict ratings."""
        return any(row.label_ratings for row in self.rows)


def feature_table(
    run: saeviz.Run, method: Method, top_images: Mapping[saeviz.Feature, Sequence[saeviz.TopImage]]
) -> FeatureTable:
    """The table of a run's selected features, with its correlations; empty where none was selected.

    It opens with the features that go along with a rating most.
    """
    chosen = [selected.feature for selected in run.selected]
    scores = {saeviz.feature_of(record): record for record in _records(run.scores, chosen)}
    relations: dict[saeviz.Feature, dict[str, Record]] = {feature: {} for feature in chosen}
    for record in _records(method.correlations, chosen):
        relations[saeviz.feature_of(record)][record["rating"]] = record
    judgements = judgements_of(run)
    label_ratings: dict[saeviz.Feature, dict[str, Record]] = {}
    for record in _records(run.label_ratings, chosen):
        label_ratings.setdefault(saeviz.feature_of(record), {})[record["rating"]] = record
    rows = [
        FeatureRow(
            rank=rank,
            feature=selected.feature,
            tier=selected.tier,
            reason=selected.reason,
            label=run.labels.get(selected.feature, saeviz.FeatureLabel("")),
            note=run.notes.get(selected.feature, saeviz.Note()),
            scores=scores.get(selected.feature, {}),
            relations=relations[selected.feature],
            images=top_images[selected.feature],
            companions=run.companions(selected.feature),
            judgement=judgements.get(selected.feature),
            label_ratings=label_ratings.get(selected.feature, {}),
        )
        for rank, selected in enumerate(_strongest_first(run.selected, relations), start=1)
    ]
    ratings = [rating for rating in run.ratings if any("r" in row.relations.get(rating, ()) for row in rows)]
    shown_ratings = _most_telling(ratings, rows)
    shown = saeviz.difference_columns(method.correlations)
    shown |= {prefix + name for prefix in method.measures for name in (*_OF_A_RELATION, *_HELD_OUT, *_AFTER_SELECTION)}
    return FeatureTable(
        rows=rows,
        has_monosemanticity="monosemanticity" in run.scores,
        ratings=shown_ratings,
        n_more_ratings=len(ratings) - len(shown_ratings),
        score_columns=[name for name in run.scores if name not in _SHOWN_ELSEWHERE],
        relation_columns=[name for name in method.correlations if name not in {*saeviz.KEYS, "rating"} | shown],
        r_limit=_r_limit(rows),
    )


def _strongest_first(
    selected: Sequence[saeviz.Selected], relations: Mapping[saeviz.Feature, Mapping[str, Record]]
) -> list[saeviz.Selected]:
    """By the largest |r|, those with a significant one before all others; of what is equal the selector's first."""

    def strength(choice: saeviz.Selected) -> tuple[bool, float]:
        tested = [one for one in relations[choice.feature].values() if one.get("r") is not None]
        tested = [one for one in tested if "q" not in one or one["q"] is not None]
        return max(((one.get("significant") == 1, abs(one["r"])) for one in tested), default=(False, -1.0))

    return sorted(selected, key=strength, reverse=True)


def _most_telling(ratings: Sequence[str], rows: Sequence[FeatureRow]) -> list[str]:
    """At most `MOST_RATINGS`, in their order: those with which most features correlate more than with any other."""
    strongest: Counter[str] = Counter()
    for row in rows:
        sizes = {rating: abs(row.relations[rating]["r"]) for rating in ratings if _has_r(row, rating)}
        if sizes:
            strongest[max(sizes, key=lambda rating: sizes[rating])] += 1
    chosen = sorted(ratings, key=lambda rating: -strongest[rating])[:MOST_RATINGS]
    return [rating for rating in ratings if rating in chosen]


def _has_r(row: FeatureRow, rating: str) -> bool:
    return row.relations.get(rating, {}).get("r") is not None


def _records(table: pd.DataFrame, features: Sequence[saeviz.Feature]) -> list[Record]:
    if table.empty:
        return []
    found = saeviz.rows_about(table, features)
    return [{name: _none_if_nan(value) for name, value in record.items()} for record in found.to_dict("records")]


def _none_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _r_limit(rows: Sequence[FeatureRow]) -> float:
    sizes = [
        abs(relation[name])
        for row in rows
        for relation in row.relations.values()
        for name in ("r", "ci_low", "ci_high", "r_held_out")
        if relation.get(name) is not None
    ]
    tenths = math.ceil(round(10 * max(sizes, default=1.0), 6))
    return min(max(tenths, 1), 10) / 10
