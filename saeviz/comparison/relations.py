"""The relations that two runs tested, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.comparison.jackknife import agreement_interval
from saeviz.comparison.sources import Source
from saeviz.formats.accuracy import proportion
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import KEYS, rows_in
from saeviz.values.relations import facts_of, main_relation, measure_of, relation_prefixes

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray

JOINT_ALPHA = 0.05
JOINT_FIGURES = ("p", "n")
"""What joint evidence needs of each run beside r."""
_FIGURES = ("n", "n_active", "r", "ci_low", "ci_high", "p", "q", "significant")


def relations_of_both(one: Run, other: Run, spaces: Sequence[FeatureSpace]) -> pd.DataFrame:
    """A row per feature and rating that were tested in both runs, with the figures of each: `r_a`, `r_b` and so on."""
    keys = [*KEYS, "rating"]
    tested = [
        _tested(run, spaces).set_index(keys).add_suffix(suffix).reset_index()
        for run, suffix in ((one, "_a"), (other, "_b"))
    ]
    return tested[0].merge(tested[1], on=keys, validate="one_to_one")


def add_joint_evidence(table: pd.DataFrame) -> None:
    """Add `z_joint`, `p_joint` and `q_joint`: both runs together, if their images are independent.

    Stouffer's method: the p-values as z with the sign of r, weighted by the square root of the number of images;
    then Benjamini and Hochberg over all rows.
    """
    import numpy as np
    from scipy.special import ndtr

    z = [_signed_z(table[f"r_{run}"], table[f"p_{run}"]) for run in "ab"]
    weight = [np.sqrt(table[f"n_{run}"].to_numpy(dtype=np.float64)) for run in "ab"]
    joint = (weight[0] * z[0] + weight[1] * z[1]) / np.hypot(*weight)
    table["z_joint"] = joint
    table["p_joint"] = 2 * ndtr(-np.abs(joint))
    table["q_joint"] = _adjusted(table["p_joint"].to_numpy())


def ratings_compared(table: pd.DataFrame, sources: tuple[Source, Source] | None) -> Iterator[dict[str, Any]]:
    """For each rating of both runs, how far its relations agree; `sources` are needed for an interval of `r_of_r`."""
    for rating, own in table.groupby("rating", sort=False):
        low, high = agreement_interval(*sources, str(rating), own) if sources else (math.nan, math.nan)
        yield {
            "rating": rating,
            "n_a": int(own["n_a"].max()) if "n_a" in own else None,
            "n_b": int(own["n_b"].max()) if "n_b" in own else None,
            "features": len(own),
            "r_of_r": _pearson(own["r_a"].to_numpy(dtype=float), own["r_b"].to_numpy(dtype=float)),
            "r_of_r_low": low,
            "r_of_r_high": high,
            **_found_again(own),
        }


def _found_again(own: pd.DataFrame) -> dict[str, Any]:
    """How many relations that are significant in the first run have the same sign, and are significant, in the second.

    The interval of their share is Wilson's. `significant_joint` counts those with a joint q of at most 0.05.
    """
    if "significant_a" not in own or "significant_b" not in own:
        return {}
    found = own[own["significant_a"] == 1]
    same = (found["r_a"] > 0) == (found["r_b"] > 0)
    again = int((same & (found["significant_b"] == 1)).sum())
    share = proportion(again, len(found))
    return {
        "significant_a": len(found),
        "same_sign": int(same.sum()),
        "transferred": again,
        "transferred_share": share.value,
        "transferred_low": share.low,
        "transferred_high": share.high,
    } | ({"significant_joint": int((own["q_joint"] <= JOINT_ALPHA).sum())} if "q_joint" in own else {})


def measure_of_run(run: Run) -> str:
    """The name of the run's main correlation; '' if it has none."""
    prefixes = relation_prefixes(run.correlations.columns)
    return measure_of(prefixes[0], run.facts) if prefixes else ""


def _tested(run: Run, spaces: Sequence[FeatureSpace]) -> pd.DataFrame:
    """The rows of tests in these spaces: those with a q, or with an r where nothing was adjusted."""
    import pandas as pd

    table = main_relation(run.correlations)
    if facts_of(next(iter(relation_prefixes(run.correlations.columns)), ""), run.facts).get("kept_per_rating"):
        raise ConfigError(
            f"{run.dir} has {len(run.ratings):,} ratings and keeps the strongest correlations of each only, which are "
            "not a fair sample to compare; name at most 100 of them in the scorer's ratings = [...], and run it again"
        )
    table = pd.concat([rows_in(table, space) for space in spaces])
    if "r" not in table:
        return table.reindex(columns=[*KEYS, "rating", *_FIGURES])[:0]
    tested = table[table["q" if "q" in table else "r"].notna()]
    found = tested[[*KEYS, "rating", *(name for name in _FIGURES if name in tested)]]
    return found.assign(layer=found["layer"].astype(str), rating=found["rating"].astype(str))


def _signed_z(r: pd.Series[float], p: pd.Series[float]) -> FloatArray:
    import numpy as np
    from scipy.special import ndtri

    smallest = np.finfo(np.float64).tiny
    return np.asarray(-np.sign(r) * ndtri(np.maximum(p.to_numpy(dtype=np.float64), smallest) / 2))


def _adjusted(p: FloatArray) -> FloatArray:
    import numpy as np
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def _pearson(x: FloatArray, y: FloatArray) -> float:
    import numpy as np

    if len(x) < 3 or not (np.ptp(x) and np.ptp(y)):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
