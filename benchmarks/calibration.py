"""Whether discoveries are as rare as promised where there is nothing to find, with the features of a real run.

    python benchmarks/calibration.py RUN [--groups COLUMN] [--control COLUMN ...] [--shuffles 1000] [--quick]
                                         [--only SCORER ...] [--errors ERRORS] [--difference]

`RUN` is the directory of a finished run with ratings (of OASIS, or of the demo); half of the features used fire on
fewer than 50 images, the others on more. Ratings are shuffled over the images, so whatever is found is false:

- the share of shuffles in which a scorer reports anything at .05, for each correction, with its standard error. For
  Benjamini-Hochberg too that is the chance of any false discovery, since all are false;
- the share of p up to .05 and .001, of rare and frequent features;
- for `raters`, the share of shuffles with a discovery;
- for `moderation`, the same figures for each column of `--control` as a moderator, and for the first two ratings of the
  run, which are shuffled together and compared like ratings by two groups of raters.

With `--groups`, a column of the run's metadata, ratings are then made of which half of the variance lies between its
groups, and which have nothing to do with any feature: the same figures with errors of independent images and of groups.

With `--difference`, the second rating minus the first is shuffled. In OASIS that is skewed (arousal minus valence).

Where it stands with intervals and power: `calibration_groups.py` (r), `selection_coverage.py` (corrected r),
`area_coverage.py` and `area_coverage_groups.py` (areas), `calibration_power.py` (power, judge),
`agreement_coverage.py`, `raters_null.py`, `monosemanticity_null.py`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

import saeviz
from saeviz_correlation.auc import AUC
from saeviz_correlation.base import CorrelationScorer
from saeviz_correlation.moderation import Moderation
from saeviz_correlation.options import (
    AreaOptions,
    CorrelationOptions,
    LinearOptions,
    ModerationOptions,
    PartialOptions,
)
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from saeviz_raters import RatersOptions
from saeviz_raters.scorer import Raters

Kind = tuple[
    type[CorrelationScorer] | type[Moderation], type[CorrelationOptions] | type[ModerationOptions], dict[str, Any]
]

AT_ONCE = 50
"""Shuffled ratings that are scored together."""

LEAST_ACTIVE, RARE = 10, 50
CORRECTIONS = ("bh", "by", "bonferroni")
PERMUTATIONS = 199
N_RATERS = 12
SHARES = (0.3, 0.1)
"""Of the images, how many have a 1 in the binary ratings."""
TWO_RATINGS = "moderation, raters"


@dataclass(frozen=True)
class Real:
    """Some features of a run `[n_images, n_features]`, a rating, columns to hold constant, and groups.

    `other` is the run's second rating, None if there is none or some of these images lack it.
    """

    features: csr_array
    rating: np.ndarray
    other: np.ndarray | None
    controls: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...] | None

    @property
    def rare(self) -> np.ndarray:
        """Whether each feature fires on fewer than 50 images."""
        return np.bincount(self.features.indices, minlength=self.features.shape[1]) < RARE

    def data(self, ratings: Mapping[str, np.ndarray], **more: Any) -> saeviz.ScoreInput:
        """What a scorer gets with other ratings."""
        n, n_features = self.features.shape
        space, ids = saeviz.FeatureSpace(1, "cls", n_features), tuple(f"image {number}" for number in range(n))
        batch = saeviz.FeatureBatch(space, ids, self.features)
        stream = saeviz.FeatureStream(space, partial(iter, [batch]))
        return saeviz.ScoreInput(space, ids, stream, None, dict(ratings), metadata=dict(self.controls), **more)


def read(path: Path, n_features: int, column: str | None, controls: tuple[str, ...]) -> Real:
    """The features of a run that fire on ten images or more, half of them rare, with its first rating."""
    run = saeviz.open_run(path)
    rating, *others = (np.array([item.ratings.get(name, np.nan) for item in run.items]) for name in run.ratings[:2])
    rated = np.flatnonzero(np.isfinite(rating))
    complete = [values[rated] for values in others if np.isfinite(values[rated]).all()]
    all_features = np.hstack([run.features(space).matrix[rated].toarray() for space in run.spaces])
    n_active = (all_features > 0).sum(axis=0)
    generator = np.random.default_rng(0)
    chosen = []
    for kind in ((n_active >= LEAST_ACTIVE) & (n_active < RARE), (n_active >= RARE) & (all_features.std(axis=0) > 0)):
        known = np.flatnonzero(kind)
        chosen.append(generator.permutation(known)[: n_features // 2])
    items = [run.items[row] for row in rated]
    return Real(
        features=csr_array(all_features[:, np.sort(np.concatenate(chosen))].astype(np.float32)),
        rating=rating[rated],
        other=complete[0] if complete else None,
        controls={name: tuple(str(item.metadata[name]) for item in items) for name in controls},
        groups=None if column is None else tuple(str(item.metadata[column]) for item in items),
    )


def scorers(controls: tuple[str, ...], *, two_ratings: bool) -> dict[str, Kind]:
    """Of each scorer its class, that of its options, and options."""
    held = {"partial": (Partial, PartialOptions, {"control": controls})} if controls else {}
    linear: dict[str, Any] = {
        "pearson-bh": (PearsonBH, LinearOptions, {}),
        "spearman": (Spearman, LinearOptions, {}),
        "point-biserial": (PointBiserial, LinearOptions, {}),
    }
    differs: dict[str, Any] = {
        f"moderation, {column}": (Moderation, ModerationOptions, {"moderators": (column,)}) for column in controls
    }
    if two_ratings:
        differs[TWO_RATINGS] = (Moderation, ModerationOptions, {})
    return linear | held | {f"auc, {share:.0%}": (AUC, AreaOptions, {}) for share in SHARES} | differs


def ratings_of(
    scorer: str, numbers: range, draw: Callable[[int], np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The ratings with these numbers, and the options that name them; `draw` gives one and another `[n_images, 2]`.

    For `auc` 1 on the share of images that have the largest.
    """
    drawn = {number: draw(number) for number in numbers}
    if scorer == TWO_RATINGS:
        made = {f"{name} {n}": values for n, both in drawn.items() for name, values in zip("ab", both.T, strict=True)}
        return made, {"rater_groups": [(f"a {n}", f"b {n}") for n in numbers]}
    made = {f"made {n}": both[:, 0] for n, both in drawn.items()}
    if scorer.startswith("auc"):
        share = float(scorer.split()[1].removesuffix("%")) / 100
        made = {name: (values > np.quantile(values, 1 - share)) * 1.0 for name, values in made.items()}
    return made, {}


