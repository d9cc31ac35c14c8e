"""What the groups of a run mean for the errors of a scorer: which kind they are, its facts, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, Context, ScoreInput
from saeviz_correlation import Correction, Errors
from saeviz_correlation.clusters import group_codes, share_between

if TYPE_CHECKING:
    from saeviz.typing import IntArray
    from saeviz_correlation.targets import Targets


FEW_GROUPS, FEWEST_GROUPS = 10, 3
"""With fewer than these, hardly anything is significant; no degrees of freedom are left."""

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
        self._has_warned = False

    def reason(self, rating: str) -> str | None:
        """Why a rating has no correlations, if that is because of its groups."""
        return f"fewer than {FEWEST_GROUPS} groups have it" if rating in self._in_too_few_groups else None

    def codes(self, data: ScoreInput, names: Sequence[str], targets: Sequence[Targets]) -> IntArray | None:
        """A number for the group of each image if errors are those of groups; `names` are the ratings."""
        self.kind = self._errors
        if self.kind == "auto":
            self.kind = "independent" if data.groups is None else "clusters"
        self.facts = {"errors": self.kind}
        if self.kind != "clusters":
            return None
        place = f"scorers.{self._scorer}"
        if data.groups is None:
            raise ConfigError(f"{place}.errors: the images have no groups; name their column in images.group_column")
        if self._correction == "max-t":
            raise ConfigError(
                f"{place}.correction: max-t permutes single images, but these belong to groups; use 'bh', 'by' or "
                "'bonferroni', or errors = 'independent' if the images of a group are as different as any"
            )
        codes = group_codes(data.groups)
        rated = np.logical_or.reduce([one.rated for one in targets]) if targets else np.zeros(codes.size, dtype=bool)
        self.facts["groups"] = int(np.unique(codes[rated]).size)
        for name in names:
            self.facts[f"between_groups_{name}"] = share_between(np.asarray(data.ratings[name], np.float64), codes)
        self._check(targets, codes)
        return codes

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
                "%s: the images with rating %r belong to %d groups only, so p and intervals have few degrees of "
                "freedom and hardly anything can be significant; smaller groups, such as series instead of categories, "
                "or images of more groups would help",
                self._scorer,
                fewest.names[0],
                n_groups,
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
