"""The selected features as values: what a report says of each, in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_report.method import Method

if TYPE_CHECKING:
    import pandas as pd

Record = Mapping[str, Any]


@dataclass(frozen=True)
class FeatureRow:
    """One selected feature.

    `scores` is its row of the score table, `relations` its row of the correlations for each rating; what was not
    given is None or absent. `label_ratings` has how the name goes with each rating.
    """

    feature: saeviz.Feature
    tier: int
    reason: str
    label: saeviz.FeatureLabel
    note: saeviz.Note
    scores: Record
    relations: Mapping[str, Record]
    judgement: Record | None = None
    label_ratings: Mapping[str, Record] = field(default_factory=dict)


def feature_rows(run: saeviz.Run, method: Method) -> list[FeatureRow]:
    """A run's selected features, those that go along with a rating most first."""
    order = ranked(run, method)
    chosen = [selected.feature for selected in order]
    scores = {saeviz.feature_of(record): record for record in _records(run.scores, chosen)}
    relations = _relations(method, chosen)
    judgements = {saeviz.feature_of(record): record for record in _records(run.judgements, chosen)}
    label_ratings: dict[saeviz.Feature, dict[str, Record]] = {}
    for record in _records(run.label_ratings, chosen):
        label_ratings.setdefault(saeviz.feature_of(record), {})[record["rating"]] = record
    return [
        FeatureRow(
            feature=selected.feature,
            tier=selected.tier,
            reason=selected.reason,
            label=run.labels.get(selected.feature, saeviz.FeatureLabel("")),
            note=run.notes.get(selected.feature, saeviz.Note()),
            scores=scores.get(selected.feature, {}),
            relations=relations[selected.feature],
            judgement=judgements.get(selected.feature),
            label_ratings=label_ratings.get(selected.feature, {}),
        )
        for selected in order
    ]


def ranked(run: saeviz.Run, method: Method) -> list[saeviz.Selected]:
    """The selected features by the largest |r|, those with a significant one before all others.

    Of what is equal the selector's first.
    """
    relations = _relations(method, [selected.feature for selected in run.selected])

    def strength(choice: saeviz.Selected) -> tuple[bool, float]:
        tested = [one for one in relations[choice.feature].values() if one.get("r") is not None]
        tested = [one for one in tested if "q" not in one or one["q"] is not None]
        return max(((one.get("significant") == 1, abs(one["r"])) for one in tested), default=(False, -1.0))

    return sorted(run.selected, key=strength, reverse=True)


def _relations(method: Method, features: Sequence[saeviz.Feature]) -> dict[saeviz.Feature, dict[str, Record]]:
    """Of each feature its row of the correlations for each rating."""
    relations: dict[saeviz.Feature, dict[str, Record]] = {feature: {} for feature in features}
    for record in _records(method.correlations, features):
        relations[saeviz.feature_of(record)][record["rating"]] = record
    return relations


def _records(table: pd.DataFrame, features: Sequence[saeviz.Feature]) -> list[Record]:
    if table.empty:
        return []
    found = saeviz.rows_about(table, features)
    return [{name: known(value) for name, value in record.items()} for record in found.to_dict("records")]


def known(value: Any) -> Any:
    """A value of a table; None where it has none."""
    return None if isinstance(value, float) and math.isnan(value) else value
