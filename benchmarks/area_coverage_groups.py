"""How often `auc` finds what is not there in images in groups, and how often its interval contains the true area.

    python benchmarks/area_coverage_groups.py [DATA_SETS]

Simulated: 600 images in groups; feature and rating are normal values above a threshold, half of whose variance lies
between groups, or all of the rating's. First the share of p up to .05 and .001 of features without a relation, by
errors of independent images and of groups, then the share of 95 % intervals that contain the true r (2 area - 1) where
there is none, and with a correlation of .4 between the normal values. Of the features that are tested with groups;
`tested` is their share.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import norm, rankdata

import saeviz
from saeviz_correlation.auc import AUC
from saeviz_correlation.options import AreaOptions

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

N_IMAGES, N_FEATURES = 600, 150
GROUPS = (100, 30, 12)
BETWEEN = (0.5, 1.0)
SHARES_OF_ONES = (0.3, 0.1)
SHARES = (0.7, 0.4, 0.1)
RELATION = 0.4
KINDS: tuple[Literal["independent", "clusters"], ...] = ("independent", "clusters")


def in_groups(codes: IntArray, between: float, n: int, generator: np.random.Generator) -> FloatArray:
    """Normal values `[N_IMAGES, n]` of variance 1, a share of it between groups."""
    of_groups = generator.normal(size=(int(codes.max()) + 1, n))[codes]
    return np.sqrt(1 - between) * generator.normal(size=(len(codes), n)) + np.sqrt(between) * of_groups


def true_r(share: float, of_ones: float, relation: float) -> float:
    """2 area - 1 of two images of different groups, from a million of them."""
    generator = np.random.default_rng(0)
    y, x = generator.normal(size=(2, 1_000_000))
    x = np.maximum(relation * y + np.sqrt(1 - relation**2) * x - norm.isf(share), 0)
    has = y > norm.isf(of_ones)
    n = int(has.sum())
    won = float(rankdata(x)[has].sum()) - n * (n + 1) / 2
    return 2 * won / (n * (len(x) - n)) - 1


def figures(n_groups: int, between: float, of_ones: float, share: float, n_sets: int) -> FloatArray:
    """Shares of p by both kinds of errors, of intervals by both without and with a relation, and of features tested."""
    sums, counts = np.zeros(9), np.zeros(9)
    codes = np.arange(N_IMAGES) % n_groups
    space, ids = saeviz.FeatureSpace(1, "cls", N_FEATURES), tuple(map(str, range(N_IMAGES)))
    for seed in range(n_sets):
        generator = np.random.default_rng([seed, n_groups])
        latent = in_groups(codes, between, 1, generator)
        for is_related, relation in enumerate((0.0, RELATION)):
            own = in_groups(codes, between if relation else 0.5, N_FEATURES, generator)
            x = np.maximum(relation * latent + np.sqrt(1 - relation**2) * own - norm.isf(share), 0)
            batch = saeviz.FeatureBatch(space, ids, csr_array(x.astype(np.float32)))
            ratings = {"y": (latent[:, 0] > norm.isf(of_ones)) * 1.0}
            stream = saeviz.FeatureStream(space, partial(iter, [batch]))
            data = saeviz.ScoreInput(space, ids, stream, None, ratings, groups=tuple(map(str, codes)))
            tested = np.isfinite(_columns(data, "clusters")["auc_ci_low"])
            for place, kind in enumerate(KINDS):
                found = _columns(data, kind)
                p = found["auc_p"][tested]
                truth = TRUTH[share, of_ones, relation]
                held = ((found["auc_ci_low"] <= truth) & (truth <= found["auc_ci_high"]))[tested]
                if not relation:
                    sums[[2 * place, 2 * place + 1]] += (p <= 0.05).sum(), (p <= 0.001).sum()
                    counts[[2 * place, 2 * place + 1]] += tested.sum()
                sums[4 + 2 * is_related + place] += held.sum()
                counts[4 + 2 * is_related + place] += tested.sum()
            sums[8] += tested.sum()
            counts[8] += tested.size
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


TRUTH = {(a, b, r): true_r(a, b, r) for a in SHARES for b in SHARES_OF_ONES for r in (0.0, RELATION)}


def _columns(data: saeviz.ScoreInput, kind: Literal["independent", "clusters"]) -> dict[str, FloatArray]:
    scorer = AUC(AreaOptions(errors=kind), saeviz.Context())
    return {column.name: column.values for column in scorer.score(data)}


def main(n_sets: int) -> None:
    """Print a row for each design."""
    print("groups  between  ones  fires   naive p<=.05  <=.001  robust p<=.05  <=.001   r=0 naive  robust", end="")
    print("   r>0 naive  robust   tested")
    for n_groups in GROUPS:
        for between in BETWEEN:
            for of_ones in SHARES_OF_ONES:
                for share in SHARES:
                    row = figures(n_groups, between, of_ones, share, n_sets)
                    text = "  ".join(f"{one:.4f}" for one in row)
                    print(f"{n_groups:>6}  {between:>7}  {of_ones:>4}  {share:>5}   {text}", flush=True)


if __name__ == "__main__":
    main(how_many(__doc__, 100))
