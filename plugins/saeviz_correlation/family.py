"""Families of tests, and the adjustment of their p-values for multiple testing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz import FeatureSpace, ScoreColumn
from saeviz.toolkit.multiple_testing import adjust
from saeviz_correlation import CorrelationOptions, Family
from saeviz_correlation.inference import adjust_by_permutation

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, Mask


Key = tuple[FeatureSpace, str]


@dataclass(frozen=True)
class Tests:
    """All features of a space with one rating, `[n_features]` each, as they were scored.

    `member` says which features are tested: they have a p and fire on enough images. `held_out` is r and p on the
    images that were held out, None without any.
    """

    space: FeatureSpace
    rating: str
    r: FloatArray
    p: FloatArray
    member: Mask
    held_out: tuple[FloatArray, FloatArray] | None


@dataclass(frozen=True)
class Verdict:
    """Results of tests by column name."""

    tests: Tests
    columns: Mapping[str, FloatArray]

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
    return [
        Tests(
            space,
            rating,
            values["r"],
            values["p"],
            is_tested(values),
            (values["r_held_out"], values["p_held_out"]) if "r_held_out" in values else None,
        )
        for (space, rating), values in found.items()
    ]


def families(tests: Sequence[Tests], family: Family) -> dict[str, list[Tests]]:
    """The tests that are adjusted together, by space or rating, or all by `run`."""
    groups: dict[str, list[Tests]] = {"run": []} if family == "run" else {}
    for one in tests:
        name = {"run": "run", "space": str(one.space), "rating": one.rating}[family]
        groups.setdefault(name, []).append(one)
    return groups


def judge(
    tests: Sequence[Tests], options: CorrelationOptions, smallest_p: Mapping[Key, FloatArray]
) -> Iterator[Verdict]:
    """`q` and `significant` over one family; `q_held_out` and `replicated` where images were held out.

    `smallest_p` has for every test what `LargestCorrelations.smallest_p` gave; only `max-t` needs it.
    """
    q = _adjusted(tests, options, smallest_p)
    found = [values <= options.alpha for values in q]  # NaN is not
    q_held_out = _adjusted_held_out(tests, found, options)
    for one, of_one, is_found, again in zip(tests, q, found, q_held_out, strict=True):
        columns = {"q": of_one, "significant": np.where(one.member, is_found, np.nan)}
        if one.held_out is not None:
            same = (again <= options.alpha) & (np.sign(one.held_out[0]) == np.sign(one.r))
            columns |= {"q_held_out": again, "replicated": np.where(is_found, same, np.nan)}
        yield Verdict(one, columns)


def _adjusted(
    tests: Sequence[Tests], options: CorrelationOptions, smallest_p: Mapping[Key, FloatArray]
) -> list[FloatArray]:
    members = [one.member for one in tests]
    p = _concatenate([one.p[one.member] for one in tests])
    if options.correction != "max-t":
        return _dealt_out(adjust(p, options.correction), members)
    of_family = [smallest_p[one.space, one.rating] for one in tests if one.member.any()]
    return _dealt_out(adjust_by_permutation(p, np.min(of_family, axis=0)) if of_family else p, members)


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
