"""Correlate labels, by a judge's scores, and their features with the ratings of the same held-out images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from saeviz.config.columns import declared_columns, renamed
from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.options import Options
from saeviz.contract.roles import HoldsOut
from saeviz.formats.label_scores import OF_THE_FEATURE, OF_THE_LABEL, LabelScores, ratings_table
from saeviz.pipeline.naming.activations import activations
from saeviz.pipeline.naming.held_out import main_prefix
from saeviz.pipeline.session import Session
from saeviz.values.errors import ConfigError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import key_of
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import ScoreColumn
from saeviz.values.streams import FeatureStream

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray

BELOW_WHICH_NOT = math.nextafter(0.5, 0)
"""A label applies from a score of 0.5 on, a feature fires above 0: less this, both are one to what counts images."""
Figures = Mapping[str, "FloatArray"]


def label_ratings(session: Session, given: Sequence[LabelScores], images: Sequence[ImageItem]) -> pd.DataFrame:
    """A row per label and rating: r of the label's scores, and that of the feature on the same images.

    Both as the scorer of the run's main correlation computes them, with its errors for groups and its controls; to one
    that takes a feature as active or not, a label is active where it applies. An image that the judge could not score
    for a label is left out for both. q is by Benjamini and Hochberg over all rows.
    """
    import numpy as np

    fires = dict(activations(session, [one.feature for one in given], images))
    scores = [np.array([one.scores.get(item.item_id) for item in images], dtype=np.float64) for one in given]
    alike: dict[bytes, list[int]] = {}
    for place, values in enumerate(scores):
        alike.setdefault(np.isfinite(values).tobytes(), []).append(place)
    correlate = _Correlate(session)
    rows: list[tuple[int, dict[str, Any]]] = []
    for places in alike.values():
        usable = np.flatnonzero(np.isfinite(scores[places[0]]))
        of_labels = np.column_stack([scores[place][usable] for place in places]) - BELOW_WHICH_NOT
        of_features = np.column_stack([fires[given[place].feature][usable] for place in places])
        own = [images[row] for row in usable.tolist()]
        for rating, found in correlate.of(own, np.hstack([of_labels, of_features])):
            rows += [(place, {"rating": rating, **row}) for place, row in zip(places, _rows(found), strict=True)]
            both = [_pearson(a, b) for a, b in zip(of_labels.T, of_features.T, strict=True)]
            for (_, row), r in zip(rows[-len(places) :], both, strict=True):
                row["r_of_both"] = r
    rows.sort(key=lambda pair: pair[0])
    table = ratings_table({**key_of(given[place].feature), "label": given[place].label, **row} for place, row in rows)
    table["q"] = _adjusted(table["p"].to_numpy())
    return table


class _Correlate:
    """The scorer of the run's main correlation, for other columns than features."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prefix = main_prefix(session)
        self._config, options = self._main_scorer()
        self._scorers = [session.components.build(replace(self._config, options=one)) for one in options]

    def _main_scorer(self) -> tuple[ComponentConfig, list[Options]]:
        """Its configuration, and its options for all ratings; all images here are held out."""
        session = self._session
        for config in session.config.scorers:
            if f"{self._prefix}r" in declared_columns(config, session.manager) and isinstance(config.options, HoldsOut):
                with session.components.blaming(config):
                    found = config.options.on_all_images(session.dataset.ratings)
                    return config, list(handover.each(session.components.who(config), "on_all_images", found, Options))
        raise ConfigError(
            f"run.rating_images: no scorer of this run that can hold out images declares its column {self._prefix}r, "
            "so labels cannot be correlated with ratings in the same way; use pearson-bh, or remove the option"
        )

    def of(self, items: Sequence[ImageItem], columns: FloatArray) -> Iterator[tuple[str, Figures]]:
        """Each rating with r, p and the interval of every column `[n_items, n_columns]`, and `n`."""
        data = _score_input(self._session, items, columns)
        found: dict[str, dict[str, FloatArray]] = {}
        components = self._session.components
        who = components.who(self._config)
        with components.blaming(self._config):
            given = (scorer.score(data) for scorer in self._scorers)
            for column in chain.from_iterable(handover.results(who, "score", one, data.n_items) for one in given):
                named = renamed(column, self._config.name)
                if isinstance(named, ScoreColumn) and named.target is not None:
                    found.setdefault(named.target, {})[named.name.removeprefix(self._prefix)] = named.values
        yield from ((rating, values) for rating, values in found.items() if "r" in values)


def _score_input(session: Session, items: Sequence[ImageItem], columns: FloatArray) -> ScoreInput:
    import numpy as np
    from scipy.sparse import csr_array

    space = FeatureSpace(0, "label", columns.shape[1])
    ids, groups = tuple(item.item_id for item in items), tuple(item.group for item in items)
    batch = FeatureBatch(space, ids, csr_array(columns.astype(np.float32)))
    ratings = {
        name: np.array([item.ratings.get(name, np.nan) for item in items], dtype=np.float64)
        for name in session.dataset.ratings
    }
    names = dict.fromkeys(name for item in session.dataset.extracted for name in item.metadata)
    metadata = {name: [item.metadata.get(name, "") for item in items] for name in names}
    return ScoreInput(
        space,
        ids,
        FeatureStream(space, lambda: iter([batch])),
        None,
        ratings,
        metadata=metadata,
        groups=groups if any(item.group is not None for item in session.dataset.extracted) else None,
        of_images=_numbers_of_images(session, ids),
    ).locked()


def _numbers_of_images(session: Session, ids: Sequence[str]) -> dict[str, FloatArray]:
    """What scorers saw of these images, which their options may name."""
    if not session.rundir.images.exists():
        return {}
    table = session.rundir.read_table(session.rundir.images, "score").set_index("item_id").loc[list(ids)]
    return {name: table[name].to_numpy(float) for name in table}


def _rows(found: Figures) -> Iterator[dict[str, Any]]:
    """A row per label: the first half of the columns are labels, the others their features."""
    n_labels = len(found["r"]) // 2
    for place in range(n_labels):
        row: dict[str, Any] = {"n": int(found["n"][place])}
        for name, of_feature in zip(OF_THE_LABEL, OF_THE_FEATURE, strict=True):
            values = found.get(name)
            row[name], row[of_feature] = (
                (float("nan"), float("nan"))
                if values is None
                else (float(values[place]), float(values[n_labels + place]))
            )
        yield row


def _pearson(x: FloatArray, y: FloatArray) -> float:
    import numpy as np

    if len(x) < 3 or not (np.ptp(x) and np.ptp(y)):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _adjusted(p: FloatArray) -> FloatArray:
    import numpy as np
    from scipy.stats import false_discovery_control

    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
