"""Correlations with many ratings: all are tested, the strongest are kept.

With 1,000 ratings a table of all correlations of 49,152 features has 49 million rows, which nobody reads and no memory
holds. So features go through in blocks, each with all ratings. Of the strongest pairs everything is kept; of all pairs
the p, for the family, in files: sorted, and as it is for counting and for the table of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from saeviz import FeatureSpace, PairBlock, ScoreColumn, ScoreInput
from saeviz_correlation.columns import feature_blocks
from saeviz_correlation.family import Tests, corrected_columns, make_tests, replicated_columns
from saeviz_correlation.moments import Correlations, correlations_of
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.robust import Robustly
from saeviz_correlation.selection import detectable
from saeviz_correlation.spilled import SortedRun, Spilled, sorted_runs
from saeviz_correlation.step_up import BigFamily
from saeviz_correlation.strongest import StrongestOfRating, favourites

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray, Mask
    from saeviz_correlation.strongest import Columns
    from saeviz_correlation.targets import Targets

PER_FEATURE = 8
"""Correlations kept of each feature: what a run with eight ratings has."""
FAVOURITES = 1 << 20
"""Correlations kept of all features together for being among the strongest of their feature.

Of more than 131,072 features, fewer than eight are kept of each: of twelve spaces of 49,152 the strongest only.
"""
PER_RATING = 1000
"""At most so many features are kept of a rating for being among its strongest, and no more than there are ratings.

