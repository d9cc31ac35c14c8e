"""Numbers about features, and what is selected by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.values.errors import MalformedError
from saeviz.values.features import Feature, FeatureSpace

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoreColumn:
    """One score of every feature of a space.

    `values` is `[n_features]`: floats (NaN = not scored) or text ('' = none). With `target`, the name
    of a rating, it is a column of `correlations.parquet`, without it of `scores.parquet`. They are copied.
    """

    name: str
    space: FeatureSpace
    values: NDArray[Any]
    target: str | None = None

    def __post_init__(self) -> None:
        import numpy as np

        values = np.array(self.values)  # a copy: the next space may be computed in the same place
        if values.shape != (self.space.n_features,):
            raise MalformedError(
                f"score {self.name!r} of {self.space}: shape {values.shape} where ({self.space.n_features},) belongs"
            )
        if values.dtype.kind not in "biufU":
            raise MalformedError(f"score {self.name!r} of {self.space}: {values.dtype} is neither numbers nor text")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class ScoreFact:
    """A figure about the whole run, for the manifest and the report: a number, text or list of them."""

    name: str
    value: Any


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a run.

    `scores` has a row per (layer, tokens, feature); `correlations` a row per (layer, tokens, feature,
    rating). Both are DataFrames with these keys as plain columns. `facts` are the figures about the whole run that
    scorers left, by name.
    """

    scores: pd.DataFrame
    correlations: pd.DataFrame
    spaces: tuple[FeatureSpace, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Selected:
    """A feature that matters: its tier (1 is best) and in a few words why.

    `rating` names the rating whose correlation speaks for it, None where none does or the selector does not say.
    """

    feature: Feature
    tier: int
    reason: str
    rating: str | None = None


class Relation(NamedTuple):
    """How a feature relates to a rating: signed r, its p, the adjusted q, over n images. NaN = no value.

    `measure` is what kind of correlation r is, in words such as "Spearman's rho".
    """

    rating: str
    r: float
    p: float
    q: float
    n: int
    measure: str = "Pearson's r"
