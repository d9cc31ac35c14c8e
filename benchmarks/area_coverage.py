"""How often the interval of `auc` contains the true area, and how often its p is small where there is nothing.

    python benchmarks/area_coverage.py [FEATURES]

Simulated features of 900 images, of which some have a rating of 1, fire with exponential strengths: as often on the
images with 1 as on the others, or twice as often. Prints a row per number of images with 1 and of images on which a
feature fires on average: the share of intervals that contain the true area in either case (0.95 is exact), and of p
below 0.05 and 0.001 in the first, divided by what it should be: of all features, and of those that the scorer tests.
"""

from __future__ import annotations

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array

import saeviz

N_IMAGES = 900
N_POSITIVE = (10, 30, 100, 270)
N_ACTIVE = (17, 45, 150, 450)
LEVELS = (0.05, 0.001)
TIMES = 2


def scored(
    n_positive: int, n_active: int, times: float, n_features: int, generator: np.random.Generator
) -> tuple[dict[str, np.ndarray], float]:
    """The columns of the scorer, and the true r: on how many more of the images with 1 a feature fires, as shares."""
    from saeviz_correlation.auc import AUC
    from saeviz_correlation.options import AreaOptions

    has = np.arange(N_IMAGES) < n_positive
    chance = n_active / (N_IMAGES + (times - 1) * n_positive)
    fires = generator.random((N_IMAGES, n_features)) < np.where(has, times * chance, chance)[:, None]
    features = csr_array(fires * generator.exponential(size=fires.shape).astype(np.float32))
    space = saeviz.FeatureSpace(1, "cls", n_features)
    ids = tuple(map(str, range(N_IMAGES)))
    stream = saeviz.FeatureStream(space, lambda: iter([saeviz.FeatureBatch(space, ids, features)]))
    data = saeviz.ScoreInput(space, ids, stream, None, {"has": has.astype(float)})
    columns = AUC(AreaOptions(), saeviz.Context()).score(data)
    return {column.name: column.values for column in columns}, (times - 1) * chance


def main(n_features: int) -> None:
    """Print the table."""
    generator = np.random.default_rng(0)
    print("images with 1  fires on   r = 0   r > 0 (true r)   p < .05   p < .001   tested: the same")
    for n_positive in N_POSITIVE:
        for n_active in N_ACTIVE:
            held = []
            for times in (1, TIMES):
                found, r = scored(n_positive, n_active, times, n_features, generator)
                low, high = found["auc_ci_low"], found["auc_ci_high"]
                known = np.isfinite(low)
                held.append(float(((low <= r) & (r <= high))[known].mean()) if known.any() else np.nan)
                if times == 1:
                    tested = known if known.any() else np.zeros(n_features, dtype=bool)
                    small = [_too_often(found["auc_p"], level) for level in LEVELS]
                    small += [_too_often(found["auc_p"][tested], level) for level in LEVELS]
            line = f"{n_positive:>13}  {n_active:>8}  {held[0]:6.3f}  {held[1]:6.3f} ({r:.3f})"
            print(f"{line}   {small[0]:7.2f}   {small[1]:8.1f}   {small[2]:7.2f}   {small[3]:8.1f}")


def _too_often(p: np.ndarray, level: float) -> float:
    return float((p[np.isfinite(p)] < level).mean()) / level if p.size else np.nan


if __name__ == "__main__":
    main(how_many(__doc__, 10_000))
