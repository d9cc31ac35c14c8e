"""Choose the main correlation of a run, and describe correlations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

RARE = 50
"""From this number of active images on, the coverage of a 95 % confidence interval is close to 95 %."""

CAVEATS = {
    "clusters": "",
    "permutation": "",
    "hc2": f"95 % intervals of features on fewer than {RARE} images are a little too narrow if r is 0.3 or more: for "
    "features on 20 images they then cover r in 91 % of cases",
}
"""By the errors of a scorer, unless images are taken as independent, what to know of the intervals of rare features.

With `clusters` they cover r in 93 to 99 % of cases (`benchmarks/bootstrap_coverage.py`); with `permutation` there are
none.
"""

RANK_BISERIAL = "rank-biserial r"
"""The measure of an area under the ROC curve: r is twice the area, less 1."""

PLAIN = "correlation_"
"""The prefix of the facts of a correlation whose columns have no prefix."""


DIFFERENCE = "_difference."
"""In the name of a column: how much a relation differs in what comes after it, such as `category=face`."""


class RelationDifference(NamedTuple):
    """How the slope of a rating on a feature differs: `low` and `high`, and high minus low with its 95 % interval.

    `contrast` names what is compared, such as `category=face`. Unknown values are None.
    """

    contrast: str
    low: float
    high: float
    difference: float
    ci_low: float | None
    ci_high: float | None
    q: float | None
    significant: bool

    @property
    def words(self) -> str:
        """All of it: `slope 0.10, 0.52 with category=face (difference 0.42, 0.20 to 0.64; q 0.003)`."""
        interval = "" if self.ci_low is None or self.ci_high is None else f", {self.ci_low:.2f} to {self.ci_high:.2f}"
        q = "" if self.q is None else f"; q {self.q:.2g}"
        slopes = f"slope {self.low:.2f}, {self.high:.2f} with {self.contrast}"
        return f"{slopes} (difference {self.difference:.2f}{interval}{q})"


def relation_differences(row: Mapping[str, Any]) -> list[RelationDifference]:
    """The differences in a row of correlations, whose columns are called `..._difference.CONTRAST`; those tested."""
    found = []
    for name in row:
        start, _, contrast = name.partition(DIFFERENCE)
        if contrast and row[name] is not None:
            low, high, ci_low, ci_high, q, significant = (
                row.get(f"{start}_{column}.{contrast}")
                for column in ("low", "high", "ci_low", "ci_high", "q", "significant")
            )
            if low is not None and high is not None:
                found.append(RelationDifference(contrast, low, high, row[name], ci_low, ci_high, q, significant == 1))
    return found


def difference_columns(names: Iterable[str]) -> set[str]:
    """Those of the names that belong to differences of relations."""
    known = set(names)
    parts = [name.partition(DIFFERENCE) for name in known if DIFFERENCE in name]
    return {
        name
        for start, _, contrast in parts
        for name in known
        if name.startswith(f"{start}_") and name.endswith(f".{contrast}")
    }


def main_relation(correlations: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns of the main correlation renamed to `n`, `n_active`, `r`, `p`, `q`, `significant` ...

    The main correlation is the column `r`, if there is one; otherwise the first, in the order of the run's scorers,
    whose columns share a prefix, such as `spearman_r` and `spearman_p` (or `bh_r` and `bh_p` of a scorer named `bh`).
    The prefix is removed. Other columns keep their names; one whose name is taken by the main correlation is dropped. A
    table without correlations is returned unchanged.
    """
    prefixes = relation_prefixes(correlations.columns)
    prefix = next(iter(prefixes), "")
    if not prefix:
        return correlations
    # The columns of `a_b_r` do not belong to `a_r`.
    longer = tuple(other for other in prefixes if other.startswith(prefix) and other != prefix)
    own = [name for name in correlations if name.startswith(prefix) and not (longer and name.startswith(longer))]
    plain = {name: name.removeprefix(prefix) for name in own}
    others = correlations.drop(columns=[name for name in plain.values() if name in correlations])
    return others.rename(columns=plain)


def relation_prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes of `r` in the names of columns, one per kind of correlation, the main one first.

    '' for a plain `r`; another prefix counts only if there is also a `p` with it.
    """
    known = list(names)
    prefixes = [name.removesuffix("r") for name in known if name.endswith("_r")]
    return [""] * ("r" in known) + [prefix for prefix in prefixes if f"{prefix}p" in known]


def facts_of(prefix: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the scorer whose correlation columns have this prefix: `measure`, `alpha`, `split` and more.

    `facts` are all facts of the run. `correlation_measure` belongs to columns without a prefix, `spearman_measure` to
    `spearman_r`, and `bh_correlation_measure` to a scorer named `bh` whose columns would have no prefix.
    """
    start = prefix or PLAIN
    return {
        name.removeprefix(start).removeprefix(PLAIN): value for name, value in facts.items() if name.startswith(start)
    }


def measure_of(prefix: str, facts: Mapping[str, Any]) -> str:
    """The name of the correlation whose columns have this prefix, from a fact of its scorer, else from the prefix.

    `facts` are all facts of the run. The name of a partial correlation includes what is held constant.
    """
    named = facts_of(prefix, facts).get("measure")
    if not (isinstance(named, str) and named):
        named = f"{prefix}r".replace("_", " ") if prefix else "Pearson's r"
    controls = held_constant(prefix, facts)
    return f"{named} ({controls} held constant)" if controls else named


def relation_words(rating: str, r: float, measure: str) -> str:
    """A correlation in a few words: `r 0.42 with valence`, or `AUC 0.71 for emotion=joy` where r is rank-biserial."""
    if measure == RANK_BISERIAL:
        return f"AUC {area_of(r):.2f} for {rating}"
    return f"r {r:.2f} with {rating}"


def area_of(r: float) -> float:
    """The area under the ROC curve that belongs to a rank-biserial r."""
    return (1 + r) / 2


def held_constant(prefix: str, facts: Mapping[str, Any]) -> str:
    """The controls of the partial correlation whose columns have this prefix, '' if there are none."""
    controls = facts_of(prefix, facts).get("control")
    return ", ".join(map(str, controls)) if isinstance(controls, list) else ""


def interval_caveat(n_active: float | None, errors: object = None, measure: str = "") -> str:
    """A caveat about the confidence interval of a rare feature's correlation, '' if it needs none.

    `errors` is the fact of the scorer that says how the interval was computed. The figures are from
    `benchmarks/bootstrap_coverage.py` for `hc2`, otherwise from `benchmarks/interval_coverage.py`: features of
    exponential strength on 15 to 49 of 900 images. Areas under the curve, whose `measure` is the rank-biserial r, have
    no interval where it would be too narrow.
    """
    if n_active is None or not n_active < RARE or measure == RANK_BISERIAL:
        return ""
    return CAVEATS.get(
        str(errors),
        f"95 % intervals of features on fewer than {RARE} images are too narrow: they cover r in 87 to 92 % of cases "
        "if r is 0.1, and in fewer if it is larger",
    )
