"""What a labeler is asked about each selected feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from saeviz.formats.selection import read_selected
from saeviz.pipeline.naming.activations import activations
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.keys import KEYS, by_feature, rows_about
from saeviz.values.naming import LabelRequest, TopImage
from saeviz.values.relations import main_relation, measure_of, relation_prefixes
from saeviz.values.scores import Relation

if TYPE_CHECKING:
    import pandas as pd

N_CONTRAST = 9
"""Silent images shown beside the top ones."""


def label_requests(session: Session) -> Iterator[LabelRequest]:
    """One for each selected feature, best first; raises `RunDirError` where the features are not selected yet."""
    rundir = session.rundir
    selected = read_selected(rundir)
    dataset = tuple(session.dataset.extracted)
    by_id = {item.item_id: item for item in dataset}
    features = [choice.feature for choice in selected]
    top_images = by_feature(rows_about(rundir.read_table(rundir.top_images, "score"), features))
    scores = by_feature(rows_about(rundir.read_table(rundir.scores, "score"), features))
    relations = rows_about(rundir.read_table(rundir.correlations, "score"), features)
    measure = _measure(relations, session)
    correlations = by_feature(main_relation(relations))
    contrast = dict(_contrast(session, features, dataset))
    for choice in selected:
        feature = choice.feature
        top = top_images[feature].sort_values("rank") if feature in top_images else None
        yield LabelRequest(
            feature=feature,
            tier=choice.tier,
            top=() if top is None else tuple(_top_images(top, by_id)),
            contrast=contrast[feature],
            scores=_numbers(scores[feature]),
            relations=_relations(correlations.get(feature), measure),
            dataset=dataset,
        )


def _top_images(rows: pd.DataFrame, by_id: Mapping[str, ImageItem]) -> Iterator[TopImage]:
    for row in rows.itertuples():
        if row.item_id in by_id:  # before a run is carried out, images may be gone that it was made from
            yield TopImage(by_id[row.item_id], float(row.activation))


def _numbers(row: pd.DataFrame) -> dict[str, float]:
    numbers = row.drop(columns=KEYS).select_dtypes("number")
    return {str(name): float(values.iloc[0]) for name, values in numbers.items()}


def _measure(correlations: pd.DataFrame, session: Session) -> str:
    """What the main correlation of the run is called."""
    facts = session.rundir.read_manifest()["stages"].get("score", {}).get("facts", {})
    return measure_of(next(iter(relation_prefixes(correlations.columns)), ""), facts)


def _relations(rows: pd.DataFrame | None, measure: str) -> tuple[Relation, ...]:
    if rows is None or not {"r", "p", "q", "n"} <= set(rows.columns):
        return ()
    known = rows[rows["n"].notna()]  # other ratings have correlations of another kind only
    relations = [
        Relation(str(row.rating), float(row.r), float(row.p), float(row.q), int(row.n), measure)
        for row in known.itertuples()
    ]
    return tuple(sorted(relations, key=lambda relation: -abs(relation.r) if relation.r == relation.r else 1.0))


def _contrast(
    session: Session, features: Sequence[Feature], dataset: Sequence[ImageItem]
) -> Iterator[tuple[Feature, tuple[ImageItem, ...]]]:
    """For every selected feature some images, drawn at random, on which it is silent."""
    import numpy as np

    for feature, values in activations(session, features, dataset):
        silent = np.flatnonzero(values <= 0)
        generator = np.random.default_rng([session.config.run.seed, feature.layer, feature.index])
        drawn = generator.choice(silent, size=min(N_CONTRAST, silent.size), replace=False)
        yield feature, tuple(dataset[row] for row in sorted(drawn))
