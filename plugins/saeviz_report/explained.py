"""How reliable ratings are, and how much of them all features explain together: from facts that scorers left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import saeviz

KEPT_SHOWN = 12
MOST_RATINGS = 100
"""With more, the page lists the most telling ones, and no facts about single ratings."""

Entry = Mapping[str, Any]

_KEYS = {
    "reliability": frozenset(
        {
            "model",
            "n_images",
            "n_raters",
            "ratings_per_image",
            "of_one",
            "of_mean",
            "split_half",
            "reliability",
            "ceiling_r",
        }
    ),
    "prediction": frozenset({"method", "source", "space", "n_images", "r2", "r2_sd"}),
}


@dataclass(frozen=True)
class SpaceRow:
    """What the features of one space predict of a rating, `all` being all spaces together; None = not tried."""

    space: str
    ridge: Entry | None
    lasso: Entry | None
    activations: Entry | None


@dataclass(frozen=True)
class RatingRows:
    """The predictors of one rating, `ceiling` the R^2 that its reliability allows."""

    rating: str
    n_images: int
    spaces: Sequence[SpaceRow]
    embeddings: Entry | None
    ceiling: float | None


@dataclass(frozen=True)
class KeptFeatures:
    """The features of a space that lasso keeps for a rating: how many, and the strongest with weight and name."""

    rating: str
    space: str
    n_kept: int
    strongest: Sequence[tuple[saeviz.Feature, float, str]]


@dataclass(frozen=True)
class Explained:
    """Empty where no scorer gave the facts; `facts` are the names of those that are shown here."""

    reliabilities: Mapping[str, Entry]
    predictions: Sequence[RatingRows]
    kept: Sequence[KeptFeatures]
    facts: frozenset[str]


def explained(run: saeviz.Run) -> Explained:
    """Of a run whose scorers were `raters`, `prediction` or others that leave the same facts."""
    found = {name: value for name, value in run.facts.items() if name in _KEYS and _has_our_shape(value, _KEYS[name])}
    reliabilities: Mapping[str, Entry] = found.get("reliability", {})
    predictions: Mapping[str, Sequence[Entry]] = found.get("prediction", {})
    return Explained(
        reliabilities=_highest(reliabilities),
        predictions=[_rows(name, entries, reliabilities.get(name, {})) for name, entries in predictions.items()],
        kept=_kept(run),
        facts=frozenset(found),
    )


def ceilings_of(run: saeviz.Run) -> dict[str, float]:
    """The largest |r| with each rating that its noise allows, where it is known."""
    found = run.facts.get("reliability", {})
    if not _has_our_shape(found, _KEYS["reliability"]):
        return {}
    ceilings = {name: entry["ceiling_r"] for name, entry in found.items()}
    return {name: float(r) for name, r in ceilings.items() if isinstance(r, int | float) and math.isfinite(r)}


def _highest(reliabilities: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """All, or of many those with the highest reliability, highest first."""
    if len(reliabilities) <= MOST_RATINGS:
        return reliabilities
    entries = sorted(reliabilities.items(), key=lambda pair: -(pair[1]["reliability"] or -math.inf))
    return dict(entries[:MOST_RATINGS])


def _has_our_shape(value: Any, keys: frozenset[str]) -> bool:
    """Whether it is an entry or a list of them for each rating; a scorer of someone else may use the same name."""
    if not isinstance(value, Mapping):
        return False
    entries = [entry for found in value.values() for entry in (found if isinstance(found, list) else [found])]
    return all(isinstance(entry, Mapping) and keys <= entry.keys() for entry in entries)


def _rows(rating: str, entries: Sequence[Entry], reliability: Entry) -> RatingRows:
    def entry(method: str, source: str, space: str) -> Entry | None:
        wanted = {"method": method, "source": source, "space": space}
        return next((entry for entry in entries if wanted.items() <= entry.items()), None)

    ceiling = reliability.get("ceiling_r")
    return RatingRows(
        rating=rating,
        n_images=max((entry["n_images"] for entry in entries), default=0),
        spaces=[
            SpaceRow(
                space,
                entry("ridge", "features", space),
                entry("lasso", "features", space),
                entry("ridge", "activations", space),
            )
            for space in dict.fromkeys(entry["space"] for entry in entries if entry["source"] == "features")
        ],
        embeddings=entry("ridge", "embeddings", ""),
        ceiling=None if ceiling is None else ceiling**2,
    )


def _kept(run: saeviz.Run) -> list[KeptFeatures]:
    table = run.correlations
    if "lasso_weight" not in table:
        return []
    kept = table[table["lasso_weight"].fillna(0) != 0]
    kept = kept.iloc[kept["lasso_weight"].abs().argsort(kind="stable")[::-1]]
    found = []
    for rating in run.ratings:
        for space in run.spaces:
            own = saeviz.rows_in(kept[kept["rating"] == rating], space)
            features = [space.feature(int(index)) for index in own["feature"][:KEPT_SHOWN]]
            names = [run.name(feature) for feature in features]
            weights = own["lasso_weight"][:KEPT_SHOWN].tolist()
            if features:
                strongest = list(zip(features, weights, names, strict=True))
                found.append(KeptFeatures(rating, str(space), len(own), strongest))
    return found
