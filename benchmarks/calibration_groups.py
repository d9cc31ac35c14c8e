"""Whether p-values and intervals of correlations keep their promise, for independent images and for images in groups.

    python benchmarks/calibration_groups.py [DATA_SETS]

Simulated: 600 images; ratings and features are normal, half of their variance lies between groups, and a feature fires
where it is above a threshold. First table: no feature has to do with the rating. It has the share of p up to .05 and
.001, and the share of data sets in which Benjamini and Hochberg at .05 find anything, and in which that holds on the
other half of the groups (of the images where errors = independent). Second table: the share of 95 % intervals that
contain the true correlation. Both have naive and robust errors side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import norm

import saeviz
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

N_IMAGES, N_FEATURES = 600, 300
DESIGNS = ("independent", "100 groups", "30 groups", "30 unequal groups", "10 groups")
CORRELATIONS = (0.0, 0.2, 0.5)
SHARES = (0.4, 0.1)
ERRORS = ("independent", "hc2", "clusters")


def main(n_sets: int) -> None:
    """Print both tables."""
    logging.getLogger("saeviz").setLevel(logging.ERROR)
    print(f"{'no relation':<20}{'errors':<14}{'p <= .05':>10}{'p <= .001':>11}{'any q':>8}{'replicated':>12}")
    for design in DESIGNS:
        for errors, figures in null(design, n_sets).items():
            print(
                f"{design:<20}{errors:<14}{figures[0]:>10.3f}{figures[1]:>11.4f}{figures[2]:>8.2f}{figures[3]:>12.2f}"
            )
    columns = [f"{share:.0%} r={r}" for share in SHARES for r in CORRELATIONS]
    print(f"\n{'intervals':<20}{'errors':<14}" + "".join(f"{column:>11}" for column in columns))
    for design in DESIGNS:
        for errors, covered in coverage(design, n_sets).items():
            print(f"{design:<20}{errors:<14}" + "".join(f"{share:>11.3f}" for share in covered))


def null(design: str, n_sets: int) -> dict[str, FloatArray]:
    """For each kind of errors the four figures of the first table."""
    totals: dict[str, FloatArray] = {}
    for seed in range(n_sets):
        generator = np.random.default_rng([1, seed])
        codes = groups_of(design, generator)
        rating = correlated(codes, generator, 1)[:, 0]
        features = np.maximum(correlated(codes, generator, N_FEATURES) - norm.isf(0.3), 0)
        for errors, data in _inputs(features, rating, codes, seed):
            found = scored(data, errors)
            halves = scored(data, errors, split=0.5)
            p = found["p"][np.isfinite(found["p"])]
            replicated = np.nansum(halves["replicated"]) > 0
            new = np.array([(p <= 0.05).mean(), (p <= 0.001).mean(), np.nansum(found["significant"]) > 0, replicated])
            totals[errors] = totals.get(errors, np.zeros(4)) + new / n_sets
    return totals


def coverage(design: str, n_sets: int) -> dict[str, FloatArray]:
    """For each kind of errors the share of intervals that hold, for each share of images and true correlation."""
    cells = [(share, r) for share in SHARES for r in CORRELATIONS]
    each = N_FEATURES // len(cells)
    truth = np.repeat([r for _, r in cells], each)
    totals: dict[str, FloatArray] = {}
    for seed in range(n_sets):
        generator = np.random.default_rng([2, seed])
        codes = groups_of(design, generator)
        rating = correlated(codes, generator, 1)
        mixed = np.repeat([_latent(share, r) for share, r in cells], each)
        latent = mixed * rating + np.sqrt(1 - mixed**2) * correlated(codes, generator, N_FEATURES)
        features = np.maximum(latent - np.repeat([norm.isf(share) for share, _ in cells], each), 0)
        for errors, data in _inputs(features, rating[:, 0], codes, seed):
            found = scored(data, errors)
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


def _inputs(
    features: FloatArray, rating: FloatArray, codes: IntArray | None, seed: int
) -> Iterator[tuple[str, saeviz.ScoreInput]]:
    space = saeviz.FeatureSpace(1, "cls", N_FEATURES)
    ids = tuple(f"set {seed} image {number}" for number in range(N_IMAGES))
    batch = saeviz.FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    stream = saeviz.FeatureStream(space, lambda: iter([batch]))
    names = None if codes is None else tuple(map(str, codes.tolist()))
    for errors in ERRORS:
        if errors == "clusters":
            if names is not None:
                yield errors, saeviz.ScoreInput(space, ids, stream, None, {"rating": rating}, groups=names)
        elif errors == "independent" or codes is None:
            yield errors, saeviz.ScoreInput(space, ids, stream, None, {"rating": rating})


def scored(data: saeviz.ScoreInput, errors: Any, **options: Any) -> Mapping[str, FloatArray]:
    """The columns of `pearson-bh`."""
    scorer = PearsonBH(LinearOptions(errors=errors, **options), saeviz.Context())
    columns = list(scorer.score(data))
    columns += [one for one in scorer.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
    return {column.name: column.values for column in columns}


if __name__ == "__main__":
    main(how_many(__doc__, 200))
