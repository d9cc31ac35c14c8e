"""Whether p-values and intervals of correlations keep their promise, for independent images and for images in groups.

    python benchmarks/calibration_groups.py [DATA_SETS [SCORER]]

Simulated: 600 images; ratings and features are normal, half of their variance lies between groups, and a feature fires
where it is above a threshold. First table: no feature has to do with the rating. It has the share of p up to .05 and
.001, and the share of data sets in which Benjamini and Hochberg at .05 find anything, and in which that holds on the
other half of the groups (of the images where errors = independent). Second table: the share of 95 % intervals that
contain the true correlation. Both have naive and robust errors side by side.

The scorer is `pearson-bh`, `spearman` or `partial`. For `partial`, half of the rating's variance and a fifth of each
feature's comes from a number, half of whose variance lies between groups, and from the four categories of images; both
are held constant, and the true correlation is that of the rest.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.stats import norm

import saeviz
from saeviz_correlation.options import LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import LinearScorer, PearsonBH
from saeviz_correlation.spearman import Spearman

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

N_IMAGES, N_FEATURES = 600, 300
DESIGNS = ("independent", "100 groups", "30 groups", "30 unequal groups", "10 groups")
CORRELATIONS = (0.0, 0.2, 0.5)
SHARES = (0.4, 0.1)
ERRORS = ("independent", "hc2", "clusters")
SCORERS: Mapping[str, tuple[type[LinearScorer], type[LinearOptions], Mapping[str, Any]]] = {
    "pearson-bh": (PearsonBH, LinearOptions, {}),
    "spearman": (Spearman, LinearOptions, {}),
    "partial": (Partial, PartialOptions, {"control": ("number", "category")}),
}


def main(n_sets: int, scorer: str) -> None:
    """Print both tables."""
    logging.getLogger("saeviz").setLevel(logging.ERROR)
    print(f"{'no relation':<20}{'errors':<14}{'p <= .05':>10}{'p <= .001':>11}{'any q':>8}{'replicated':>12}")
    for design in DESIGNS:
        for errors, figures in null(design, n_sets, scorer).items():
            print(
                f"{design:<20}{errors:<14}{figures[0]:>10.3f}{figures[1]:>11.4f}{figures[2]:>8.2f}{figures[3]:>12.2f}"
            )
    columns = [f"{share:.0%} r={r}" for share in SHARES for r in CORRELATIONS]
    print(f"\n{'intervals':<20}{'errors':<14}" + "".join(f"{column:>11}" for column in columns))
    for design in DESIGNS:
        for errors, covered in coverage(design, n_sets, scorer).items():
            print(f"{design:<20}{errors:<14}" + "".join(f"{share:>11.3f}" for share in covered))


def null(design: str, n_sets: int, scorer: str) -> dict[str, FloatArray]:
    """For each kind of errors the four figures of the first table."""
    totals: dict[str, FloatArray] = {}
    for seed in range(n_sets):
        generator = np.random.default_rng([1, seed])
        codes = groups_of(design, generator)
        rating = correlated(codes, generator, 1)[:, 0]
        features = np.maximum(correlated(codes, generator, N_FEATURES) - norm.isf(0.3), 0)
        for errors, data in _inputs(features, rating, codes, seed, scorer):
            found = scored(data, scorer, errors)
            halves = scored(data, scorer, errors, split=0.5)
            p = found["p"][np.isfinite(found["p"])]
            replicated = np.nansum(halves["replicated"]) > 0
            new = np.array([(p <= 0.05).mean(), (p <= 0.001).mean(), np.nansum(found["significant"]) > 0, replicated])
            totals[errors] = totals.get(errors, np.zeros(4)) + new / n_sets
    return totals


def coverage(design: str, n_sets: int, scorer: str) -> dict[str, FloatArray]:
    """For each kind of errors the share of intervals that hold, for each share of images and true correlation."""
    cells = [(share, r) for share in SHARES for r in CORRELATIONS]
    each = N_FEATURES // len(cells)
    truth = np.repeat([r for _, r in cells], each)
    latent_of = _latent_of_ranks if scorer == "spearman" else _latent
    mixed = np.repeat([latent_of(share, r) for share, r in cells], each)
    totals: dict[str, FloatArray] = {}
    for seed in range(n_sets):
        generator = np.random.default_rng([2, seed])
        codes = groups_of(design, generator)
        rating = correlated(codes, generator, 1)
        latent = mixed * rating + np.sqrt(1 - mixed**2) * correlated(codes, generator, N_FEATURES)
        features = np.maximum(latent - np.repeat([norm.isf(share) for share, _ in cells], each), 0)
        for errors, data in _inputs(features, rating[:, 0], codes, seed, scorer):
            found = scored(data, scorer, errors)
            held = (found["ci_low"] <= truth) & (truth <= found["ci_high"])
            totals[errors] = totals.get(errors, np.zeros(len(cells))) + held.reshape(-1, each).mean(axis=1) / n_sets
    return totals


def groups_of(design: str, generator: np.random.Generator) -> IntArray | None:
    """The group of every image, None for independent images."""
    if design == "independent":
        return None
    n_groups = int(design.split(maxsplit=1)[0])
    if "unequal" in design:
        sizes = generator.dirichlet(np.full(n_groups, 1.0))
        return np.concatenate([np.arange(n_groups), generator.choice(n_groups, N_IMAGES - n_groups, p=sizes)])
    return np.arange(N_IMAGES) % n_groups


def correlated(codes: IntArray | None, generator: np.random.Generator, n: int) -> FloatArray:
    """Normal values `[N_IMAGES, n]` with variance 1, half of it between groups."""
    own = generator.normal(size=(N_IMAGES, n))
    if codes is None:
        return own
    return np.sqrt(0.5) * (own + generator.normal(size=(int(codes.max()) + 1, n))[codes])


def _latent(share: float, r: float) -> float:
    """The correlation before the threshold that makes it r afterwards, by Stein's lemma."""
    t = norm.isf(share)
    mean = norm.pdf(t) - t * share
    square = (1 + t**2) * share - t * norm.pdf(t)
    return float(r * np.sqrt(square - mean**2) / share)


