"""What scorers are given of a run: its features, embeddings and ratings, one space at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from math import nan
from typing import TYPE_CHECKING, Any

from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.mapped import MappedArrays
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.pipeline.images import Images
from saeviz.pipeline.session import Session
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.score_input import IndividualRatings, ScoreInput
from saeviz.values.streams import FeatureStream
from saeviz.values.texts import Groups, Texts

if TYPE_CHECKING:
    from saeviz.typing import Float32Array

ASKED_FOR = 1 << 16
"""Images that a store is asked for at a time; it may hold a list of their ids."""


def score_inputs(session: Session, items: Images, arrays: MappedArrays | None) -> Iterator[ScoreInput]:
    """Each space of the run with these images; columns of images come from the scorers.

    Embeddings and texts are put into `arrays` and mapped from there; without, there are no embeddings.
    """
    given = _Given(session.dataset.ratings)
    for item in items:
        given.add(item)
    ids = items.ids

    def mapped(name: str, column: _Column) -> Texts:
        texts = column.packed(given.n)
        return texts if arrays is None else arrays.add_texts(name, texts)

    groups = Groups(mapped("groups", given.groups)) if given.is_grouped else None
    metadata = {name: mapped(f"metadata {name}", given.metadata.pop(name)) for name in list(given.metadata)}
    embeddings, second_embeddings = (
        _embeddings(session, ids, table, arrays) for table in ("embeddings", "second_embeddings")
    )
    ratings = {name: _array(values, "d") for name, values in given.ratings.items()}
    individual = {name: one.packed() for name, one in given.individual.items()}
    for space in session.dataset.spaces:
        yield ScoreInput(
            space,
            ids,
            stored_features(session.components.store, space, ids),
            embeddings,
            ratings,
            individual,
            metadata,
            second_embeddings,
            groups,
        ).locked()


def stored_features(store: CheckedStore, space: FeatureSpace, ids: Sequence[str]) -> FeatureStream:
    """The features of these images as they are in the store."""
    return FeatureStream(space, partial(_read, store, space, ids))


def _read(store: CheckedStore, space: FeatureSpace, ids: Sequence[str]) -> Iterator[FeatureBatch]:
    for start in range(0, len(ids), ASKED_FOR):
        yield from store.read(space, tuple(ids[start : start + ASKED_FOR]))


def _embeddings(session: Session, ids: Texts, table: str, arrays: MappedArrays | None) -> Float32Array | None:
    if arrays is None or session.config.component(table) is None or not session.components.uses_embeddings:
        return None
    found = EmbeddingFiles(session.rundir.embeddings(table)).gather(ids, arrays, table)
    return arrays[table] if found else None


class _Given:
    """What is known of images, packed, as one after another is added; embeddings and features are not among it."""

    def __init__(self, ratings: Sequence[str]) -> None:
        self.n = 0
        self.ratings = {name: array("d") for name in ratings}
        self.individual: dict[str, _Individual] = {}
        self.metadata: dict[str, _Column] = {}
        self.groups = _Column()
        self.is_grouped = False

    def add(self, item: ImageItem) -> None:
        for name, values in self.ratings.items():
            values.append(item.ratings.get(name, nan))
        for name, given in item.individual.items():
            self.individual.setdefault(name, _Individual()).add(self.n, given)
        for name, text in item.metadata.items():
            self.metadata.setdefault(name, _Column()).put(self.n, text)
        if item.group is not None:
            self.is_grouped = True
            self.groups.put(self.n, item.group)
        self.n += 1


class _Column:
    """Texts of images, put in their order; those of images between are empty."""

    def __init__(self) -> None:
        self._data, self._bounds = bytearray(), array("q", [0])

    def put(self, place: int, text: str) -> None:
        self._fill(place)
        self._data += text.encode("utf-8", "surrogatepass")
        self._bounds.append(len(self._data))

    def packed(self, n: int) -> Texts:
        self._fill(n)
        return Texts(_array(self._data, "u1"), _array(self._bounds, "q"))

    def _fill(self, place: int) -> None:
        self._bounds.extend(repeat(len(self._data), place + 1 - len(self._bounds)))


class _Individual:
    """Ratings of a name by single raters."""

    def __init__(self) -> None:
        self._rows, self._raters, self._values = array("q"), array("q"), array("d")
        self._codes: dict[str, int] = {}

    def add(self, row: int, given: Mapping[str, float]) -> None:
        for rater, value in given.items():
            self._rows.append(row)
            self._raters.append(self._codes.setdefault(rater, len(self._codes)))
            self._values.append(value)

    def packed(self) -> IndividualRatings:
        rows, raters, values = _array(self._rows, "q"), _array(self._raters, "q"), _array(self._values, "d")
        return IndividualRatings(rows, raters, values, tuple(self._codes))


def _array(values: bytearray | array[Any], kind: str) -> Any:
    """The same memory as an array of NumPy's, also if there is none."""
    import numpy as np

    return np.frombuffer(values, kind) if len(values) else np.empty(0, kind)
