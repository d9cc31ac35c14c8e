"""`selected.csv`: the selected features, best first, each with its main correlation and its label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.formats.rundir import RunDir
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import Feature
from saeviz.values.keys import KEYS, by_feature, features_of, key_of, rows_about
from saeviz.values.naming import FeatureLabel
from saeviz.values.relations import facts_of, interval_caveat, main_relation, measure_of, relation_prefixes
from saeviz.values.scores import ScoreTable, Selected, TierCutoff

if TYPE_CHECKING:
    import pandas as pd

FIGURES = [
    *("r", "ci_low", "ci_high", "q"),
    *(f"{name}_{part}" for part in ("corrected", "held_out") for name in ("r", "ci_low", "ci_high")),
    *("ci_low_bootstrap", "ci_high_bootstrap", "stability"),
]
TIER_CUTOFFS = "tier_cutoffs"
"""The fact of the stage `select` in `run.json`: a list of `TierCutoff` as lists."""
STABILITIES = ("selection_stability", "tier_stability")


def write_selected(
    rundir: RunDir, selected: Sequence[Selected], table: ScoreTable, labels: Mapping[Feature, FeatureLabel]
) -> None:
    """Write the file. A feature without a rating from the selector gets the one with the strongest correlation."""
    import pandas as pd

    main = next(iter(relation_prefixes(table.correlations.columns)), "")
    measure, errors = measure_of(main, table.facts), facts_of(main, table.facts).get("errors")
    relations = _relations(selected, table.correlations)
    figures = [name for name in FIGURES if any(name in rows[0] for rows in relations.values())]
    stabilities = [name for name in STABILITIES if any(getattr(choice, name) is not None for choice in selected)]
    names_ratings = any(choice.rating is not None for choice in selected)
    rows = []
    for choice in selected:
        feature = choice.feature
        rating, values = _relation(choice.rating, relations.get(feature, ()), is_known=names_ratings)
        rows.append(
            [
                *(*key_of(feature).values(), choice.tier, _name(labels, feature)),
                *(rating, measure if rating else ""),
                *(_as_text(values.get(name)) for name in figures),
                *(_as_text(getattr(choice, name)) for name in stabilities),
                interval_caveat(values.get("n_active"), errors, measure) if "ci_low" in values else "",
                choice.reason,
            ]
        )
    columns = [*KEYS, "tier", "label", "rating", "measure", *figures, *stabilities, "caveat", "reason"]
    rundir.write_csv(rundir.selected, pd.DataFrame(rows, columns=columns))


def write_names(rundir: RunDir, labels: Mapping[Feature, FeatureLabel]) -> None:
    """Replace the column `label`; everything else is unchanged."""
    table = rundir.read_csv(rundir.selected, "select", dtype=str)
    table["label"] = [_name(labels, feature) for feature in features_of(table)]
    rundir.write_csv(rundir.selected, table)


def read_selected(rundir: RunDir) -> list[Selected]:
    """Read the selected features. Raises `RunDirError` if the file is missing or damaged."""
    table = rundir.read_csv(rundir.selected, "select")
    try:
        return [
            Selected(
                feature,
                int(row.tier),
                str(row.reason),
                str(getattr(row, "rating", "")) or None,  # files of earlier versions have no ratings
                *(float(getattr(row, name)) if hasattr(row, name) else None for name in STABILITIES),
            )
            for feature, row in zip(features_of(table), table.itertuples(), strict=True)
        ]
    except (LookupError, AttributeError, ValueError, DataError) as error:
        raise RunDirError(f"{rundir.selected} is damaged ({error}); recreate it with --redo select") from error


def read_tier_cutoffs(rundir: RunDir) -> list[TierCutoff]:
    """Where the tiers of the selection begin; empty if its selector does not say, or not in this form."""
    facts = rundir.read_manifest()["stages"].get("select", {}).get("facts", {})
    given = facts.get(TIER_CUTOFFS) if isinstance(facts, dict) else None
    return [TierCutoff(*one) for one in given if _is_cutoff(one)] if isinstance(given, list) else []


def _is_cutoff(given: Any) -> bool:
    return isinstance(given, list) and [type(part) for part in given] == [int, float, float, bool]


def _relations(selected: Sequence[Selected], correlations: pd.DataFrame) -> dict[Feature, list[dict[str, Any]]]:
    """The main correlations of each selected feature, strongest first."""
    found = main_relation(correlations)
    if "r" not in found:
        return {}
    found = rows_about(found, (choice.feature for choice in selected))
    found = found[found["r"].notna()]
    return by_feature(found.iloc[(-found["r"].abs()).argsort(kind="stable")])


def _relation(rating: str | None, own: Sequence[Mapping[str, Any]], *, is_known: bool) -> tuple[str, Mapping[str, Any]]:
    """The rating that speaks for a feature and the figures of its correlation; '' and none where there is none.

    Where it is not known, the strongest of the feature's `own` correlations that were tested.
    """
    if is_known:
        return rating or "", next((row for row in own if str(row["rating"]) == rating), {})
    row = next((row for row in own if "q" not in row or not math.isnan(row["q"])), None)
    return ("", {}) if row is None else (str(row["rating"]), row)


def _name(labels: Mapping[Feature, FeatureLabel], feature: Feature) -> str:
    return labels[feature].label if feature in labels else ""


def _as_text(value: float | None) -> str:
    """A number with six digits, '' if there is no value."""
    return "" if value is None or math.isnan(value) else f"{value:.6g}"
