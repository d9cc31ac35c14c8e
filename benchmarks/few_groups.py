"""Images in few groups: whether p keeps its promise, and what is still found.

    python benchmarks/few_groups.py [DATA_SETS]

Simulated: groups of 30 images (of 10 to 50: unequal); half of the variance of features and ratings lies between groups;
features fire on 30 % of the images. A rating varies within groups, or is the same for all images of each. Prints, for
errors that take images as independent, errors of clusters, and permutation: the share of p up to .05 and .01 where no
feature has to do with the rating, the share of data sets of 100 features in which max-t (for clusters: Bonferroni)
at .05 finds anything, and the share of p up to .05 for features with a relation: within groups a slope of 0.2 standard
deviations of the rating, between groups one of 0.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import norm

import saeviz
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

Kind = Literal["independent", "clusters", "permutation"]
KINDS: tuple[Kind, ...] = ("independent", "clusters", "permutation")
N_FEATURES, SIZE = 100, 30
GROUPS = (4, 6, 8, 12)


def main(n_sets: int) -> None:
    """Print the table."""
    print(f"{'rating':<16}{'groups':<14}{'errors':<14}{'p <= .05':>9}{'p <= .01':>9}{'any':>7}{'power':>8}")
    for rating in ("varies within", "whole groups"):
        for n_groups in GROUPS:
            for unequal in (False, True):
                for kind in KINDS:
                    sets = [figures(rating, n_groups, unequal, kind, seed) for seed in range(n_sets)]
                    mean = np.nanmean(sets, axis=0)
                    print(
                        f"{rating:<16}{f'{n_groups} unequal' if unequal else n_groups:<14}{kind:<14}"
                        f"{mean[0]:>9.3f}{mean[1]:>9.4f}{mean[2]:>7.2f}{mean[3]:>8.2f}",
                        flush=True,
                    )


def figures(rating: str, n_groups: int, unequal: bool, kind: Kind, seed: int) -> list[float]:
    """The four figures of one data set."""
    generator = np.random.default_rng([seed, n_groups])
    sizes = np.rint(np.linspace(10, 50, n_groups) if unequal else np.full(n_groups, SIZE)).astype(int)
    codes = np.repeat(np.arange(n_groups), sizes)
    shared, own = generator.normal(size=(n_groups, N_FEATURES)), generator.normal(size=(codes.size, N_FEATURES))
    features = np.maximum(np.sqrt(0.5) * (shared[codes] + own) - norm.isf(0.3), 0)
    between, within = generator.normal(size=n_groups)[codes], generator.normal(size=codes.size)
    values = between if rating == "whole groups" else np.sqrt(0.5) * (between + within)
    p, any_found = tested(features, values, codes, kind)
    if rating == "whole groups":
        means = np.array([(np.bincount(codes, x) / sizes)[codes] for x in features.T]).T
        related = 0.8 * standardized(means) + 0.6 * between[:, None]
    else:
        related = values[:, None] + 0.2 * standardized(features)
    found = [tested(features[:, [place]], related[:, place], codes, kind)[0] for place in range(2)]
    return [(p <= 0.05).mean(), (p <= 0.01).mean(), any_found, float(np.mean(np.concatenate(found) <= 0.05))]


def standardized(values: FloatArray) -> FloatArray:
    """Columns with mean 0 and variance 1; 0 where one does not vary."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def tested(features: FloatArray, values: FloatArray, codes: IntArray, kind: Kind) -> tuple[FloatArray, bool]:
    """The p of each feature, and whether the probability of any false one allows for a discovery."""
    space = saeviz.FeatureSpace(0, "cls", features.shape[1])
    ids = tuple(map(str, range(codes.size)))
    batch = saeviz.FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    stream = saeviz.FeatureStream(space, lambda: iter([batch]))
    data = saeviz.ScoreInput(space, ids, stream, None, {"rating": values}, groups=tuple(map(str, codes)))
    correction: Literal["max-t", "bonferroni"] = "bonferroni" if kind == "clusters" else "max-t"
    context = saeviz.Context()
    context.logger.setLevel("ERROR")
    scorer = PearsonBH(LinearOptions(errors=kind, correction=correction, permutations=199), context)
    columns = [column for column in scorer.score(data) if isinstance(column, saeviz.ScoreColumn)]
    columns += [column for column in scorer.combine(columns) if isinstance(column, saeviz.ScoreColumn)]
    found = {column.name: column.values for column in columns}
    p = found["p"][np.isfinite(found["q"])]
    return p, bool(np.nansum(found["significant"]) > 0)


if __name__ == "__main__":
    main(how_many(__doc__, 200))
