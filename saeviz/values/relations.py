"""Which of the correlations in a run's table is meant where only one can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

RARE = 50
"""On so many active images a confidence interval is nearly as good as it says."""

PLAIN = "correlation_"
"""What stands before the facts of a correlation whose columns have no prefix."""


def main_relation(correlations: pd.DataFrame) -> pd.DataFrame:
    """The table with the main correlation under plain names: `n`, `n_active`, `r`, `p`, `q`, `significant` ...

    A scorer that gives `r` is the main one; else, in the order of the run's scorers, the first whose columns share a
    prefix, such as `spearman_r` and `spearman_p` (or `bh_r` and `bh_p` of a scorer with the name `bh`), and these lose
    it. Other columns keep their name, but for one that a column of the main correlation takes. A table without any
    correlation is given back as it is.
    """
    prefixes = relation_prefixes(correlations.columns)
    prefix = next(iter(prefixes), "")
    if not prefix:
        return correlations
    # Those of `a_b_r` are not those of `a_r`.
    longer = tuple(other for other in prefixes if other.startswith(prefix) and other != prefix)
    own = [name for name in correlations if name.startswith(prefix) and not (longer and name.startswith(longer))]
    plain = {name: name.removeprefix(prefix) for name in own}
    others = correlations.drop(columns=[name for name in plain.values() if name in correlations])
    return others.rename(columns=plain)


def relation_prefixes(names: Iterable[str]) -> list[str]:
    """What stands before `r` in the names of columns, once for each kind of correlation, the main one first.

    '' for a plain `r`; another prefix counts where it stands before `p`, too.
    """
    known = list(names)
    prefixes = [name.removesuffix("r") for name in known if name.endswith("_r")]
    return [""] * ("r" in known) + [prefix for prefix in prefixes if f"{prefix}p" in known]


def facts_of(prefix: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a scorer left about the correlation whose columns have this prefix: `measure`, `alpha`, `split` and more.

    `facts` are those of the run: `correlation_measure` for columns without a prefix, `spearman_measure` for
    `spearman_r`, and `bh_correlation_measure` for a scorer of plain columns that was given the name `bh`.
    """
    start = prefix or PLAIN
    return {
        name.removeprefix(start).removeprefix(PLAIN): value for name, value in facts.items() if name.startswith(start)
    }


def measure_of(prefix: str, facts: Mapping[str, Any]) -> str:
    """What the correlation whose columns have this prefix is called: by a fact of its scorer, else by the prefix.

    `facts` are those of the run. A partial correlation says what is held constant.
    """
    named = facts_of(prefix, facts).get("measure")
    if not (isinstance(named, str) and named):
        named = f"{prefix}r".replace("_", " ") if prefix else "Pearson's r"
    controls = held_constant(prefix, facts)
    return f"{named} ({controls} held constant)" if controls else named


def held_constant(prefix: str, facts: Mapping[str, Any]) -> str:
    """What the correlation whose columns have this prefix holds constant, '' where that is nothing."""
    controls = facts_of(prefix, facts).get("control")
    return ", ".join(map(str, controls)) if isinstance(controls, list) else ""


def interval_caveat(n_active: float | None) -> str:
    """What to bear in mind of a correlation's interval where a feature is rare, '' where there is nothing.

    The figures are from `benchmarks/interval_coverage.py`: features of exponential strength on 15 to 49 of 900 images.
    """
    if n_active is None or not n_active < RARE:
        return ""
    return (
        f"95 % intervals of features on fewer than {RARE} images are too short: they hold in 85 to 93 % of cases where "
        "r is 0.1, in fewer where it is larger"
    )
