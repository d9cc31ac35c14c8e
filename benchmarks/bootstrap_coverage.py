"""How often 95 % intervals contain the true correlation: Fisher's z, robust errors and the bootstrap side by side.

    python benchmarks/bootstrap_coverage.py [DATA_SETS]

Simulated: 900 images; a feature fires on a share of them with exponential strength, and the rating is linear in the
feature plus normal noise. In groups of 9 images, half of the noise and half of what makes a feature fire belong to the
group. Bootstrap intervals are BCa of 1,000 samples of images or of groups. Prints a row per design, share and true
correlation. 0.95 is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import norm

import saeviz
from saeviz_correlation.bootstrap import Bootstrap, Samples, bca
from saeviz_correlation.options import BootstrapOptions
from saeviz_correlation.scorer import PearsonBH
from saeviz_correlation.targets import make_targets

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray, Mask

N_IMAGES, N_GROUPS, N_SAMPLES = 900, 100, 1000
N_ACTIVE = (20, 50, 300)
CORRELATIONS = (0.0, 0.1, 0.3, 0.5)
AT_ONCE = 100
SPACE = saeviz.FeatureSpace(0, "cls", AT_ONCE)


def simulated(n_active: int, r: float, groups: IntArray | None, random: np.random.Generator) -> saeviz.ScoreInput:
    """A data set in each pair of a feature and the rating of the same number."""
    share = n_active / N_IMAGES
    slope = r / np.sqrt((1 - r**2) * (2 * share - share**2))  # of a feature with this variance

    def noise() -> FloatArray:
        of_image = random.normal(size=(N_IMAGES, AT_ONCE))
        if groups is None:
            return of_image
        return np.asarray((of_image + random.normal(size=(N_GROUPS, AT_ONCE))[groups]) / np.sqrt(2))

    fires = noise() > norm.isf(share)
    features = np.where(fires, random.exponential(size=fires.shape), 0.0)
    ratings = slope * features + noise()
    ids = tuple(map(str, range(N_IMAGES)))
    batch = saeviz.FeatureBatch(SPACE, ids, csr_array(features.astype(np.float32)))
    return saeviz.ScoreInput(
        SPACE,
        ids,
        saeviz.FeatureStream(SPACE, lambda: iter([batch])),
        None,
        {f"rating {place}": ratings[:, place] for place in range(AT_ONCE)},
        groups=None if groups is None else tuple(f"group {number}" for number in groups),
    )


def by_scorer(data: saeviz.ScoreInput, errors: str, r: float) -> Mask:
    """Which intervals of the scorer contain r."""
    scorer = PearsonBH(BootstrapOptions.model_validate({"errors": errors}), saeviz.Context())
    columns = {(one.name, one.target): one.values for one in scorer.score(data)}
    ends = ([columns[name, f"rating {place}"][place] for place in range(AT_ONCE)] for name in ("ci_low", "ci_high"))
    low, high = map(np.array, ends)
    return np.asarray((low <= r) & (r <= high))


def by_bootstrap(data: saeviz.ScoreInput, groups: IntArray | None, seed: int, r: float) -> Mask:
    """Which BCa intervals contain r."""
    [targets] = make_targets(data, list(data.ratings), np.ones(N_IMAGES, dtype=bool))
    samples = Samples(targets, Bootstrap(N_SAMPLES, seed, groups))
    features = csr_array(data.features.matrix().T)
    held = np.zeros(AT_ONCE, dtype=bool)
    x = features.toarray() - features.mean(axis=1)[:, None]
    estimates = np.einsum("fi,if->f", x, targets.values) / np.linalg.norm(x, axis=1)
    wanted = {place: np.array([place]) for place in range(AT_ONCE)}
    for place, found in samples.correlations(features, wanted):
        low, high = bca(estimates[[place]], *found)
        held[place] = low[0] <= r <= high[0]
    return held


def main(n_sets: int) -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    print(f"{'images':<12}{'fires on':>9}{'r':>6}{'Fisher':>9}{'robust':>9}{'bootstrap':>11}")
    for design in ("independent", "in groups"):
        groups = None if design == "independent" else np.arange(N_IMAGES) % N_GROUPS
        for n_active in N_ACTIVE:
            for r in CORRELATIONS:
                found = []
                for number in range(max(1, n_sets // AT_ONCE)):
                    data = simulated(n_active, r, groups, random)
                    robust = by_scorer(data, "hc2" if groups is None else "clusters", r)
                    found.append((by_scorer(data, "independent", r), robust, by_bootstrap(data, groups, number, r)))
                fisher, robust, bootstrap = np.mean(found, axis=(0, 2))
                print(f"{design:<12}{n_active:>9}{r:>6.1f}{fisher:>9.3f}{robust:>9.3f}{bootstrap:>11.3f}", flush=True)


if __name__ == "__main__":
    main(how_many(__doc__, 1000))
