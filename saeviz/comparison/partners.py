"""Which features of one run have a partner in another, on the same images?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.comparison.correlating import MIN_ACTIVE, Best, Side, best_by_chance, best_partners, side_of
from saeviz.comparison.result import Comparison
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureSpace, layer_of
from saeviz.values.keys import features_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FEWEST_IMAGES = 20
MOST_IMAGES = 20_000
LEVELS = (0.5, 0.7, 0.9)
SEED = 0


def compare_features(one: Run, other: Run, images: Sequence[str], n_differing: int) -> Comparison:
    """The features of two runs over the `images` of both; `n_differing` more have the same id but another file."""
    import pandas as pd

    if len(images) < FEWEST_IMAGES:
        raise ConfigError(
            f"{one.dir} and {other.dir} have {len(images)} images in common; features are compared over at least "
            f"{FEWEST_IMAGES}"
        )
    chosen = _sample(images)
    sides = side_of(one, chosen), side_of(other, chosen)
    for name, run, side in zip("AB", (one, other), sides, strict=True):
        if side.table.empty:
            raise ConfigError(
                f"run {name} ({run.dir}) has no feature that fires on {MIN_ACTIVE} of the {len(chosen)} images that "
                "both have"
            )
    tables = _tables(*sides, best_partners(*sides))
    chance = best_by_chance(*sides, SEED), best_by_chance(*sides[::-1], SEED)
    spaces = pd.DataFrame(
        row for name, *of_run in zip("AB", tables, chance, strict=True) for row in _spaces(name, *of_run)
    )
    notes = [f"{n_differing} images with the same id have different files and are left out"] if n_differing else []
    if len(chosen) < len(images):
        notes.append(f"features are compared over a random sample of {len(chosen):,} of {len(images):,} images")
    return Comparison("features", {"spaces": spaces, "partners_a": tables[0], "partners_b": tables[1]}, notes)


def _sample(images: Sequence[str]) -> Sequence[str]:
    import numpy as np

    if len(images) <= MOST_IMAGES:
        return images
    chosen = np.random.default_rng(SEED).choice(len(images), MOST_IMAGES, replace=False)
    return [images[place] for place in np.sort(chosen)]


def _tables(one: Side, other: Side, best: Best) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per feature of either run: keys, `n_active`, its `partner` in the other run, `r`, whether it is mutual."""
    import numpy as np

    mutual_a = best.row_b[best.row_a] == np.arange(len(best.row_a))
    mutual_b = best.row_a[best.row_b] == np.arange(len(best.row_b))
    names_a, names_b = _names(one.table), _names(other.table)
    return (
        one.table.assign(partner=names_b[best.row_a], r=best.r_a, mutual=mutual_a.astype(int)),
        other.table.assign(partner=names_a[best.row_b], r=best.r_b, mutual=mutual_b.astype(int)),
    )


def _spaces(run: str, table: pd.DataFrame, chance: float) -> Iterator[dict[str, Any]]:
    """For each space of a run, how many of its features have a partner: a mutual best one that beats chance."""
    for (sae, layer, tokens), own in table.groupby(["sae", "layer", "tokens"], sort=False):
        size = own["r"].abs()
        yield {
            "run": run,
            "space": str(FeatureSpace(layer_of(layer), tokens, 1, sae)),
            "features": len(own),
            "median_r": float(size.median()),
            **{f"share_{level:g}": float((size >= level).mean()) for level in LEVELS},
            "mutual_share": float(own["mutual"].mean()),
            "chance": chance,
            "partner_share": float(((own["mutual"] == 1) & (size > chance)).mean()),
        }


def _names(table: pd.DataFrame) -> NDArray[np.object_]:
    import numpy as np

    return np.array([str(feature) for feature in features_of(table)], dtype=object)
