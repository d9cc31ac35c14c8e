"""The base class of scorers that correlate every feature with every rating and adjust for multiple testing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from saeviz import (
    BlockScores,
    Context,
    FeatureSpace,
    PairBlock,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
    merged_parts,
)
from saeviz_correlation.blocks import CorrelationsInBlocks, OfBlock
from saeviz_correlation.columns import feature_blocks
from saeviz_correlation.exchange import Exchange
from saeviz_correlation.facts import agreement, counts, smallest_detectable
from saeviz_correlation.family import Key, Permuted, Tests, Verdict, families, judge, tests_of
from saeviz_correlation.inference import confidence_interval, p_values
from saeviz_correlation.moments import Correlations, r_and_p
from saeviz_correlation.options import CorrelationOptions
from saeviz_correlation.parts import CorrelationsInParts
from saeviz_correlation.permutation import LargestCorrelations, Permutations
from saeviz_correlation.robust import Robustly
from saeviz_correlation.selection import cutoff
from saeviz_correlation.targets import Targets, finding_images, make_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, FloatArray, IntArray, Mask


FEW_AT_SMALLEST = 10
"""So many tests with the smallest p that permutations give may be needed for a discovery, without a warning."""

NEED_INTERVALS = ("negligible", "r_corrected", "ci_low_corrected", "ci_high_corrected")
"""Columns that follow from intervals, which permuted ratings do not give."""


class CorrelationScorer:
    """Base class of the scorers of this plugin, which differ in what they correlate.

    Columns per rating, over its rated images, each name preceded by the scorer's `prefix`: `n`, `n_active` (number of
    these on which the feature fires), `r`, `p` (two-sided, Student's t), `ci_low` and `ci_high` (95 %, Fisher's z),
    then `q`, the adjusted p, and `significant` (1 or 0). r is NaN for a feature or rating that does not vary and below
    3 images. A feature that fires on fewer than `min_active` of the rated images is not a member of the family: it has
    r and p, but its q and `significant` are NaN.

    With `split` these are computed on one part of the images; `n_held_out`, `r_held_out`, `p_held_out`,
    `ci_low_held_out` and `ci_high_held_out` on the others. For significant relations, `q_held_out` is the p there,
    adjusted over these tests only, and `replicated` is 1 if that is at most alpha and r has the same sign, else 0; both
    are NaN for everything else. Without `split`, significant relations have `r_corrected`, `ci_low_corrected` and
    `ci_high_corrected` instead: r given that it was found significant. `negligible` is 1 where a test of equivalence
    shows |r| < `negligible_r`, else 0.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]
    measure: ClassVar[str]
    why_silent: ClassVar[str] = "fewer than 3 images have it, or it never varies"
    kind: ClassVar[type[Correlations]] = Correlations
    why_nothing: ClassVar[str] = "the images have no ratings, so there is nothing to correlate with"

    def __init__(self, options: CorrelationOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._permuted: dict[Key, Permuted] = {}  # of max-t, from `score` to `combine`

    def reason(self, _rating: str) -> str:
        """Why a rating may have no correlations."""
        return self.why_silent

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space."""
        scores = self._in_blocks(data)
        blocks = feature_blocks(data, lambda matrix: matrix) if scores.targets else ()
        yield from scores.finish(scores.block(features, block) for features, block in blocks)

    def in_blocks(self, data: ScoreInput) -> BlockScores | None:
        """The columns from blocks of features (`saeviz.BlockScorer`); None if there is nothing to correlate with."""
        scores = self._in_blocks(data)
        return scores if scores.targets else None

    def _in_blocks(self, data: ScoreInput) -> CorrelationsInBlocks:
        data, found_on, held_out = self._samples(data)
        targets = [one for one, _ in (*found_on, *held_out)]
        largest = self._largest(data, found_on, held_out)
        of_block = self.correlating(data, targets, self.robustly(data, targets))
        columns = partial(self._of_blocks, data.space, n_found_on=len(found_on))
        return CorrelationsInBlocks(targets, largest, of_block, columns, self.kind)

    def _of_blocks(
        self,
        space: FeatureSpace,
        correlations: list[Correlations],
        largest: Sequence[LargestCorrelations],
        n_found_on: int,
    ) -> Iterator[ScoreColumn]:
        for place, one in enumerate(largest):
            self._keep_largest(space, one, correlations[place], found=place < n_found_on)
            if self.is_permuted:
                correlations[place] = replace(correlations[place], permuted_p=one.p_of_each())
        yield from self._columns(space, correlations, n_found_on)

    def targets(
        self, data: ScoreInput, ratings: Sequence[str], images: Mask, within: IntArray | None = None
    ) -> list[Targets]:
        """The ratings on these images, as they enter the correlation; without the means of the groups `within`."""
        return list(make_targets(data, ratings, images, within=within))

    @property
    def is_permuted(self) -> bool:
        """Whether p comes from permuted ratings."""
        return False

    def exchanges(self, _data: ScoreInput, names: Sequence[str]) -> list[Exchange]:
        """How ratings may be exchanged among images."""
        return [Exchange(tuple(names))]

    def prepare(self, matrix: CSR) -> CSR:
        """Features of some images, as they enter the correlation."""
        return matrix

    def robustly(self, _data: ScoreInput, _targets: Sequence[Targets]) -> Robustly | None:
        """How p and intervals are computed if images are not taken as independent."""
        return None

    def correlating(self, data: ScoreInput, targets: Sequence[Targets], robustly: Robustly | None) -> OfBlock:
        """What correlates features of all images with each of the targets."""

        def of_block(place: int, values: CSR, largest: LargestCorrelations | None) -> Correlations:
            entered = self.as_entered(self.prepare(values), targets[place])
            found = self.correlations(data, targets[place], entered)
            if robustly is not None:
                found = robustly.of(place, found, entered)
            if largest is not None:
                self.add(largest, entered, found)
            return found

        return of_block

    def as_entered(self, block: CSR, _targets: Targets) -> CSR:
        """Features of all images as they enter the correlation with these targets."""
        return block

    def correlations(self, data: ScoreInput, targets: Targets, entered: CSR) -> Correlations:
        """Those of the features that enter them, to the last bit as from parts of the images."""
        in_parts = CorrelationsInParts([targets], lambda matrix: matrix, lambda _: ())
        return in_parts.correlations(merged_parts(in_parts, data.with_features(entered)))[0]

    def add(self, largest: LargestCorrelations, block: CSR, found: Correlations) -> None:
        """Permute what is correlated with the features of a block, for which this was found."""
        r = found.r if self.is_permuted else None
        largest.add(block, found.spread_of_active(self.options.min_active), r)

    def p_of(self, r: FloatArray, df: int) -> FloatArray:
        """The p of r, on which permuted ratings are compared."""
        return p_values(r, df)

    def values(self, found: Correlations) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """The columns of each rating, but for `n` and `n_active`."""
        for rating, r, p in r_and_p(found):
            low, high = self.interval(r, found.targets.df)
            yield rating, {"r": r, "p": p, "ci_low": low, "ci_high": high}

    def is_tested(self, values: Mapping[str, FloatArray]) -> Mask:
        """Which features are members of the family, by the columns of a rating without prefix."""
        return np.isfinite(values["p"]) & (values["n_active"] >= self.options.min_active)

    def interval(self, r: FloatArray, df: int) -> tuple[FloatArray, FloatArray]:
        """The 95 % interval of r."""
        return confidence_interval(r, df, self.inflation(r))

    def inflation(self, _r: FloatArray) -> FloatArray | float:
        """How much larger the variance of Fisher's z is than for normal variables."""
        return 1.0

    def further_facts(self) -> Mapping[str, object]:
        """Further facts about the measure."""
        return {}

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | PairBlock | ScoreFact]:
        """What needs all spaces: `q`, `significant` and, with `split`, what became of it on the held-out images."""
        tests = tests_of(columns, self.prefix, self.is_tested)
        self._warn_of_silence(tests)
        groups = families(tests, self.options.family)
        verdicts = [verdict for group in groups.values() for verdict in judge(group, self.options, self._permuted)]
        for verdict in verdicts:
            needs_interval = NEED_INTERVALS if self.is_permuted else ()
            kept = {name: values for name, values in verdict.columns.items() if name not in needs_interval}
            yield from self._of_rating(verdict.tests.space, verdict.tests.rating, kept)
        yield from self.after(verdicts)
        sizes = {name: sum(int(one.member.sum()) for one in group) for name, group in groups.items()}
        self._warn_of_few_permutations(max(sizes.values(), default=0))
        yield from self._as_facts(self._facts(sizes, verdicts))

    def after(self, _verdicts: Sequence[Verdict]) -> Iterator[ScoreColumn]:
        """Further columns, of what was found."""
        yield from ()

    def _chosen(self, data: ScoreInput) -> tuple[str, ...]:
        place = f"scorers.{self.name}"
        self.options.check_columns(place, data.ratings, data.metadata, data.of_images)
        self.options.check_groups(place, data.groups is not None)
        return tuple(dict.fromkeys(data.ratings if self.options.ratings is None else self.options.ratings))

    def _samples(
        self, data: ScoreInput
    ) -> tuple[ScoreInput, list[tuple[Targets, Exchange]], list[tuple[Targets, Exchange]]]:
        """The data with all targets, and these as they are on the images for finding and on those held out."""
        names = self._chosen(data)
        data = data.with_targets(names)
        finding = finding_images(data.item_ids, self.options.split, self.context.seed, data.groups)
        exchanges = self.exchanges(data, names)
        found_on = self._exchanged(data, exchanges, finding)
        held_out = [] if self.options.split is None else self._exchanged(data, exchanges, ~finding)
        return data, found_on, held_out

    def _columns(
        self, space: FeatureSpace, correlations: Sequence[Correlations], n_found_on: int
    ) -> Iterator[ScoreColumn]:
        for rating, columns in self._named(correlations, n_found_on):
            yield from self._of_rating(space, rating, columns)

    def _exchanged(
        self, data: ScoreInput, exchanges: Sequence[Exchange], images: Mask
    ) -> list[tuple[Targets, Exchange]]:
        return [(one, each) for each in exchanges for one in self.targets(data, each.names, images, each.sets)]

    def _largest(
        self,
        data: ScoreInput,
        found_on: Sequence[tuple[Targets, Exchange]],
        held_out: Sequence[tuple[Targets, Exchange]],
    ) -> list[LargestCorrelations]:
        is_max_t = self.options.correction == "max-t"
        pairs = [*(found_on if is_max_t or self.is_permuted else ()), *(held_out if self.is_permuted else ())]
        n, seed = self.options.permutations, self.context.seed
        return [
            LargestCorrelations(one, Permutations(data.item_ids, n, seed, each, exact=None if is_max_t else one.rated))
            for one, each in pairs
        ]

    def _keep_largest(
        self, space: FeatureSpace, one: LargestCorrelations, observed: Correlations, *, found: bool
    ) -> None:
        """For `combine`, what `max-t` compares."""
        if self.options.correction != "max-t" or not found:
            return
        for place, (name, smallest) in enumerate(zip(one.targets.names, one.smallest_p(self.p_of).T, strict=True)):
            own = self.p_of(observed.r[:, place], one.targets.df) if self.is_permuted else None
            self._permuted[space, name] = Permuted(smallest, own, one.of_whole_groups)

    def _named(self, found: Sequence[Correlations], n_found_on: int) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """Ratings and their columns without prefix; what comes after the first `n_found_on` is of held-out images."""
        for place, one in enumerate(found):
            suffix = "" if place < n_found_on else "_held_out"
            n = np.full(one.n_active.shape, one.targets.n)
            of_all = {"n": n} if suffix else {"n": n, "n_active": one.n_active}
            for rating, values in self.values(one):
                yield rating, {name + suffix: given for name, given in {**of_all, **values}.items()}

    def _of_rating(
        self, space: FeatureSpace, rating: str, columns: Mapping[str, NDArray[Any]]
    ) -> Iterator[ScoreColumn]:
        for name, values in columns.items():
            yield ScoreColumn(self.prefix + name, space, values, target=rating)

    def _facts(self, sizes: Mapping[str, int], verdicts: Sequence[Verdict]) -> dict[str, object]:
        options = self.options
        facts = self._of_family(sizes)
        facts |= counts("significant", verdicts)
        if not self.is_permuted:
            facts |= counts("negligible", verdicts)
            facts["margin"] = options.negligible_r
            facts |= smallest_detectable(verdicts)
        if options.split is not None:
            facts |= counts("replicated", verdicts)
            facts |= agreement(verdicts)
        return facts

    def _of_family(self, sizes: Mapping[str, int]) -> dict[str, object]:
        options = self.options
        facts: dict[str, object] = {
            "measure": self.measure,
            "correction": options.correction,
            "family": options.family,
            "family_size": sizes["run"] if options.family == "run" else [f"{name}: {n}" for name, n in sizes.items()],
            "alpha": options.alpha,
            "min_active": options.min_active,
        }
        if options.correction == "max-t" or self.is_permuted:
            facts["permutations"] = options.permutations
        if options.split is not None:
            facts["split"] = options.split
        return {**facts, **self.further_facts()}

    def _as_facts(self, facts: Mapping[str, object]) -> Iterator[ScoreFact]:
        for name, value in facts.items():
            yield ScoreFact(f"{self.prefix or 'correlation_'}{name}", value)

    def _warn_of_few_permutations(self, n_tests: int) -> None:
        """Warns if p is too coarse for a family of this size; `max-t` does not go by the p of each test."""
        correction, smallest = self.options.correction, 1 / (1 + self.options.permutations)
        if not self.is_permuted or correction == "max-t":
            return
        largest_p = cutoff(correction, self.options.alpha, n_tests, 1, None)  # of a single discovery
        if smallest > largest_p * (1 if correction == "bonferroni" else FEW_AT_SMALLEST):
            self.context.logger.warning(
                "%s: with %d permutations no p is below %.2g, and in a family of %d tests %s; use correction = 'max-t'"
                ", raise permutations, or adjust fewer tests together",
                self.name,
                self.options.permutations,
                smallest,
                n_tests,
                "nothing can be significant"
                if correction == "bonferroni"
                else f"nothing is significant unless {ceil(smallest / largest_p)} tests have that p",
            )

    def _warn_of_silence(self, tests: Sequence[Tests]) -> None:
        logger = self.context.logger
        if not tests:
            logger.warning("%s: %s", self.name, self.why_nothing)
        for rating in dict.fromkeys(one.rating for one in tests):
            own = [one for one in tests if one.rating == rating]
            if all(np.isnan(one.p).all() for one in own):
                logger.warning("%s: rating %r has no correlations: %s", self.name, rating, self.reason(rating))
            elif all(one.held_out is not None and np.isnan(one.held_out[1]).all() for one in own):
                where = "cannot be tested on the held-out images"
                logger.warning("%s: rating %r %s: %s", self.name, rating, where, self.reason(rating))