def any_found(scorer: CorrelationScorer | Moderation, columns: list[saeviz.ScoreColumn]) -> list[bool]:
    """For each rating whether anything is significant, in any contrast."""
    found: dict[str | None, bool] = {}
    for one in scorer.combine(columns):
        if isinstance(one, saeviz.ScoreColumn) and one.name.split(".")[0].endswith("significant"):
            found[one.target] = found.get(one.target, False) or bool(np.nansum(one.values))
    return list(found.values())


class Tally:
    """Shares over shuffles, and of p-values."""

    def __init__(self, rare: np.ndarray) -> None:
        self._rare = rare
        self._found: dict[str, list[bool]] = {}
        self._p = {kind: np.zeros(3) for kind in ("rare", "frequent")}

    def add(self, correction: str, found: list[bool]) -> None:
        """Whether anything was found in some shuffles."""
        self._found.setdefault(correction, []).extend(found)

    def add_p(self, columns: list[saeviz.ScoreColumn], prefix: str) -> None:
        """The p of some shuffles, of the features that are tested."""
        known = {(column.name.removeprefix(prefix), column.target): column.values for column in columns}
        for (name, target), p in known.items():
            kind, *contrast = name.split(".", 1)
            if kind != "p":
                continue
            tested = np.isfinite(known[".".join(["ci_low", *contrast]), target])
            for often, is_kind in (("rare", self._rare), ("frequent", ~self._rare)):
                own = p[tested & is_kind & np.isfinite(p)]
                self._p[often] += (own <= 0.05).sum(), (own <= 0.001).sum(), own.size

    def line(self) -> str:
        """All of it."""
        parts = []
        for correction, found in self._found.items():
            share = np.mean(found)
            parts.append(f"{correction} {share:.3f} +- {np.sqrt(max(share, 1 / len(found)) / len(found)):.3f}")
        for kind, (at_5, at_01, n) in self._p.items():
            parts.append(f"{kind} {at_5 / max(n, 1):.4f} {at_01 / max(n, 1):.5f}")
        return "  ".join(parts)


def batches(n: int) -> Iterator[range]:
    """The numbers below `n`, some at a time."""
    for start in range(0, n, AT_ONCE):
        yield range(start, min(start + AT_ONCE, n))


def shuffled(real: Real, kinds: Mapping[str, Kind], n_shuffles: int, errors: str) -> None:
    """Print a line for each scorer."""
    both = np.column_stack([real.rating, real.rating if real.other is None else real.other])
    for name, (kind, options, values) in kinds.items():
        tally = Tally(real.rare)
        for numbers in batches(n_shuffles):
            made, named = ratings_of(name, numbers, lambda n: np.random.default_rng([1, n]).permutation(both))
            data, columns = real.data(made, groups=real.groups if errors == "clusters" else None), []
            for correction in CORRECTIONS if kind is Moderation or errors != "auto" else (*CORRECTIONS, "max-t"):
                more = {"permutations": PERMUTATIONS} if correction == "max-t" else {}
                chosen = {**values, **named, **more, "family": "rating", "correction": correction, "errors": errors}
                scorer: Any = kind(options.model_validate(chosen), saeviz.Context())
                if correction in ("bh", "max-t"):
                    columns = list(scorer.score(data))
                tally.add(correction, any_found(scorer, columns))
            tally.add_p(columns, prefix_of(kind))
        print(f"{name:<24}{tally.line()}", flush=True)


