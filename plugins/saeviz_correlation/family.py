"""Families of tests, and the adjustment of their p-values for multiple testing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz import FeatureSpace, ScoreColumn
from saeviz.toolkit.multiple_testing import adjust
from saeviz_correlation.inference import adjust_by_permutation
from saeviz_correlation.options import CorrelationOptions, Family
from saeviz_correlation.selection import corrected, cutoff, detectable, p_of_equivalence, standard_errors

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, Mask


Key = tuple[FeatureSpace, str]


@dataclass(frozen=True)
class Tests:
    """All features of a space with one rating, `[n_features]` each, as they were scored.

    `member` says which features are tested: they have a p and fire on enough images. `se` is the standard error of
    artanh(r), `df` its degrees of freedom, infinite where the interval is normal. `held_out` is r and p on the images
    that were held out, None without any.
    """

    space: FeatureSpace
    rating: str
    r: FloatArray
    p: FloatArray
    member: Mask
    se: FloatArray
    df: FloatArray
    held_out: tuple[FloatArray, FloatArray] | None


class Permuted(NamedTuple):
    """For `max-t`: the smallest p of a rating's features in each permutation, and that of each feature as observed.

    `own` is None where the p of the test is comparable with these. `whole_groups`: groups were permuted, not images.
    """

    smallest: FloatArray
    own: FloatArray | None
    whole_groups: bool


@dataclass(frozen=True)
class Verdict:
    """Results of tests by column name; `detectable` is the smallest r that they find with a power of 80 %.

    `largest_p` is the largest p that is significant, given the other tests of the family.
    """

    tests: Tests
    columns: Mapping[str, FloatArray]
    detectable: float
    largest_p: float

    def count(self, name: str) -> int:
        """Number of ones in a column."""
        return int(np.nansum(self.columns[name]))


def tests_of(
    columns: Sequence[ScoreColumn], prefix: str, is_tested: Callable[[Mapping[str, FloatArray]], Mask]
) -> list[Tests]:
    """The tests behind the columns of a scorer, whose names begin with `prefix`."""
    found: dict[Key, dict[str, FloatArray]] = {}
    for column in columns:
        if column.target is not None:
            found.setdefault((column.space, column.target), {})[column.name.removeprefix(prefix)] = column.values
    return [make_tests(key, values, is_tested(values)) for key, values in found.items()]


def make_tests(key: Key, values: Mapping[str, FloatArray], member: Mask) -> Tests:
    """The tests of a space with a rating, of which these are the columns without prefix."""
    df = values.get("df", np.full(member.shape, np.inf))
    se = standard_errors(values["ci_low"], values["ci_high"], df)
    held_out = (values["r_held_out"], values["p_held_out"]) if "r_held_out" in values else None
    return Tests(*key, values["r"], values["p"], member, se, df, held_out)


def families(tests: Sequence[Tests], family: Family) -> dict[str, list[Tests]]:
    """The tests that are adjusted together, by space or rating, or all by `run`."""
    groups: dict[str, list[Tests]] = {"run": []} if family == "run" else {}
    for one in tests:
        name = {"run": "run", "space": str(one.space), "rating": one.rating}[family]
        groups.setdefault(name, []).append(one)
    return groups


def judge(tests: Sequence[Tests], options: CorrelationOptions, permuted: Mapping[Key, Permuted]) -> Iterator[Verdict]:
    """`q`, `significant` and `negligible` over one family, and what else follows from being significant.

    That is `q_held_out` and `replicated` where images were held out, else `r_corrected` and its interval.
    Only `max-t` needs `permuted`, for every test.
    """
    of_family = _smallest_of(tests, permuted) if options.correction == "max-t" else None
    q = _adjusted(tests, options, permuted)
    found = [values <= options.alpha for values in q]  # NaN is not
    is_negligible = _negligible(tests, options)
    n_tests, n_found = (sum(int(one.sum()) for one in masks) for masks in ([one.member for one in tests], found))
    largest_p = cutoff(options.correction, options.alpha, n_tests, n_found, of_family)
    if options.split is None:
        further = corrected_columns(tests, found, [largest_p] * len(tests))
    else:
        further = replicated_columns(tests, found, options)
    for place, one in enumerate(tests):
        columns = {"q": q[place], "significant": np.where(one.member, found[place], np.nan), **further[place]}
        columns["negligible"] = is_negligible[place]
        yield Verdict(one, columns, detectable(one.se[one.member], one.df[one.member], largest_p), largest_p)


def corrected_columns(
    tests: Sequence[Tests], found: Sequence[Mask], largest_p: Sequence[float]
) -> list[dict[str, FloatArray]]:
    """The corrected r and its interval for what is significant, with a p of at most `largest_p`; NaN elsewhere."""
    r, p, se, df = (
        _concatenate([getattr(one, name)[mask] for one, mask in zip(tests, found, strict=True)])
        for name in ("r", "p", "se", "df")
    )
    limit = np.repeat(largest_p, np.array([mask.sum() for mask in found], dtype=np.int64))
    values = [_dealt_out(column, found) for column in corrected(r, p, se, df, limit)]
    names = [f"{name}_corrected" for name in ("r", "ci_low", "ci_high")]
    return [dict(zip(names, columns, strict=True)) for columns in zip(*values, strict=True)]


def replicated_columns(
    tests: Sequence[Tests], found: Sequence[Mask], options: CorrelationOptions
) -> list[dict[str, FloatArray]]:
    """What became of the significant ones of each test, all of one family, on the held-out images."""
    q = _adjusted_held_out(tests, found, options)
    columns = []
    for place, one in enumerate(tests):
        r = one.held_out[0] if one.held_out else np.full(one.r.shape, np.nan)
        same = (q[place] <= options.alpha) & (np.sign(r) == np.sign(one.r))
        columns.append({"q_held_out": q[place], "replicated": np.where(found[place], same, np.nan)})
    return columns


def _negligible(tests: Sequence[Tests], options: CorrelationOptions) -> list[FloatArray]:
    """1 for correlations that are smaller than `negligible_r`, by tests adjusted over the family, else 0."""
    p = [_p_of_equivalence(one, options) for one in tests]
    members = [one.member & np.isfinite(values) for one, values in zip(tests, p, strict=True)]
    together = _concatenate([values[member] for values, member in zip(p, members, strict=True)])
    correction = "bonferroni" if options.correction == "max-t" else options.correction
    q = _dealt_out(adjust(together, correction), members)
    return [np.where(member, values <= options.alpha, np.nan) for values, member in zip(q, members, strict=True)]


def _p_of_equivalence(one: Tests, options: CorrelationOptions) -> FloatArray:
    """Of hc2 the larger of two: where its interval is that of independent images, it is normal and `se` too small."""
    from scipy.special import ndtri, stdtrit

    p = p_of_equivalence(one.r, one.se, one.df, options.negligible_r)
    if getattr(options, "errors", None) != "hc2":
        return p
    normal = one.se * stdtrit(one.df, 0.975) / ndtri(0.975)
    return np.maximum(p, p_of_equivalence(one.r, normal, np.full(one.df.shape, np.inf), options.negligible_r))


def _smallest_of(tests: Sequence[Tests], permuted: Mapping[Key, Permuted]) -> FloatArray | None:
    """The smallest p of the family in each permutation; None if nothing is tested."""
    of_tests = [permuted[one.space, one.rating].smallest for one in tests if one.member.any()]
    return np.asarray(np.min(of_tests, axis=0)) if of_tests else None


def _adjusted(
    tests: Sequence[Tests], options: CorrelationOptions, permuted: Mapping[Key, Permuted]
) -> list[FloatArray]:
    members = [one.member for one in tests]
    if options.correction != "max-t":
        return _dealt_out(adjust(_concatenate([one.p[one.member] for one in tests]), options.correction), members)
    return _adjusted_by_permutation(tests, permuted)


def _adjusted_by_permutation(tests: Sequence[Tests], permuted: Mapping[Key, Permuted]) -> list[FloatArray]:
    """By the smallest p of the tests whose ratings are exchanged in the same way.

    If there are two ways, q is twice that (Bonferroni): r between a few groups is often near 1 by chance, so nothing
    within groups would ever be as unlikely as the smallest p of both.
    """
    ways: dict[bool, list[Tests]] = {}
    for one in tests:
        ways.setdefault(permuted[one.space, one.rating].whole_groups, []).append(one)
    smallest = {way: _smallest_of(of_way, permuted) for way, of_way in ways.items()}
    n_ways = sum(values is not None for values in smallest.values())
    q = []
    for one in tests:
        column, of = np.full(one.member.shape, np.nan), permuted[one.space, one.rating]
        least = smallest[of.whole_groups]
        if least is not None:
            p = (one.p if of.own is None else of.own)[one.member]
            column[one.member] = np.minimum(n_ways * adjust_by_permutation(p, least), 1.0)
        q.append(column)
    return q


def _adjusted_held_out(tests: Sequence[Tests], found: Sequence[Mask], options: CorrelationOptions) -> list[FloatArray]:
    """Adjusted over relations that were found only; for `max-t` by Bonferroni, which controls the same error rate."""
    p = [one.held_out[1] if one.held_out else np.full(one.p.shape, np.nan) for one in tests]
    members = [is_found & np.isfinite(values) for is_found, values in zip(found, p, strict=True)]
    correction = "bonferroni" if options.correction == "max-t" else options.correction
    there = _concatenate([values[member] for values, member in zip(p, members, strict=True)])
    return _dealt_out(adjust(there, correction), members)


def _concatenate(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _dealt_out(values: FloatArray, members: Sequence[Mask]) -> list[FloatArray]:
    """Assigns the values in order to the members of each test, NaN to the others."""
    columns = []
    start = 0
    for member in members:
        column = np.full(member.shape, np.nan)
        stop = start + int(member.sum())
        column[member] = values[start:stop]
        columns.append(column)
        start = stop
    return columns
