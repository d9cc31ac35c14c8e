"""How often a 95 % Fisher z interval contains the true correlation of a feature that fires on few images.

    python benchmarks/interval_coverage.py [DATA_SETS]

Simulated features fire on a given number of 900 images with exponential strengths; ratings are linear in the feature
plus normal noise. Prints a row per number of images on which a feature fires, a column per true correlation. 0.95 is
exact.
"""

from __future__ import annotations

import numpy as np
from arguments import how_many

N_IMAGES = 900
N_ACTIVE = (15, 20, 30, 49, 100, 300)
CORRELATIONS = (0.0, 0.1, 0.2, 0.3, 0.5)
AT_ONCE = 500


def coverage(n_active: int, correlation: float, n_sets: int, generator: np.random.Generator) -> float:
    """The share of simulated data sets whose interval contains the true correlation."""
    share = n_active / N_IMAGES
    slope = correlation / np.sqrt((1 - correlation**2) * (2 * share - share**2))  # of a feature with this variance
    held = 0
    for start in range(0, n_sets, AT_ONCE):
        features = np.zeros((min(AT_ONCE, n_sets - start), N_IMAGES))
        features[:, :n_active] = generator.exponential(size=(len(features), n_active))
        ratings = slope * features + generator.normal(size=features.shape)
        features -= features.mean(axis=1, keepdims=True)
        ratings -= ratings.mean(axis=1, keepdims=True)
        r = (features * ratings).sum(axis=1) / np.sqrt((features**2).sum(axis=1) * (ratings**2).sum(axis=1))
        distance = np.abs(np.arctanh(r) - np.arctanh(correlation))
        held += int((distance <= 1.959964 / np.sqrt(N_IMAGES - 3)).sum())
    return held / n_sets


def main(n_sets: int) -> None:
    """Print the table."""
    generator = np.random.default_rng(0)
    print("fires on  " + "  ".join(f"r = {correlation}" for correlation in CORRELATIONS))
    for n_active in N_ACTIVE:
        shares = (coverage(n_active, correlation, n_sets, generator) for correlation in CORRELATIONS)
        print(f"{n_active:>8}  " + "  ".join(f"{share:7.3f}" for share in shares))


if __name__ == "__main__":
    main(how_many(__doc__, 4000))
