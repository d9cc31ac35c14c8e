"""What the groups of a run mean for the errors of a scorer: which kind they are, its facts, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from logging import INFO, WARNING
from math import factorial
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, Context, ScoreInput
from saeviz_correlation.clusters import group_codes, share_between
from saeviz_correlation.exchange import Exchange, exchanges
from saeviz_correlation.options import Correction, Errors

if TYPE_CHECKING:
    from saeviz.typing import IntArray
    from saeviz_correlation.targets import Targets


FEW_GROUPS, FEWEST_GROUPS = 10, 3
"""With fewer than these, hardly anything is significant; no degrees of freedom are left."""

FEWEST_ARRANGED = 6
"""Five groups can be arranged in 120 ways."""

MOST_SETS = 300
"""Groups within which ratings are exchanged: their means are held constant in each feature."""

MOST_CONTROLS = 0.1
"""Per group: one factor that allows for controls in the errors of groups is enough up to here."""


class Grouping:
    """How the errors of one scorer allow for groups.

    `kind` is that of its errors, which `auto` leaves to the data; `facts` has it and, for errors of groups, their
    number and the share of each rating's variance between them.
    """

    def __init__(self, scorer: str, errors: Errors, correction: Correction, context: Context) -> None:
        self.kind: Errors = errors
        self.facts: dict[str, object] = {"errors": errors}
        self._scorer, self._errors, self._correction = scorer, errors, correction
        self._logger = context.logger
        self._in_too_few_groups: set[str] = set()
        self._exchanges: list[Exchange] = []
        self._told: set[tuple[tuple[str, ...], str]] = set()
        self._has_warned = False

    def reason(self, rating: str) -> str | None:
        """Why a rating has no correlations, if that is because of its groups."""
        return f"fewer than {FEWEST_GROUPS} groups have it" if rating in self._in_too_few_groups else None

    def resolve(self, data: ScoreInput) -> Errors:
        """The kind of errors for these images, which `codes` goes by."""
        self.kind = self._errors
        if self.kind == "auto":
            in_groups: Errors = "permutation" if self._correction == "max-t" else "clusters"
            self.kind = "independent" if data.groups is None else in_groups
        self.facts = {"errors": self.kind}
        return self.kind

    def exchanges(self, data: ScoreInput, names: Sequence[str], *, whole_groups: bool) -> list[Exchange]:
        """How ratings may be exchanged among images, or `whole_groups`, if errors are those of permutation."""
        codes = group_codes(data.groups or (None,) * data.n_items)
        ratings = {name: np.asarray(data.ratings[name], np.float64) for name in names}
        self._exchanges = exchanges(ratings, names, codes, whole_groups=whole_groups)
        for one in self._exchanges:
            self._check_sets(one)
        return self._exchanges

    @property
    def held_constant(self) -> list[str]:
        """The groups, in words, where ratings are exchanged within them."""
        within = [name for one in self._exchanges if one.sets is not None for name in one.names]
        whole = any(one.blocks is not None for one in self._exchanges)
        return [f"groups, for {', '.join(within)}" if whole else "groups"] if within else []

    def codes(self, data: ScoreInput, names: Sequence[str], targets: Sequence[Targets]) -> IntArray | None:
        """A number for the group of each image if errors are those of groups; `names` are the ratings."""
        if self.resolve(data) not in ("clusters", "permutation") or data.groups is None:
            return None
        codes = group_codes(data.groups)
        rated = np.logical_or.reduce([one.rated for one in targets]) if targets else np.zeros(codes.size, dtype=bool)
        self.facts["groups"] = int(np.unique(codes[rated]).size)
        for name in names:
            self.facts[f"between_groups_{name}"] = share_between(np.asarray(data.ratings[name], np.float64), codes)
        if self.kind == "permutation":
            if self.held_constant:
                self.facts["control"] = self.held_constant
            for exchange in self._exchanges:
                self._tell(exchange, targets)
            return None
        self._check(targets, codes)
        return codes

    def _check_sets(self, exchange: Exchange) -> None:
        """Refuses too many groups within which ratings would be exchanged."""
        n = 0 if exchange.sets is None else np.unique(exchange.sets).size
        if n > MOST_SETS:
            raise ConfigError(
                f"scorers.{self._scorer}.errors: ratings cannot be exchanged within {n} groups, at most {MOST_SETS}; "
                "use errors = 'clusters' and correction = 'bh', 'by' or 'bonferroni'"
            )

    def _tell(self, exchange: Exchange, targets: Sequence[Targets]) -> None:
        """Tells once what is exchanged; of whole groups, how many have a rating, and are on one side of a split."""
        told = {exchange.names: "exchanged within groups, whose means are held constant"}
        if (blocks := exchange.blocks) is not None:
            sizes: dict[tuple[str, ...], int] = {}
            for one in targets:
                if set(one.names) <= set(exchange.names):
                    n = np.unique(blocks[one.rated]).size
                    sizes[one.names] = min(n, sizes.get(one.names, n))
            told = {names: _between(n) for names, n in sizes.items()}
        for names, words in told.items():
            if (names, words) not in self._told:
                self._told.add((names, words))
                level = WARNING if "only" in words else INFO
                self._logger.log(level, "%s: ratings %s are %s", self._scorer, ", ".join(map(repr, names)), words)

    def _check(self, targets: Sequence[Targets], codes: IntArray) -> None:
        """Remembers ratings whose images belong to too few groups, and warns of few, or of many controls, once."""
        testable = [(int(np.unique(codes[one.rated]).size), one) for one in targets if one.n >= 3]
        self._in_too_few_groups |= {name for n, one in testable if n < FEWEST_GROUPS for name in one.names}
        if self._has_warned or not testable:
            return
        self._has_warned = True
        n_groups, fewest = min(testable, key=lambda pair: pair[0])
        if n_groups < FEW_GROUPS:
            self._logger.warning(
                "%s: the images with rating %r belong to only %d group%s, so p and intervals have few degrees of "
                "freedom and hardly anything can be significant; errors = 'permutation' (not for auc), smaller groups, "
                "such as series instead of categories, or images from more groups would help",
                self._scorer,
                fewest.names[0],
                n_groups,
                "s" * (n_groups != 1),
            )
        n_controls = max(one.basis.shape[1] for _, one in testable)
        if n_controls > MOST_CONTROLS * n_groups:
            self._logger.warning(
                "%s: %d controls (a category counts once for each of its values but one) are many for %d groups, so p "
                "may be too small; hold fewer things constant, or use smaller groups",
                self._scorer,
                n_controls,
                n_groups,
            )


def _between(n_groups: int) -> str:
    told = f"exchanged between {n_groups} whole groups"
    if n_groups < FEWEST_ARRANGED:
        n_ways = factorial(n_groups)
        told += f"; these can be arranged in only {n_ways} ways, so p is at least 1 / {n_ways}"
    return told
