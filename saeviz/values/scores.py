"""Scores of features, and features selected by them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.values.checks import check_text, kind_of, unwritable
from saeviz.values.columns import ColumnInfo, info_of, infos_in
from saeviz.values.errors import MalformedError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.keys import KEYS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from saeviz.typing import IntArray


@dataclass(frozen=True)
class ScoreColumn:
    """One score for every feature of a space, or, with a target, for some of them.

    `values` is `[n_features]`: finite numbers (NaN = not scored) or text ('' = none); it is copied. With `target`, the
    name of a rating, it becomes a column of `correlations.parquet`, otherwise of `scores.parquet`. `features` are the
    numbers, increasing, of the features that `values` are of, for a table without rows for the others; None: all.
    Raises `DataError` for another shape or type.
    """

    name: str
    space: FeatureSpace
    values: NDArray[Any]
    target: str | None = None
    features: IntArray | None = None

    def __post_init__(self) -> None:

        check_text(self.name, "the name of a ScoreColumn")
        _check_space(self.space, f"score {self.name!r}")
        where = f"score {self.name!r} of {self.space}"
        if self.target is not None:
            check_text(self.target, f"{where}: the target")
        values = _array(self.values, where)  # a copy: the next space may be computed in the same place
        shape = (self.space.n_features,) if self.features is None else self._shape_of_some(where)
        if values.shape != shape:
            raise MalformedError(f"{where}: shape {values.shape}, not {shape}")
        if values.dtype.kind not in "biufU":
            raise MalformedError(f"{where}: {values.dtype} is neither numbers nor text")
        if values.dtype.kind == "U":
            check_text("".join(values.tolist()), f"{where}: its text", may_be_empty=True)
        _refuse_infinite(values, where)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def _shape_of_some(self, where: str) -> tuple[int, ...]:
        import numpy as np

        features = np.asarray(self.features)
        if self.target is None:
            raise MalformedError(f"{where}: only a score with a target may be of some features")
        if features.ndim != 1 or features.dtype.kind not in "iu" or (np.diff(features) <= 0).any():
            raise MalformedError(f"{where}: features must be increasing whole numbers")
        if features.size and not 0 <= features[0] <= features[-1] < self.space.n_features:
            raise MalformedError(f"{where}: features must be from 0 to {self.space.n_features - 1}")
        if features.flags.writeable:  # one that is not may be shared by many columns
            features = features.copy()
            features.flags.writeable = False
        object.__setattr__(self, "features", features)
        return features.shape


@dataclass(frozen=True)
class ImageColumn:
    """A number for every image of a run: a column of `images.parquet`.

    `values` are floats `[n_items]` in the order of `ScoreInput.item_ids`, NaN for an image without a value, and finite
    otherwise. They are copied.
    """

    name: str
    values: NDArray[Any]

    def __post_init__(self) -> None:
        check_text(self.name, "the name of an ImageColumn")
        where = f"image column {self.name!r}"
        values = _array(self.values, where)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise MalformedError(f"{where}: {values.dtype}{list(values.shape)} is not one number for each image")
        values = values.astype(float)
        _refuse_infinite(values, where)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class PairBlock:
    """Numbers of each pair of a feature of a space and one of some ratings, the `targets`: a file of the table `pairs`.

    For more pairs than fit into memory as rows: the next block is requested once this is written. `values` maps names
    of columns to floats `[n_targets, n_features]`; a pair has no row if all of its are NaN. Blocks of the same `name`
    have the same columns, and those of a space no target in common. Raises `DataError` for another shape or type.
    """

    name: str
    space: FeatureSpace
    targets: tuple[str, ...]
    values: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        where = f"pairs {self.name!r} of {self.space}"
        if not (isinstance(self.name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,99}", self.name)):
            raise MalformedError(f"{where}: a name is a letter, then letters, digits, '_' and '-', as it is a folder's")
        _check_space(self.space, f"pairs {self.name!r}")
        if isinstance(self.targets, str) or not self.targets or len(set(self.targets)) < len(self.targets):
            raise MalformedError(f"{where}: targets must be a tuple of ratings, each once")
        if not isinstance(self.values, Mapping):
            raise MalformedError(f"{where}: its values are {kind_of(self.values)}, not a mapping of names to arrays")
        if not self.values or {*KEYS, *OF_PAIRS} & self.values.keys():
            raise MalformedError(f"{where}: there must be columns, other than {', '.join([*KEYS, *OF_PAIRS])}")
        shape = len(self.targets), self.space.n_features
        plain = {name: _unmasked(values, f"{where}: {name}") for name, values in self.values.items()}
        object.__setattr__(self, "values", plain)
        for name, values in self.values.items():
            check_text(name, f"{where}: the name of a column")
            found = getattr(values, "dtype", None)
            if found is None or values.shape != shape or found.kind != "f":
                what = kind_of(values) if found is None else f"{found}{list(values.shape)}"
                raise MalformedError(f"{where}: {name} is {what}, not float{list(shape)}")
            _refuse_infinite(values, f"{where}: {name}")


OF_PAIRS = ("rating", "scorer", "space")
"""Names that a column of pairs cannot have, beside the `KEYS`."""


@dataclass(frozen=True)
class ScoreFact:
    """A figure about the whole run, for the manifest and the report: a number, text, or lists and mappings of these.

    Numbers may be NaN, which is written as null, but not infinite.
    """

    name: str
    value: Any

    def __post_init__(self) -> None:
        check_text(self.name, "the name of a ScoreFact")
        if wrong := unwritable(self.value, may_be_nan=True):
            raise MalformedError(
                f"fact {self.name!r}: {wrong}; a fact is a finite number, text, or lists and mappings of these"
            )


ScoreResult = ScoreColumn | ImageColumn | PairBlock | ScoreFact
"""What a scorer may give."""


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a run.

    `scores` has a row per (sae, layer, tokens, feature), `correlations` a row per (sae, layer, tokens, feature,
    rating). Both are DataFrames with these keys as ordinary columns. `facts` maps names to the values of scorers'
    facts.
    """

    scores: pd.DataFrame
    correlations: pd.DataFrame
    spaces: tuple[FeatureSpace, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def info(self, column: str) -> ColumnInfo:
        """What is known of a column: its description, its unit, and whether higher or lower is better."""
        known = [*infos_in(self.scores.attrs), *infos_in(self.correlations.attrs)]
        return info_of(column, known) or ColumnInfo(column)


@dataclass(frozen=True)
class Selected:
    """A selected feature, its tier (1 is best), and the reason in a few words.

    `rating` is the rating whose correlation led to the selection, None if there is none or the selector does not say.
    `selection_stability` is the share of random halves of the images by which it is selected again, `tier_stability`
    that by which it also is in the same tier; both are None unless the run has selected by halves.
    """

    feature: Feature
    tier: int
    reason: str
    rating: str | None = None
    selection_stability: float | None = None
    tier_stability: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.feature, Feature) or not isinstance(self.feature.index, Integral):
            raise MalformedError(f"a Selected of {kind_of(self.feature)}, not of a Feature with a whole number")
        if not isinstance(self.tier, Integral) or isinstance(self.tier, bool) or self.tier < 1:
            raise MalformedError(f"{self.feature}: the tier {self.tier!r}; tiers are whole numbers, and the best is 1")
        check_text(self.reason, f"{self.feature}: the reason of its selection", may_be_empty=True)
        if self.rating is not None:
            check_text(self.rating, f"{self.feature}: the rating of its selection")
        for share in (self.selection_stability, self.tier_stability):
            if not (share is None or isinstance(share, Real)):
                raise MalformedError(f"{self.feature}: {kind_of(share)} as a share of halves, not a number or None")


