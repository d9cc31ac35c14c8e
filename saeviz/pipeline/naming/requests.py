"""The requests to a labeler, one per selected feature."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from saeviz.formats.selection import read_selected
from saeviz.pipeline.naming.activations import activations
from saeviz.pipeline.naming.held_out import images_to_show
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
"""Number of images without the feature that are shown beside the top ones."""


def label_requests(session: Session, only: Collection[Feature] | None = None) -> Iterator[LabelRequest]:
    """A request for each selected feature, or for those of them in `only`, best first.

    Raises `RunDirError` if no features have been selected yet.
    """
    rundir = session.rundir
    selected = [choice for choice in read_selected(rundir) if only is None or choice.feature in only]
    dataset = tuple(images_to_show(session))
    by_id = {item.item_id: item for item in dataset}
    features = [choice.feature for choice in selected]
    top_images = by_feature(rows_about(rundir.read_table(rundir.top_images, "score"), features))
    scores = rows_about(rundir.read_table(rundir.scores, "score"), features)
    numbers = [name for name in scores.select_dtypes("number") if name not in KEYS]
    rows = by_feature(scores)
    relations = _relations(rows_about(rundir.read_table(rundir.correlations, "score"), features), session)
    shown = dict(_shown(session, features, dataset))
    for choice in selected:
        feature = choice.feature
        top, contrast = shown[feature]
        yield LabelRequest(
            feature=feature,
            tier=choice.tier,
            top=top or tuple(_top_images(top_images.get(feature, []), by_id)),
            contrast=contrast,
            scores={name: float(rows[feature][0][name]) for name in numbers},
            relations=tuple(sorted(relations.get(feature, ()), key=_strongest_first)),
            dataset=dataset,
        )


def _top_images(rows: Sequence[Mapping[str, Any]], by_id: Mapping[str, ImageItem]) -> Iterator[TopImage]:
    for row in sorted(rows, key=itemgetter("rank")):
        if row["item_id"] in by_id:  # before a run is carried out, images may be gone that it was made from
            yield TopImage(by_id[row["item_id"]], float(row["activation"]))


def _relations(correlations: pd.DataFrame, session: Session) -> dict[Feature, list[Relation]]:
    """The main correlations of each feature."""
    facts = session.rundir.read_manifest()["stages"].get("score", {}).get("facts", {})
    measure = measure_of(next(iter(relation_prefixes(correlations.columns)), ""), facts)
    found = main_relation(correlations)
    if not {"r", "p", "q", "n"} <= set(found):
        return {}
    known = found[found["n"].notna()]  # other ratings have correlations of another kind only
    return {
        feature: [
            Relation(str(row["rating"]), float(row["r"]), float(row["p"]), float(row["q"]), int(row["n"]), measure)
            for row in rows
        ]
        for feature, rows in by_feature(known).items()
    }


def _strongest_first(relation: Relation) -> float:
    return 1.0 if math.isnan(relation.r) else -abs(relation.r)


def _numbers_of(feature: Feature) -> list[int]:
    """A feature as numbers, to draw for each on its own."""
    if feature.sae or isinstance(feature.layer, str):
        return [crc32(str(feature.site).encode()), feature.index]
    return [feature.layer, feature.index]


def _shown(
    session: Session, features: Sequence[Feature], dataset: Sequence[ImageItem]
) -> Iterator[tuple[Feature, tuple[tuple[TopImage, ...], tuple[ImageItem, ...]]]]:
    """For each selected feature its top images of the dataset, and some randomly drawn ones on which it is silent.

    Of all images, the top ones are in a table of the run; then there are none here.
    """
    import numpy as np

    n_top = session.config.run.top_images if session.config.run.rating_images else 0
    for feature, values in activations(session, features, dataset):
        silent = np.flatnonzero(values <= 0)
        generator = np.random.default_rng([session.config.run.seed, *_numbers_of(feature)])
        drawn = generator.choice(silent, size=min(N_CONTRAST, silent.size), replace=False)
        strongest = [row for row in np.argsort(-values, kind="stable")[:n_top] if values[row] > 0]
        top = tuple(TopImage(dataset[row], float(values[row])) for row in strongest)
        yield feature, (top, tuple(dataset[row] for row in sorted(drawn)))