As many as ratings are enough for the best assignment of features to ratings, one to one: if a rating had a feature
beyond its strongest T, one of these T would be free, as the other T - 1 ratings take one each, and would be as good.
"""


PER_FILE = 64
"""Ratings in a file of all pairs. To read one rating is to read a file, one feature a row group of each: of 1,000
ratings and 49,152 features 3 and 1 of 49 million rows.
"""
PER_SWEEP = 4 * PER_FILE
"""Ratings whose adjusted p are found together, in one pass over the p of their family."""
AT_ONCE = 1 << 20
"""Pairs of a feature and a rating in one block, 8 MiB for each column of them."""
OWN = ("space", "size", "place")
"""What is known of a row that is no column of it."""


@dataclass
class _OfSpace:
    """What is kept of all pairs of a space: `p` `[n_ratings, n_features]`, negative where r is, NaN where not tested.

    By feature, the number of the rating of the largest |r|, -1 without any, and that r. `r` is as `p`, None unless all
    pairs are asked for. `ordered` are the p without signs, of each rating if these are families, else of all.
    """

    space: FeatureSpace
    p: Spilled
    r: Spilled | None
    ordered: list[SortedRun]
    strongest: IntArray
    strongest_r: FloatArray


class _Block(NamedTuple):
    """A space while its features come in: arrays of what `_OfSpace` has."""

    p: FloatArray
    r: Float32Array
    strongest: IntArray
    strongest_r: FloatArray

    @classmethod
    def empty(cls, n_ratings: int, n_features: int, *, with_r: bool) -> _Block:
        """Nothing is known yet."""
        r = np.full((n_ratings if with_r else 0, n_features), np.nan, np.float32)
        p = np.full((n_ratings, n_features), np.nan)
        return cls(p, r, np.full(n_features, -1), np.full(n_features, np.nan))


class _Rows(NamedTuple):
    """The pairs that are kept of a space and a rating: the numbers of features, their columns, and the tests."""

    features: IntArray
    columns: Mapping[str, NDArray[Any]]
    tests: Tests

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> _Rows:
        """The same with further columns."""
        return self._replace(columns={**self.columns, **columns})


def correlated_blocks(
    data: ScoreInput,
    targets: Sequence[Targets],
    prepare: Callable[[CSR], CSR],
    as_entered: Callable[[CSR, Targets], CSR],
    robustly: Robustly | None,
) -> Iterator[tuple[slice, list[Correlations]]]:
    """The correlations of some features at a time with all targets."""
    step = max(1, AT_ONCE // max(1, sum(len(one.names) for one in targets)))
    for features, block in feature_blocks(data, prepare):
        for start in range(0, block.shape[0], step):
            part = block[start : start + step]
            found = []
            for place, one in enumerate(targets):
                entered = as_entered(part, one)
                correlations = correlations_of(one, entered)
                found.append(correlations if robustly is None else robustly.of(place, correlations, entered))
            first = features.start + start
            yield slice(first, first + part.shape[0]), found


class ManyRatings:
    """The correlations of a run with these ratings, space by space, then judged together."""

    def __init__(self, name: str, ratings: Sequence[str], options: LinearOptions, prefix: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self.per_feature = PER_FEATURE
        self._n_features = 0
        self.per_rating = min(len(ratings), PER_RATING)
        self.n_ratings = len(ratings)
        self._ratings = tuple(ratings)
        self._options = options
        self._prefix = prefix
        self._spaces: list[_OfSpace] = []
        self._kept = {name: StrongestOfRating(self.per_rating) for name in ratings}
        self._counts = {kind: dict.fromkeys(ratings, 0) for kind in ("tested", "significant", "positive", "replicated")}
        self._detectable: dict[str, float] = {}
        self.sizes: Mapping[str, int] = {}

    def add(
        self,
        space: FeatureSpace,
        blocks: Iterable[tuple[slice, Iterable[tuple[str, Columns]]]],
        is_tested: Callable[[Columns], Mask],
    ) -> None:
        """Test all features of a space, which come in blocks with the columns of each rating."""
        self._n_features += space.n_features
        self._keep_fewer(min(PER_FEATURE, max(1, FAVOURITES // self._n_features)))
        of_space = _Block.empty(len(self._ratings), space.n_features, with_r=self._options.all_pairs)
        for features, named in blocks:
            columns: dict[str, Columns] = {}
            for name, found in named:  # those of held-out images come later
                columns[name] = {**columns.get(name, {}), **found}
            self._add(of_space, features, columns, is_tested)
        self._spaces.append(self._stored(space, of_space))

    def _keep_fewer(self, per_feature: int) -> None:
        if per_feature < self.per_feature:
            self.per_feature = per_feature
            for rows in self._kept.values():
                rows.keep_places(per_feature)

    def _stored(self, space: FeatureSpace, of_space: _Block) -> _OfSpace:
        p = of_space.p
        spilled = Spilled(p, self._folder)
        r = Spilled(of_space.r, self._folder) if self._options.all_pairs else None
        np.abs(p, out=p)
        ordered = sorted_runs(p if self._options.family == "rating" else p.reshape(1, -1), self._folder)
        return _OfSpace(space, spilled, r, ordered, of_space.strongest, of_space.strongest_r)

    def _add(
        self,
        of_space: _Block,
        features: slice,
        columns: Mapping[str, Columns],
        is_tested: Callable[[Columns], Mask],
    ) -> None:
        numbers = np.arange(features.start, features.stop, dtype=np.int32)
        r = np.full((numbers.size, len(self._ratings)), np.nan)
        for place, name in enumerate(self._ratings):
            if name in columns:
                own = columns[name]
                member = is_tested(own)
                r[:, place] = np.where(member, own["r"], np.nan)
                of_space.p[place, features] = np.where(member, np.copysign(own["p"], own["r"]), np.nan)
        if self._options.all_pairs:
            of_space.r[:, features] = r.T
        sizes = np.abs(r)
        places = favourites(sizes, self.per_feature)
        number_of_space = np.full(numbers.size, len(self._spaces), dtype=np.int32)
        for place, name in enumerate(self._ratings):
            if name in columns:
                rows = {"space": number_of_space, "feature": numbers, **columns[name]}
                self._kept[name].add(rows, sizes[:, place], places[:, place])
        has_any = places.any(axis=1)
        strongest = np.where(np.isnan(sizes), -1.0, sizes).argmax(axis=1)
        of_space.strongest[features] = np.where(has_any, strongest, -1)
        of_space.strongest_r[features] = np.where(has_any, r[np.arange(numbers.size), strongest], np.nan)

    def combine(self) -> Iterator[ScoreColumn | PairBlock]:
        """The columns of the pairs that are kept, for each feature a summary of all, and all pairs if asked for."""
        families = self._families()
        limits = {name: family.largest_significant(self._options.alpha) for name, family in families.items()}
        self.sizes = {name: family.size for name, family in families.items()}
        for one in self._spaces:
            yield from self._summary(one, limits)
        in_families: dict[str, list[_Rows]] = {name: [] for name in families}
        for rows in self._rows():
            in_families[self._family_of(rows.tests.space, rows.tests.rating)].append(rows)
        judged = [one for name, rows in in_families.items() for one in self._judged(rows, families[name], limits[name])]
        self._detectable = self._smallest_detectable(judged, families)
        if self._options.all_pairs:
            yield from self._pairs(families)
        families.clear()
        self._spaces.clear()
        if self._options.split is None:
            tests, found = [one.tests for one in judged], [one.columns["significant"] == 1 for one in judged]
            largest_p = [limits[self._family_of(one.space, one.rating)] for one in tests]
            more = corrected_columns(tests, found, largest_p)
            judged = [one.with_columns(columns) for one, columns in zip(judged, more, strict=True)]
        for rows in judged:
            for name, values in rows.columns.items():
                yield ScoreColumn(self._prefix + name, rows.tests.space, values, rows.tests.rating, rows.features)

    def facts(self) -> dict[str, object]:
        """How many correlations are kept, and of each rating, how many were tested and found, and what can be found."""
        kept = {"kept_per_rating": self.per_rating, "kept_per_feature": self.per_feature}
        counts = {f"{kind}_{name}": n for kind, found in self._counts.items() for name, n in found.items()}
        return {**kept, **counts, **{f"detectable_{name}": size for name, size in self._detectable.items()}}

    def silent(self) -> list[str]:
        """The ratings of which nothing could be tested."""
        return [name for name, n in self._counts["tested"].items() if not n]

    def _families(self) -> dict[str, BigFamily]:
        if self._options.family == "run":
            runs = {"run": [run for one in self._spaces for run in one.ordered]}
        elif self._options.family == "space":
            runs = {str(one.space): one.ordered for one in self._spaces}
        else:
            runs = {name: [one.ordered[place] for one in self._spaces] for place, name in enumerate(self._ratings)}
        return {name: BigFamily(own, self._options.correction) for name, own in runs.items()}

    def _family_of(self, space: FeatureSpace, rating: str) -> str:
        return {"run": "run", "space": str(space), "rating": rating}[self._options.family]

    def _summary(self, kept: _OfSpace, limits: Mapping[str, float]) -> Iterator[ScoreColumn]:
        n_significant = np.zeros(kept.space.n_features, dtype=np.int64)
        for place, name in enumerate(self._ratings):
            p = kept.p.row(place)
            found = np.abs(p) <= limits[self._family_of(kept.space, name)]
            n_significant += found
            self._counts["tested"][name] += int(np.count_nonzero(~np.isnan(p)))
            self._counts["significant"][name] += int(np.count_nonzero(found))
            self._counts["positive"][name] += int(np.count_nonzero(found & ~np.signbit(p)))
        names = np.array([*self._ratings, ""])  # the last one is that of -1
        columns = {"strongest": names[kept.strongest], "strongest_r": kept.strongest_r, "n_significant": n_significant}
        for column, values in columns.items():
            yield ScoreColumn(self._prefix + column, kept.space, values)

    def _pairs(self, families: Mapping[str, BigFamily]) -> Iterator[PairBlock]:
        """All pairs, of some ratings at a time; sorted, so that a file tells by its first and last which it has."""
        order = sorted(range(self.n_ratings), key=self._ratings.__getitem__)
        for one in self._spaces:
            for start in range(0, self.n_ratings, PER_SWEEP):
                places = order[start : start + PER_SWEEP]
                names = tuple(self._ratings[place] for place in places)
                p = np.abs(np.stack([one.p.row(place) for place in places]))
                if self._options.family == "rating":
                    q = np.stack([families[name].adjusted(row) for name, row in zip(names, p, strict=True)])
                else:
                    q = families[self._family_of(one.space, names[0])].adjusted(p)
                for first in range(0, len(places), PER_FILE):
                    own = slice(first, first + PER_FILE)
                    r = np.stack([one.r.row(place) for place in places[own]]) if one.r else np.zeros((0, 0), np.float32)
                    yield PairBlock(self._name, one.space, names[own], {"r": r, "p": p[own], "q": q[own]})

    def _smallest_detectable(self, judged: Sequence[_Rows], families: Mapping[str, BigFamily]) -> dict[str, float]:
        """For each rating the r that is found with a power of 80 %, if images are independent.

        Then all pairs of a rating have the standard error of those that are kept. That of ranks depends on r a little;
        the smallest is nearest to that of most features.
        """
        se: dict[str, float] = {}
        for one in judged:
            if np.isinf(one.tests.df).all() and np.isfinite(one.tests.se).any():
                smallest = float(np.nanmin(one.tests.se))
                se[one.tests.rating] = min(smallest, se.get(one.tests.rating, smallest))
        bounds = {name: family.bound(self._options.alpha) for name, family in families.items()}
        found = {}
        for name, size in se.items():
            own = [bounds[self._family_of(one.space, name)] for one in self._spaces]
            found[name] = detectable(np.array([size]), np.array([np.inf]), float(np.nanmin(own)))
        return found

    def _rows(self) -> Iterator[_Rows]:
        for name in self._ratings:
            rows = self._kept.pop(name).rows
            for place, one in enumerate(self._spaces):
                own = {column: values[rows["space"] == place] for column, values in rows.items()}
                if own and own["feature"].size:
                    features = own.pop("feature")
                    features.flags.writeable = False  # the columns share it
                    columns = {column: own[column] for column in own.keys() - OWN}
                    yield _Rows(features, columns, make_tests((one.space, name), own, np.ones(features.shape, bool)))

    def _judged(self, rows: Sequence[_Rows], family: BigFamily, limit: float) -> Iterator[_Rows]:
        """The rows of one family with what follows from it."""
        tests = [one.tests for one in rows]
        p = np.concatenate([one.p for one in tests]) if tests else np.zeros(0)
        q = np.split(family.adjusted(p), np.cumsum([one.p.size for one in tests])[:-1])
        found = [one.p <= limit for one in tests]
        again = [{} for _ in rows] if self._options.split is None else replicated_columns(tests, found, self._options)
        for place, one in enumerate(rows):
            self._counts["replicated"][one.tests.rating] += int(np.nansum(again[place].get("replicated", 0)))
            of_family = {"q": q[place], "significant": found[place].astype(np.float64)}
            yield one.with_columns({**of_family, **again[place]})