class TierCutoff(NamedTuple):
    """Where a tier begins: at this monosemanticity and this absolute correlation, or at one of them if `either`."""

    tier: int
    monosemanticity: float
    r: float
    either: bool = False


class Relation(NamedTuple):
    """The correlation of a feature with a rating: signed r, its p, the adjusted q, over n images. NaN = undefined.

    `measure` is the kind of correlation in words, such as "Spearman's rho".
    """

    rating: str
    r: float
    p: float
    q: float
    n: int
    measure: str = "Pearson's r"


def _check_space(space: object, where: str) -> None:
    if not isinstance(space, FeatureSpace):
        raise MalformedError(f"{where}: its space is {kind_of(space)}, not a FeatureSpace")


def _array(values: Any, where: str) -> NDArray[Any]:
    """A copy of the values as an array."""
    import numpy as np

    plain = _unmasked(values, where)
    try:
        return np.array(plain)
    except (ValueError, TypeError) as error:
        raise MalformedError(f"{where}: its values are no array ({error})") from None


def _unmasked(values: Any, where: str) -> Any:
    """The values, none of which is masked: what is behind a mask would come back as a number."""
    import numpy as np

    if not isinstance(values, np.ma.MaskedArray):
        return values
    if np.ma.is_masked(values):
        raise MalformedError(f"{where}: its values are a masked array; write NaN where one is missing: .filled(np.nan)")
    return np.ma.getdata(values)


def _refuse_infinite(values: NDArray[Any], where: str) -> None:
    import numpy as np

    if values.dtype.kind == "f" and np.isinf(values).any():
        raise MalformedError(f"{where} has infinite values; use NaN for a missing one")
