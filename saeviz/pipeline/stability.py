"""How stable the selection is: the selector is asked again with the correlations on random halves of the images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from saeviz.config.columns import declared_columns, renamed
from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import StableSelector, can
from saeviz.formats.files import temporary_folder
from saeviz.formats.mapped import MappedArrays
from saeviz.pipeline.images import Images, Listing
from saeviz.pipeline.inputs import score_inputs
from saeviz.pipeline.relations import correlations_table, run_scorer
from saeviz.pipeline.session import Session, logger
from saeviz.values.errors import ConfigError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.relations import relation_prefixes
from saeviz.values.scores import ScoreColumn, ScoreTable, Selected

if TYPE_CHECKING:
    import pandas as pd

FEWEST_UNITS = 4
"""Images, or groups of images, that make two halves of more than one."""
QUIET = logging.Logger("saeviz, again", level=logging.CRITICAL)
"""What there is to be said of the ratings and images was said when all of them were scored."""


def n_halves_of(session: Session) -> int:
    """On how many halves of the images the selection is repeated; 0 for none."""
    with session.components.blaming(session.config.selector):
        selector = session.components.component("selector")
        if not can(selector, StableSelector):
            return 0
        return handover.count(session.components.who(session.config.selector), "n_halves", selector.n_halves, least=0)


def ratings_of(session: Session, table: ScoreTable) -> set[str]:
    """The ratings that a selector may name: those of the images, and columns of images that features correlate with."""
    return {*session.dataset.ratings, *map(str, table.correlations["rating"].unique())}


def scorer_to_repeat(session: Session) -> ComponentConfig:
    """The scorer of the main correlation; raises `ConfigError` if there is none."""
    known = [(config, declared_columns(config, session.manager)) for config in session.config.scorers]
    prefixes = relation_prefixes([name for _, columns in known for name in sorted(columns)])
    found = next((config for config, columns in known if prefixes and f"{prefixes[0]}r" in columns), None)
    if found is None:
        selector = session.config.selector
        raise ConfigError(
            f"{selector.place}: {selector.use} is to select again by halves of the images, but no scorer of this run "
            "declares correlations that could be computed again on other images; add pearson-bh, or do not let it "
            "select again"
        )
    return found


def with_stability(session: Session, table: ScoreTable, selected: Sequence[Selected]) -> list[Selected]:
    """The same features with the shares of halves by which they are selected again, and into the same tier."""
    n, n_units = n_halves_of(session), len({_unit(item) for item in session.dataset.extracted})
    if n and n_units < FEWEST_UNITS:
        logger.warning("select: %d images or groups of images are too few to select again by halves of them", n_units)
    if not n or n_units < FEWEST_UNITS:
        return list(selected)
    config = session.config.selector
    selector: Any = session.components.component("selector")
    tiers = {choice.feature: choice.tier for choice in selected}
    again: Counter[Feature] = Counter()
    in_tier: Counter[Feature] = Counter()
    scorer, ratings = scorer_to_repeat(session), ratings_of(session, table)
    images = session.rundir.read_table(session.rundir.images, "score").set_index("item_id")
    parts = islice(halves(session.dataset.extracted, session.config.run.seed), n)
    for items in session.progress(parts, n, "select by halves of the images"):
        correlations = _correlations(session, scorer, items, images)
        with session.components.blaming(config):
            given = selector.select(replace(table, correlations=correlations))
            found = handover.selection(session.components.who(config), given, session.dataset.spaces, ratings)
        again.update(choice.feature for choice in found)
        in_tier.update(choice.feature for choice in found if tiers.get(choice.feature) == choice.tier)
    return [
        replace(choice, selection_stability=again[choice.feature] / n, tier_stability=in_tier[choice.feature] / n)
        for choice in selected
    ]


def halves(items: Sequence[ImageItem], seed: int) -> Iterator[list[ImageItem]]:
    """Random halves without end, each followed by the other half; images of a group stay together.

    The order of the images changes nothing.
    """
    import numpy as np

    units = sorted({_unit(item) for item in items})
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(units))
        middle = len(units) // 2
        for part in (order[:middle], order[middle:]):
            drawn = {units[number] for number in part}
            yield [item for item in items if _unit(item) in drawn]


def _unit(item: ImageItem) -> tuple[bool, str]:
    return (False, item.item_id) if item.group is None else (True, item.group)


def _correlations(
    session: Session, config: ComponentConfig, items: list[ImageItem], images: pd.DataFrame
) -> pd.DataFrame:
    """As the scorer finds them for these images alone; `images` has the columns of all images, by their id."""
    rows = images.loc[[item.item_id for item in items]]
    of_images = {str(name): values.to_numpy(float) for name, values in rows.items()}
    with temporary_folder(session.rundir.path) as folder:
        given = score_inputs(session, Images(Listing(items)), MappedArrays(folder))
        inputs = [replace(data, of_images=of_images).locked() for data in given]
        scorer = session.components.build(config, logger=QUIET)
        results = session.components.guarded(config, run_scorer(session.components.who(config), scorer, inputs))
        named = (renamed(one, config.name) for one in results)
        columns = [one for one in named if isinstance(one, ScoreColumn)]
    targets = dict.fromkeys(one.target for one in columns if one.target is not None)
    return correlations_table(session.dataset.spaces, columns, list(targets))
