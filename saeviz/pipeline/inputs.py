"""What scorers are given of a run: its features, embeddings and ratings, one space at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.pipeline.session import Session
from saeviz.values.images import ImageItem
from saeviz.values.score_input import IndividualRatings, ScoreInput
from saeviz.values.streams import FeatureStream

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray


def score_inputs(session: Session, items: list[ImageItem]) -> Iterator[ScoreInput]:
    """Each space of the run with these images; columns of images come from the scorers."""
    ids = tuple(item.item_id for item in items)
    embeddings, second_embeddings = (
        _embeddings(session, items, table) for table in ("embeddings", "second_embeddings")
    )
    ratings = {name: _rating(name, items) for name in session.dataset.ratings}
    individual = {name: _individual(name, items) for name in names_in(item.individual for item in items)}
    metadata = {
        name: [item.metadata.get(name, "") for item in items] for name in names_in(item.metadata for item in items)
    }
    groups = tuple(item.group for item in items)
    for space in session.dataset.spaces:
        yield ScoreInput(
            space,
            ids,
            FeatureStream(space, partial(session.components.store.read, space, ids)),
            embeddings,
            ratings,
            individual,
            metadata,
            second_embeddings,
            groups if any(group is not None for group in groups) else None,
        ).locked()


def names_in(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names in any of them, in the order in which they come."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _embeddings(session: Session, items: list[ImageItem], table: str) -> Float32Array | None:
    if session.config.component(table) is None or not session.components.uses_embeddings:
        return None
    return EmbeddingFiles(session.rundir.embeddings(table)).read(items)


def _rating(name: str, items: list[ImageItem]) -> FloatArray:
    import numpy as np

    return np.array([item.ratings.get(name, np.nan) for item in items], dtype=np.float64)


def _individual(name: str, items: list[ImageItem]) -> IndividualRatings:
    import numpy as np

    given = [(row, *pair) for row, item in enumerate(items) for pair in item.individual.get(name, {}).items()]
    raters = {rater: code for code, rater in enumerate(dict.fromkeys(rater for _, rater, _ in given))}
    return IndividualRatings(
        np.array([row for row, _, _ in given], dtype=np.int64),
        np.array([raters[rater] for _, rater, _ in given], dtype=np.int64),
        np.array([value for _, _, value in given], dtype=np.float64),
        tuple(raters),
    )