def rated(real: Real, n_shuffles: int) -> None:
    """Print a line for `raters`: twelve people whose mean is about the shuffled rating."""
    found: list[bool] = []
    for number in range(n_shuffles):
        generator = np.random.default_rng([3, number])
        mean = generator.permutation(real.rating)
        noise = generator.normal(size=(mean.size, N_RATERS)) + generator.normal(size=N_RATERS)
        given = mean[:, None] + mean.std() * noise
        images, raters = np.divmod(np.arange(given.size), N_RATERS)
        names = tuple(f"rater {one}" for one in range(N_RATERS))
        individual = {"liking": saeviz.IndividualRatings(images, raters, given.ravel(), names)}
        scorer = Raters(RatersOptions(splits=1), saeviz.Context())
        results = list(scorer.score(real.data({"liking": given.mean(axis=1)}, individual=individual)))
        columns = [one for one in results if isinstance(one, saeviz.ScoreColumn)]
        columns += [one for one in scorer.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
        found += [bool(np.nansum(one.values)) for one in columns if one.name == "rater_significant"]
    share = float(np.mean(found))
    print(f"{'raters':<24}bh {share:.3f} +- {np.sqrt(max(share, 1 / len(found)) / len(found)):.3f}", flush=True)


def grouped(real: Real, kinds: Mapping[str, Kind], n_ratings: int) -> None:
    """Print a line for each scorer and kind of errors: ratings half of whose variance lies between groups."""
    codes = np.unique(np.array(real.groups), return_inverse=True)[1]
    print(f"\n{n_ratings} ratings that differ between {codes.max() + 1} groups and are related to no feature:")
    for name, (kind, options, values) in kinds.items():
        for errors in ("independent", "clusters"):
            tally = Tally(real.rare)
            for numbers in batches(n_ratings):
                made, named = ratings_of(name, numbers, lambda n: _between(codes, n))
                chosen = {**values, **named, "family": "rating", "errors": errors}
                scorer: Any = kind(options.model_validate(chosen), saeviz.Context())
                columns = list(scorer.score(real.data(made, groups=real.groups)))
                tally.add("bh", any_found(scorer, columns))
                tally.add_p(columns, prefix_of(kind))
            print(f"{name:<24}{errors:<13}{tally.line()}", flush=True)


def prefix_of(kind: type[CorrelationScorer] | type[Moderation]) -> str:
    """What precedes the names of its columns."""
    return "moderation_" if issubclass(kind, Moderation) else kind.prefix


def _between(codes: np.ndarray, seed: int) -> np.ndarray:
    generator = np.random.default_rng([2, seed])
    columns = [generator.normal(size=codes.max() + 1)[codes] + generator.normal(size=codes.size) for _ in range(2)]
    return np.column_stack(columns)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--groups", metavar="COLUMN", help="a column of the metadata")
    parser.add_argument(
        "--control", metavar="COLUMN", nargs="*", default=[], help="columns that `partial` holds constant"
    )
    parser.add_argument("--errors", default="auto", help="of the scorers of shuffled ratings")
    parser.add_argument("--difference", action="store_true", help="shuffle the second rating minus the first")
    parser.add_argument("--shuffles", type=int, default=1000)
    parser.add_argument("--features", type=int, default=2000)
    parser.add_argument("--only-groups", action="store_true", help="leave the shuffles out")
    parser.add_argument("--only", metavar="SCORER", nargs="*", help="scorers whose lines begin with this")
    parser.add_argument("--quick", action="store_true", help="100 shuffles of 400 features")
    arguments = parser.parse_args()
    n_shuffles, n_features = (100, 400) if arguments.quick else (arguments.shuffles, arguments.features)
    logging.getLogger("saeviz").setLevel(logging.ERROR)
    controls = tuple(arguments.control)
    real = read(arguments.run, n_features, arguments.groups, controls)
    if arguments.difference and real.other is not None:
        real = replace(real, rating=real.other - real.rating, other=None)
    begins = tuple(arguments.only or [""])
    kinds = scorers(controls, two_ratings=real.other is not None)
    kinds = {name: kind for name, kind in kinds.items() if name.startswith(begins)}
    if not arguments.only_groups:
        print(f"{n_shuffles} shuffles, {real.features.shape[0]} images, {real.features.shape[1]} features:")
        print("share of shuffles with a discovery at .05; share of p up to .05 and .001 of rare and frequent features")
        shuffled(real, kinds, n_shuffles, arguments.errors)
        if "raters".startswith(begins):
            rated(real, n_shuffles)
    if real.groups is not None:
        grouped(real, kinds, n_shuffles)


if __name__ == "__main__":
    main()
