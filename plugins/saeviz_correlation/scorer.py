"""Scorers whose correlation is a slope between standardized values: with its errors, and with many ratings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import (
    BlockScores,
    Context,
    FeatureSpace,
    MergingScores,
    PairBlock,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
    merged_parts,
)
from saeviz_correlation.base import CorrelationScorer
from saeviz_correlation.bootstrap import Bootstrap
from saeviz_correlation.clusters import group_codes
from saeviz_correlation.exchange import Exchange
from saeviz_correlation.family import Verdict
from saeviz_correlation.grouping import Grouping
from saeviz_correlation.many import ManyRatings, correlated_blocks
from saeviz_correlation.moments import Correlations
from saeviz_correlation.options import MANY, BootstrapOptions, LinearOptions
from saeviz_correlation.parts import CorrelationsInParts
from saeviz_correlation.robust import Robustly
from saeviz_correlation.targets import Targets, finding_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR


class LinearScorer(CorrelationScorer):
    """Base class of the scorers whose correlation is a slope between standardized values.

    If the images have groups, or with `errors` set, p and the interval come from a robust variance (`robust`); then
    `df` is the column of their degrees of freedom. With groups there are also `n_groups`, the number of groups in which
    the feature fires, `r_within`, r after the means of the groups are taken out, and `heterogeneity_p`, the p of
    Cochran's Q for different r in different groups. The other columns are those of `CorrelationScorer`. If ratings are
    permuted, p is how often their r is as large, there is no interval, and r is that within groups for a rating that is
    exchanged within these.
    """

    options: LinearOptions

    def __init__(self, options: LinearOptions, context: Context) -> None:
        super().__init__(options, context)
        self._grouping = Grouping(self.name, options.errors, options.correction, context)
        self._many: ManyRatings | None = None

    @property
    def is_permuted(self) -> bool:
        """Whether p comes from permuted ratings, of images in groups."""
        return self._grouping.kind == "permutation"

    def exchanges(self, data: ScoreInput, names: Sequence[str]) -> list[Exchange]:
        """How ratings may be exchanged among images: within groups, or whole groups."""
        if self._grouping.resolve(data) != "permutation":
            return super().exchanges(data, names)
        return self._grouping.exchanges(data, names, whole_groups=self.options.exchanges_whole_groups)

    def reason(self, rating: str) -> str:
        """Why a rating may have no correlations; one is that its images belong to one or two groups."""
        return self._grouping.reason(rating) or super().reason(rating)

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space; with many ratings only `combine` knows which are kept."""
        names = self._chosen(data)
        if len(names) <= MANY:
            yield from super().score(data)
            return
        if self._many is None:
            self._many = ManyRatings(self.name, names, self.options, self.prefix, self.context.workdir)
        data = data.with_targets(names)
        finding = finding_images(data.item_ids, self.options.split, self.context.seed, data.groups)
        found_on = self.targets(data, names, finding)
        held_out = [] if self.options.split is None else self.targets(data, names, ~finding)
        targets = [*found_on, *held_out]
        blocks = correlated_blocks(data, targets, self.prepare, self.as_entered, self.robustly(data, targets))
        named = ((features, self._named(found, len(found_on))) for features, found in blocks)
        self._many.add(data.space, named, self.is_tested)

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | PairBlock | ScoreFact]:
        """What needs all spaces."""
        if self._many is None:
            yield from super().combine(columns)
            return
        yield from self._many.combine()
        facts = self._of_family(self._many.sizes) | self._many.facts()
        if silent := self._many.silent():
            self.context.logger.warning(
                "%s: no correlations with %d of %d ratings, such as %r: %s",
                self.name,
                len(silent),
                self._many.n_ratings,
                silent[0],
                self.reason(silent[0]),
            )
        yield from self._as_facts(facts)

    def in_blocks(self, data: ScoreInput) -> BlockScores | None:
        """As of the base class; with many ratings, what is kept of a space is more than columns."""
        return None if len(self._chosen(data)) > MANY else super().in_blocks(data)

    def robustly(self, data: ScoreInput, targets: Sequence[Targets]) -> Robustly | None:
        """How p and intervals are computed if images are not taken as independent."""
        codes = self._grouping.codes(data, self._chosen(data), targets)
        if codes is not None:
            return Robustly(targets, codes, self.inflation)
        return Robustly(targets, None, None) if self._grouping.kind == "hc2" else None

    def values(self, found: Correlations) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """The columns of each rating, but for `n` and `n_active`."""
        robust = found.robust
        if found.permuted_p is not None:
            unknown = np.full(len(found.r), np.nan)
            for name, r, p in zip(found.targets.names, found.r.T, found.permuted_p.T, strict=True):
                yield name, {"r": r, "p": np.where(np.isnan(r), np.nan, p), "ci_low": unknown, "ci_high": unknown}
            return
        if robust is None:
            yield from super().values(found)
            return
        for place, rating in enumerate(found.targets.names):
            columns: dict[str, NDArray[Any]] = {
                "r": found.r[:, place],
                "p": robust.p[:, place],
                "ci_low": robust.low[:, place],
                "ci_high": robust.high[:, place],
                "df": robust.df,
            }
            if self._grouping.kind == "clusters":
                columns["n_groups"] = robust.n_groups
                columns["r_within"] = robust.within[:, place]
                columns["heterogeneity_p"] = robust.differs[:, place]
            yield rating, columns

    def further_facts(self) -> Mapping[str, object]:
        """The kind of errors, the number of groups, and the share of each rating's variance between them."""
        return self._grouping.facts


