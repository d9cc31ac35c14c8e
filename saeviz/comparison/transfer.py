"""Do the relations of one run hold in another, on other images with the same SAEs?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saeviz.comparison.forecast import forecasts
from saeviz.comparison.relations import (
    JOINT_FIGURES,
    add_joint_evidence,
    measure_of_run,
    ratings_compared,
    relations_of_both,
)
from saeviz.comparison.result import Comparison
from saeviz.comparison.sources import Source
from saeviz.results.run import Run
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureSpace

PEARSON = "Pearson's r"
SEED = 0
MOST_RATINGS = 50
"""For each of them the features of both runs are read again."""


def compare_relations(
    one: Run, other: Run, spaces: Sequence[FeatureSpace], same_saes: bool | None, n_shared: int
) -> Comparison:
    """The relations of two runs in the spaces of both; `n_shared` images are in both."""
    import pandas as pd

    table = relations_of_both(one, other, spaces)
    if table.empty:
        raise ConfigError(
            f"{one.dir} and {other.dir} tested no feature with a rating of the same name; relations are compared "
            "rating by rating, so a rating needs the same name in both"
        )
    lacking = [(run, name) for run in "ab" for name in JOINT_FIGURES if f"{name}_{run}" not in table]
    if not (n_shared or lacking):
        add_joint_evidence(table)
    measures = [measure_of_run(run) for run in (one, other)]
    sources = Source(one), Source(other)
    n_ratings = table["rating"].nunique()
    can_be_read = n_ratings <= MOST_RATINGS and not any(source.obstacle for source in sources)
    has_interval = can_be_read and not n_shared and measures == [PEARSON, PEARSON]
    ratings = pd.DataFrame(ratings_compared(table, sources if has_interval else None))
    predictions = pd.DataFrame(forecasts(*sources, table, SEED) if can_be_read and not n_shared else [])
    tables = {"ratings": ratings} | ({"predictions": predictions} if len(predictions) else {}) | {"relations": table}
    notes = [*_about_saes(same_saes), *_about_images(n_shared), *_about_measures(measures)]
    notes += [*_about_figures(lacking), *_about_reading(sources, n_ratings)]
    return Comparison("relations", tables, notes)


def _about_saes(same: bool | None) -> Iterator[str]:
    if same is False:
        yield "the runs record different models or SAEs; features of the same number need not be the same"
    if same is None:
        yield "the extractors do not record their SAEs; spaces of the same name and size are taken to be the same"


def _about_images(n_shared: int) -> Iterator[str]:
    if n_shared:
        yield (
            f"{n_shared} images are in both runs, so the second is not an independent test of the first: no joint p, "
            "no interval of r_of_r and no predictions"
        )


def _about_measures(measures: Sequence[str]) -> Iterator[str]:
    if len(set(measures)) > 1:
        yield f"run A has {measures[0] or 'no correlation'}, run B {measures[1] or 'none'}"
    if any(measure != PEARSON for measure in measures):
        yield f"r_of_r has no interval; it is computed for {PEARSON} only"


def _about_figures(lacking: Sequence[tuple[str, str]]) -> Iterator[str]:
    for run, name in lacking:
        yield f"no joint evidence: the main correlation of run {run.upper()} has no {name}"


def _about_reading(sources: Sequence[Source], n_ratings: int) -> Iterator[str]:
    missing = "no interval of r_of_r and no predictions"
    if n_ratings > MOST_RATINGS:
        yield f"{missing}: {n_ratings} ratings are more than the {MOST_RATINGS} for which features are read again"
        return
    for name, source in zip("AB", sources, strict=True):
        if source.obstacle:
            yield f"{missing}: run {name} cannot be read: {source.obstacle}"
