"""What a card says of a selected or labelled feature beyond its columns: why, in which words, and how these held."""

from __future__ import annotations

from typing import Any

import saeviz
from saeviz_report.explorer.columns import Rows
from saeviz_report.method import Method
from saeviz_report.rows import known

_JUDGED = (
    "verdict", "reason", "balanced_accuracy", "ci_low", "ci_high", "n_active", "n_silent", "n_hard", "sensitivity",
    "specificity", "hard_specificity", "auc",
)  # fmt: skip
_PREDICTED = ("rating", "n", "r", "ci_low", "ci_high", "q", "r_feature", "ci_low_feature", "ci_high_feature")


def cards_of(run: saeviz.Run, rows: Rows, method: Method) -> dict[str, dict[str, Any]]:
    """The cards, by row of the table of features; what a feature does not have is left out."""
    cards: dict[str, dict[str, Any]] = {}

    def card(feature: saeviz.Feature) -> dict[str, Any]:
        row = rows.of(feature)
        return {} if row is None else cards.setdefault(str(row), {})

    for chosen in run.selected:
        card(chosen.feature)["reason"] = chosen.reason
    for feature, label in run.labels.items():
        said = {"description": label.description, "elements": list(label.elements), "why": label.why}
        card(feature).update({name: value for name, value in said.items() if value})
    for row in run.judgements.to_dict("records"):
        card(saeviz.feature_of(row))["judgement"] = {name: known(row[name]) for name in _JUDGED}
    places = {item.item_id: place for place, item in enumerate(run.items)}
    for row in run.judged_images.to_dict("records"):
        of = card(saeviz.feature_of(row))
        if "judgement" in of and row["item_id"] in places:
            judged = [places[row["item_id"]], row["kind"], known(row["score"])]
            of.setdefault("judged", []).append(judged)
    for row in run.label_ratings.to_dict("records"):
        card(saeviz.feature_of(row)).setdefault("predicts", []).append({name: known(row[name]) for name in _PREDICTED})
    for feature, found in _differences(run, method):
        card(feature).setdefault("differences", []).extend(found)
    return cards


def _differences(run: saeviz.Run, method: Method) -> list[tuple[saeviz.Feature, list[tuple[str, str]]]]:
    """Of each selected feature the significant differences of its relations: rating and words."""
    table = method.correlations
    if not saeviz.difference_columns(table) or not run.selected:
        return []
    chosen = saeviz.rows_about(table, [one.feature for one in run.selected])
    found = []
    for row in chosen.to_dict("records"):
        differences = saeviz.relation_differences({name: known(value) for name, value in row.items()})
        words = [(row["rating"], one.words) for one in differences if one.significant]
        found.append((saeviz.feature_of(row), words))
    return [(feature, words) for feature, words in found if words]