class ProductMoment(LinearScorer):
    """Base class of the scorers whose r follows from sums over the images, or a sample of them, whatever their order.

    With `bootstrap`, significant relations also have `ci_low_bootstrap`, `ci_high_bootstrap` and `stability`.
    """

    def __init__(self, options: LinearOptions, context: Context) -> None:
        super().__init__(options, context)
        self._n_samples = options.bootstrap if isinstance(options, BootstrapOptions) else 0
        self._scored: dict[FeatureSpace, ScoreInput] = {}  # from `score` to `combine`; features stay in the store

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space."""
        if self._n_samples:
            self._scored[data.space] = data.with_targets(self._chosen(data))
        if (in_parts := self._in_parts(data)) is None:
            yield from super().score(data)
        else:
            yield from in_parts.finish(merged_parts(in_parts, data))

    def in_parts(self, data: ScoreInput) -> MergingScores | None:
        """The columns from parts of the images (`saeviz.MergingScorer`); None with samples, which need all of them."""
        return None if self._n_samples else self._in_parts(data)

    def in_blocks(self, data: ScoreInput) -> BlockScores | None:
        """As of the base class; None with samples, which are drawn of what was found."""
        return None if self._n_samples else super().in_blocks(data)

    def _in_parts(self, data: ScoreInput) -> CorrelationsInParts | None:
        """None if all images of a feature are needed: to permute ratings, for robust errors, with many ratings.

        None also if there is nothing to correlate with.
        """
        if self.options.correction == "max-t" or len(self._chosen(data)) > MANY:
            return None
        if self._grouping.resolve(data) != "independent":
            return None
        data, found_on, held_out = self._samples(data)
        targets = [one for one, _ in (*found_on, *held_out)]
        if not targets:
            return None
        return CorrelationsInParts(targets, self.prepare, partial(self._columns, data.space, n_found_on=len(found_on)))

    def after(self, verdicts: Sequence[Verdict]) -> Iterator[ScoreColumn]:
        """Intervals and stability of what was found, space by space."""
        for space, data in self._scored.items():
            own = {verdict.tests.rating: verdict for verdict in verdicts if verdict.tests.space == space}
            finding = finding_images(data.item_ids, self.options.split, self.context.seed, data.groups)
            codes = group_codes(data.groups) if data.groups and self._grouping.kind == "clusters" else None
            bootstrap = Bootstrap(self._n_samples, self.context.seed, codes)
            targets = self.targets(data, self._chosen(data), finding) if own else []
            for rating, columns in bootstrap.columns(data, self.prepare, targets, own) if targets else ():
                yield from self._of_rating(space, rating, columns)

    def further_facts(self) -> Mapping[str, object]:
        """As of `LinearScorer`, and the number of samples."""
        drawn = {"bootstrap": self._n_samples} if self._n_samples else {}
        return {**super().further_facts(), **drawn}


class PearsonBH(ProductMoment):
    """Pearson's r between a feature's activation and a rating; see `LinearScorer` for the columns."""

    name = "pearson-bh"
    prefix = ""
    measure = "Pearson's r"


class PointBiserial(ProductMoment):
    """Pearson's r between a feature's being active (1, else 0) and a rating: the point-biserial correlation.

    It asks whether the feature fires, not how much. The interval is Fisher's, as for any r.
    """

    name = "point-biserial"
    prefix = "point_biserial_"
    measure = "point-biserial r"

    def prepare(self, matrix: CSR) -> CSR:
        """1 where a feature is active."""
        from scipy.sparse import csr_array

        active = (matrix.data > 0).astype(np.float32)
        return csr_array((active, matrix.indices, matrix.indptr), shape=matrix.shape)
