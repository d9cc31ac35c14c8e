"""Whether `moderation` keeps its promise where relations do not differ: features that fire rarely, unequal spread.

    python benchmarks/moderation.py [DATA_SETS]

Simulated: 600 images, a quarter of which have a level; features of exponential strengths that fire on a share of the
images; ratings with the same slope in and outside the level. Their spread is equal, or three times as large in the
level, or grows with the feature; or half of everything lies between 60 groups of 10 images of one level. Prints the
share of p up to .05 and .001 and of 95 % intervals that contain 0, of 30 features with a rating each in a data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from arguments import how_many
from scipy.sparse import csr_array
from scipy.stats import norm

import saeviz
from saeviz_correlation.moderation import Moderation
from saeviz_correlation.options import ModerationOptions

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

N_IMAGES, N_FEATURES, SLOPE = 600, 30, 0.3
SPREADS = ("equal", "3 times in the level", "grows with the feature", "equal, in groups")
SHARES = (0.3, 0.1, 0.05)


def main(n_sets: int) -> None:
    """Print the table."""
    print(f"{'spread':<26}{'fires on':>9}  {'errors':<12}{'p <= .05':>10}{'p <= .001':>11}{'intervals':>11}")
    for spread in SPREADS:
        kinds = ("independent", "clusters") if "groups" in spread else ("independent", "hc2")
        for share in SHARES:
            for errors in kinds:
                sets = [tested(spread, share, errors, seed) for seed in range(n_sets)]
                p, covered = (np.concatenate(parts) for parts in zip(*sets, strict=True))
                figures = [np.mean(p <= bound) for bound in (0.05, 0.001)]
                print(
                    f"{spread:<26}{share:>9.0%}  {errors:<12}{figures[0]:>10.3f}{figures[1]:>11.4f}"
                    f"{np.mean(covered):>11.3f}",
                    flush=True,
                )


def tested(spread: str, share: float, errors: str, seed: int) -> tuple[FloatArray, FloatArray]:
    """Of a data set the p of each feature with its rating, if it has one, and whether its interval contains 0."""
    generator = np.random.default_rng([seed, int(100 * share)])
    level = np.arange(N_IMAGES) % 4 == 0
    codes = np.arange(N_IMAGES) % 4 * 15 + np.arange(N_IMAGES) // 4 % 15 if "groups" in spread else np.arange(N_IMAGES)

    def normal() -> FloatArray:
        own, shared = generator.normal(size=(2, N_IMAGES, N_FEATURES))
        return np.asarray(own if "groups" not in spread else np.sqrt(0.5) * (own + shared[codes]))

    above = normal() - norm.isf(share)
    features = np.where(above > 0, -np.log(norm.sf(above + norm.isf(share)) / share), 0.0)  # exponential
    noise = normal()
    if spread.startswith("3"):
        noise[level] *= 3
    if spread.startswith("grows"):
        noise *= 1 + features
    values = SLOPE * features + noise
    found = scored(features, values, level, codes if errors == "clusters" else None, errors)
    p, low, high = (np.diagonal(found[name]) for name in ("p", "ci_low", "ci_high"))
    known = np.isfinite(p)
    return p[known], ((low <= 0) & (high >= 0))[known]


def scored(
    features: FloatArray, values: FloatArray, level: FloatArray, codes: FloatArray | None, errors: str
) -> dict[str, FloatArray]:
    """Some columns of every feature and rating."""
    space = saeviz.FeatureSpace(0, "cls", N_FEATURES)
    ids = tuple(map(str, range(N_IMAGES)))
    batch = saeviz.FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    data = saeviz.ScoreInput(
        space,
        ids,
        saeviz.FeatureStream(space, lambda: iter([batch])),
        None,
        {f"rating {place}": column for place, column in enumerate(values.T)},
        metadata={"level": tuple(map(str, level.astype(int)))},
        groups=None if codes is None else tuple(map(str, codes)),
    )
    options = ModerationOptions(moderators=("level",), errors=errors, min_active=5)
    found: dict[str, list[FloatArray]] = {"p": [], "ci_low": [], "ci_high": []}
    for column in Moderation(options, saeviz.Context()).score(data):
        if isinstance(column, saeviz.ScoreColumn) and column.name.split(".")[0].removeprefix("moderation_") in found:
            found[column.name.split(".")[0].removeprefix("moderation_")].append(column.values)
    return {name: np.array(columns) for name, columns in found.items()}


if __name__ == "__main__":
    main(how_many(__doc__, 100))
