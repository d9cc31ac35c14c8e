"""One feature for each rating, none twice: the assignment with the largest sum of |r|."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.keys import KEYS
from saeviz.values.relations import facts_of, main_relation, relation_prefixes

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = ("r", "ci_low", "ci_high", "p", "q", "significant")


def assign(run: Run) -> pd.DataFrame:
    """The best assignment of features to ratings, one to one: a row per rating that has correlations, in their order.

    Columns are `rating`, the keys of the feature, the figures of its main correlation, `strongest_r` (that of the
    rating's strongest feature, which another rating may have) and `ceiling_r`, if `raters` estimated it. Only
    correlations that were tested count. The sum of |r| over all ratings is the largest possible. A rating without a
    tested feature, or for which there is none left, has none. Raises `ConfigError` if the run has no correlations, or
    keeps too few of each rating.
    """
    import pandas as pd

    table = main_relation(run.correlations)
    if "r" not in table:
        raise ConfigError(f"{run.dir} has no correlations to assign features by; add the scorer pearson-bh and run it")
    ratings = pd.Index(table["rating"].unique(), name="rating", dtype=object)
    tested = _strongest(run, table, len(ratings))
    strongest = tested.drop_duplicates("rating").set_index("rating")["r"]
    found = tested.iloc[_best_pairs(tested)].set_index("rating").reindex(ratings)
    found["sae"], found["tokens"] = (found[name].astype(object).fillna("") for name in ("sae", "tokens"))
    found["feature"] = found["feature"].astype("Int64")
    found["strongest_r"] = strongest.reindex(ratings)
    found["ceiling_r"] = [_ceiling(run, name) for name in ratings]
    return found.reset_index()


def _strongest(run: Run, table: pd.DataFrame, n: int) -> pd.DataFrame:
    """The `n` strongest tested correlations of each of the `n` ratings, strongest first: all that are needed.

    Suppose an assignment gives a rating a feature beyond its strongest n. The other n - 1 ratings have at most n - 1 of
    these, so one of them is free, and it is at least as strong. Exchanged one after the other, no assignment is better
    than the best one within these pairs.
    """
    prefix = next(iter(relation_prefixes(run.correlations.columns)), "")
    kept = facts_of(prefix, run.facts).get("kept_per_rating")
    if isinstance(kept, int) and kept < n:
        raise ConfigError(
            f"{run.dir} keeps the strongest {kept:,} features of each of its {n:,} ratings, and an assignment may need "
            f"{n:,}; name at most {kept:,} in the scorer's ratings = [...]"
        )
    tested = table[table["q" if "q" in table else "r"].notna()]
    tested = tested[[*KEYS, "rating", *(name for name in _FIGURES if name in table)]]
    tested = tested.iloc[(-tested["r"].abs().to_numpy()).argsort(kind="stable")]
    return tested[tested.groupby("rating", observed=True).cumcount() < n].astype({"rating": object})


def _best_pairs(tested: pd.DataFrame) -> Any:
    """The rows of the best assignment.

    Each rating may also have a place of its own that is worth nothing, so that an assignment of all exists; weights are
    1 + |r|, since a sparse matrix takes a weight of 0 for no pair, which adds the same to each assignment.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if tested.empty:
        return np.zeros(0, dtype=np.int64)
    ratings, names = tested["rating"].factorize()
    features = tested.groupby(KEYS, observed=True, sort=False).ngroup().to_numpy()
    n_ratings, n_features = len(names), int(features.max()) + 1
    own = np.arange(n_ratings)
    weights = np.concatenate([1 + tested["r"].abs().to_numpy(dtype=np.float64), np.ones(n_ratings)])
    rows, columns = np.concatenate([ratings, own]), np.concatenate([features, n_features + own])
    shape = n_ratings, n_features + n_ratings
    matched = min_weight_full_bipartite_matching(csr_array((weights, (rows, columns)), shape=shape), maximize=True)[1]
    return np.flatnonzero(matched[ratings] == features)


def _ceiling(run: Run, rating: str) -> float:
    found = run.facts.get("reliability")
    of_rating = found.get(rating) if isinstance(found, dict) else None
    ceiling = of_rating.get("ceiling_r") if isinstance(of_rating, dict) else None
    return float(ceiling) if isinstance(ceiling, int | float) else math.nan
