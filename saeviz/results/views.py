"""How a run, a feature, an image and a table of features show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from saeviz.display.html import picture_url, render
from saeviz.values.columns import ColumnInfo
from saeviz.values.errors import DataError, SaevizError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import KEYS, feature_of, features_of
from saeviz.values.notes import Note
from saeviz.values.relations import main_relation, measure_of, relation_prefixes

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.results.run import Run

ROWS = 25
"""Features of a table, and ratings of a feature, that are shown."""
FIRST = 6
"""Selected features that a run shows."""
RATINGS = 12
"""Ratings that a run shows."""
STRONGEST = 8
"""Features of each space that an image shows."""


@dataclass(frozen=True, repr=False)
class FeatureView:
    """A feature of a run, which shows its label, its top images and its relations as the value of a cell."""

    run: Run
    feature: Feature

    def __repr__(self) -> str:
        return f"FeatureView({str(self.feature)!r})"

    def _repr_html_(self) -> str:
        run, label, note = self.run, self.run.labels.get(self.feature), self.run.notes.get(self.feature, Note())
        scores = run.scores_of(self.feature)
        top, without_pictures = _pictures(run, self.feature, 8, 96)
        relations = _relations(run, self.feature)
        judgement = run.judgement_of(self.feature) or {}
        return render(
            "feature",
            feature=self.feature,
            label=label.label if label else "",
            description=label.description if label else "",
            by_hand=note,
            verdict=judgement.get("verdict", ""),
            companions=run.companions(self.feature)[:5],
            top=top,
            measure=_measure(run),
            relations=relations[:ROWS],
            held_out=any(one["r_held_out"] is not None for one in relations),
            more=max(len(relations) - ROWS, 0),
            note=without_pictures,
            scores=_scores(run, scores),
            **{name: scores.get(name) for name in ("n_active", "monosemanticity", "ms_class")},
        )


@dataclass(frozen=True, repr=False)
class FeatureTable:
    """Features of a run in an order; as the value of a cell, a table with their top images."""

    run: Run
    features: tuple[Feature, ...]

    def __repr__(self) -> str:
        return f"FeatureTable({len(self.features)} feature{'s' * (len(self.features) != 1)})"

    def _repr_html_(self) -> str:
        rows, note = _rows(self.run, self.features[:ROWS])
        return render("table", rows=rows, more=max(len(self.features) - ROWS, 0), note=note)


@dataclass(frozen=True, repr=False)
class ImageView:
    """An image of a run; as the value of a cell, the picture, its ratings and the features that fire most on it."""

    run: Run
    item: ImageItem

    def __repr__(self) -> str:
        return f"ImageView({self.item.item_id!r})"

    def _repr_html_(self) -> str:
        return render(
            "image",
            item_id=self.item.item_id,
            url=picture_url(self.item, 224),
            ratings=list(self.item.ratings.items())[:ROWS],
            metadata=list(self.item.metadata.items())[:ROWS],
            spaces=[self._active(space) for space in self.run.spaces],
        )

    def _active(self, space: FeatureSpace) -> dict[str, Any]:
        """The features of a space that fire most on the image."""
        row = space.stack(batch.matrix for batch in self.run.batches(space, [self.item.item_id]))
        active = sorted(
            (-value, index) for value, index in zip(row.data.tolist(), row.indices.tolist(), strict=True) if value > 0
        )
        found = [(Feature(space.layer, space.tokens, index, space.sae), -value) for value, index in active[:STRONGEST]]
        rows = [{"feature": one, "label": self.run.name(one), "activation": value} for one, value in found]
        return {"name": space, "n_active": len(active), "features": rows}


def run_html(run: Run) -> str:
    """What a run is of and what was found, as far as its stages have got."""
    done = [name for name, record in run.manifest["stages"].items() if "finished" in record]
    selected = run.selected if "select" in done else []
    rows, note = _rows(run, [one.feature for one in selected[:FIRST]])
    found = _found(run) if "score" in done else []
    return render(
        "run",
        directory=run.dir,
        finished=", ".join(done),
        n_images=len(run.fingerprints) if "extract" in done else 0,
        spaces=[{"name": str(space), "n_features": space.n_features} for space in run.spaces],
        n_failures=len(run.failures),
        ratings=found,
        held_out=any("replicated" in one for one in found),
        measure=_measure(run) if found else "",
        n_selected=len(selected),
        rows=rows,
        note=note,
    )


def features_in(run: Run, features: Sequence[Feature | str] | pd.DataFrame | None) -> tuple[Feature, ...]:
    """The features of a list or of the rows of a table, each once; None: the selected ones."""
    if features is None:
        return tuple(one.feature for one in run.selected)
    if not isinstance(features, Sequence):
        if missing := [name for name in KEYS if name not in features]:
            raise DataError(f"the table has no column {missing[0]!r}; give rows of run.scores or run.correlations")
        return tuple(dict.fromkeys(features_of(features)))
    return tuple(dict.fromkeys(Feature.parse(one) if isinstance(one, str) else one for one in features))


def _found(run: Run) -> list[dict[str, Any]]:
    """Of each rating how many features were tested and significant, and which is the strongest."""
    table = run.correlations
    if not relation_prefixes(table.columns):
        return []
    rows = []
    for rating in run.ratings[:RATINGS]:
        own = main_relation(table[table["rating"] == rating])
        tested = own[own["q"].notna()]
        row: dict[str, Any] = {"rating": rating, "tested": len(tested), "strongest": "", "label": "", "r": None}
        row["significant"] = int((own["significant"] == 1).sum())
        if "replicated" in own:
            row["replicated"] = int((own["replicated"] == 1).sum())
        if len(tested):
            best = tested.loc[tested["r"].abs().idxmax()].to_dict()
            row |= {"strongest": feature_of(best), "label": run.name(feature_of(best)), "r": best["r"]}
        rows.append(row)
    return rows


def _rows(run: Run, features: Sequence[Feature]) -> tuple[list[dict[str, Any]], str]:
    """What a table says of each feature, and why there are no pictures, if there are none."""
    rows, note = [], ""
    for feature in features:
        top, note = _pictures(run, feature, 5, 40)
        scores = run.scores_of(feature)
        known = [row for row in _relations(run, feature) if isinstance(row["r"], float) and isfinite(row["r"])]
        strongest: Mapping[str, Any] = max(known, key=lambda row: abs(row["r"]), default={})
        rows.append(
            {
                "feature": feature,
                "label": run.name(feature),
                "top": top,
                "n_active": scores.get("n_active"),
                "monosemanticity": scores.get("monosemanticity"),
                **{name: strongest.get(name) for name in ("r", "q")},
                "rating": strongest.get("rating", ""),
            }
        )
    return rows, note


def _pictures(run: Run, feature: Feature, k: int, size: int) -> tuple[list[dict[str, Any]], str]:
    """Top images; without pictures, and with the reason, if the images of the run cannot be had."""
    try:
        top = run.top_images(feature, k)
    except SaevizError as error:
        ids = run.top_item_ids(feature, k)
        return [{"id": item_id, "activation": value, "url": None} for item_id, value in ids], f"no pictures: {error}"
    return [
        {"id": one.item.item_id, "activation": one.activation, "url": picture_url(one.item, size)} for one in top
    ], ""


def _relations(run: Run, feature: Feature) -> list[dict[str, Any]]:
    """The main correlation with each rating; names that it lacks are None."""
    import pandas as pd

    names = ("rating", "r", "ci_low", "ci_high", "q", "significant", "r_held_out")
    table = main_relation(pd.DataFrame(run.correlations_of(feature)))
    return [{name: row.get(name) for name in names} for row in table.to_dict("records")]


def _scores(run: Run, scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every score of a feature, with its unit and what it means."""
    infos = run.columns["scores"]
    known = [(infos.get(name) or ColumnInfo(name), value) for name, value in scores.items() if value not in (None, "")]
    return [{"name": info.name, "value": value, "unit": info.unit, "words": info.words} for info, value in known]


def _measure(run: Run) -> str:
    prefixes = relation_prefixes(run.correlations.columns)
    return measure_of(prefixes[0], run.facts) if prefixes else "r"