def _latent_of_ranks(share: float, r: float) -> float:
    """The same for Spearman's rho, ties with the mean of their ranks."""
    probability = (np.arange(20_000) + 0.5) / 20_000
    latent, rank = norm.ppf(probability), np.where(probability > 1 - share, probability, (1 - share) / 2)

    def rho(mixed: float) -> float:
        expected = norm.cdf(mixed * latent / np.sqrt(2 - mixed**2))  # of the rank of the rating
        return float(np.mean((rank - 0.5) * (expected - 0.5)) / np.sqrt(np.mean((rank - 0.5) ** 2) / 12))

    return float(brentq(lambda mixed: rho(mixed) - r, 0, 1))


def _inputs(
    features: FloatArray, rating: FloatArray, codes: IntArray | None, seed: int, scorer: str
) -> Iterator[tuple[str, saeviz.ScoreInput]]:
    metadata: dict[str, tuple[str, ...]] = {}
    if scorer == "partial":
        generator = np.random.default_rng([3, seed])
        number, category = correlated(codes, generator, 1)[:, 0], generator.integers(4, size=N_IMAGES)
        common = np.sqrt(0.5) * (number + (category - 1.5) / np.sqrt(1.25))
        features, rating = features + 0.5 * features.std(axis=0) * common[:, None], rating + common
        metadata = {"number": tuple(map(repr, number.tolist())), "category": tuple(f"kind {one}" for one in category)}
    space = saeviz.FeatureSpace(1, "cls", N_FEATURES)
    ids = tuple(f"set {seed} image {number}" for number in range(N_IMAGES))
    batch = saeviz.FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    stream = saeviz.FeatureStream(space, lambda: iter([batch]))
    names = None if codes is None else tuple(map(str, codes.tolist()))
    for errors in ERRORS:
        if errors == "clusters":
            if names is not None:
                yield (
                    errors,
                    saeviz.ScoreInput(space, ids, stream, None, {"rating": rating}, groups=names, metadata=metadata),
                )
        elif errors == "independent" or codes is None:
            yield errors, saeviz.ScoreInput(space, ids, stream, None, {"rating": rating}, metadata=metadata)


def scored(data: saeviz.ScoreInput, scorer: str, errors: Any, **options: Any) -> Mapping[str, FloatArray]:
    """The columns of the scorer, without its prefix."""
    kind, options_of, values = SCORERS[scorer]
    one = kind(options_of.model_validate({**values, "errors": errors, **options}), saeviz.Context())
    columns = list(one.score(data))
    columns += [each for each in one.combine(columns) if isinstance(each, saeviz.ScoreColumn)]
    return {column.name.removeprefix(kind.prefix): column.values for column in columns}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", nargs="?", type=int, default=200)
    parser.add_argument("scorer", nargs="?", choices=list(SCORERS), default="pearson-bh")
    given = parser.parse_args()
    main(given.data_sets, given.scorer)
