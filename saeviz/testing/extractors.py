"""The contract of feature extractors, as a test suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import FeatureExtractor
from saeviz.testing.contract import Contract
from saeviz.testing.data import Surroundings, pictures
from saeviz.testing.embedders import unreadable
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

MakeExtractor = Callable[[Context], FeatureExtractor]
Rows = dict[tuple[FeatureSpace, str], tuple["FloatArray", dict[str, float]]]
"""Of each space and image the features, and the numbers of the image."""


class FeatureExtractorContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the extractor from a context."""

    tolerance: ClassVar[float] = 1e-3
    """Largest allowed difference between features of the same image, relative to the largest of a space."""

    @pytest.fixture
    def make(self) -> MakeExtractor:
        """Builds the extractor under test."""
        raise NotImplementedError("define the fixture make")

    @pytest.fixture
    def surroundings(self, tmp_path: Path) -> Surroundings:
        """The extractor's context, and the failures that it reports."""
        return Surroundings(tmp_path, [*pictures(5), unreadable()])

    @pytest.fixture
    def extractor(self, make: MakeExtractor, surroundings: Surroundings) -> FeatureExtractor:
        """The extractor under test."""
        return make(surroundings.context)

    def test_is_a_feature_extractor(self, extractor: FeatureExtractor) -> None:
        assert isinstance(extractor, FeatureExtractor)
        assert handover.spaces("the extractor", extractor.spaces)
        assert list(extractor.spaces) == list(extractor.spaces)

    def test_gives_every_image_in_every_space_once(self, extractor: FeatureExtractor) -> None:
        items = pictures(5)
        found = rows_of(extractor, items)
        assert set(found) == {(space, item.item_id) for space in extractor.spaces for item in items}

    def test_gives_the_numbers_of_images_that_it_declares(self, extractor: FeatureExtractor) -> None:
        for (space, item_id), (_, numbers) in rows_of(extractor, pictures(5)).items():
            assert set(numbers) == set(handover.numbers_of_images("the extractor", extractor, space)), item_id

    def test_no_items_give_no_batches(self, extractor: FeatureExtractor) -> None:
        assert not [batch for batch in extractor.extract([]) if len(batch)]

    def test_an_image_does_not_depend_on_the_others(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        items = pictures(5)
        together = rows_of(extractor, items)
        alone = {key: row for item in items for key, row in rows_of(extractor, [item]).items()}
        largest = {
            space: max(row.max() for (of, _), (row, _) in together.items() if of == space) for space, _ in together
        }
        for key, (row, numbers) in together.items():
            assert np.abs(alone[key][0] - row).max() <= self.tolerance * largest[key[0]], key
            for name, value in numbers.items():
                assert np.isclose(alone[key][1][name], value, rtol=self.tolerance, atol=1e-6, equal_nan=True), name

    def test_an_unreadable_picture_is_reported_and_left_out(
        self, extractor: FeatureExtractor, surroundings: Surroundings
    ) -> None:
        one, two = pictures(2)
        found = rows_of(extractor, [one, unreadable(), two])
        assert {item_id for _, item_id in found} == {one.item_id, two.item_id}
        assert [subject for subject, _ in surroundings.failures] == ["unreadable"]


def rows_of(extractor: FeatureExtractor, items: Sequence[ImageItem]) -> Rows:
    """What the extractor gives of these images, checked as in a run."""
    declared = {space: handover.numbers_of_images("the extractor", extractor, space) for space in extractor.spaces}
    ids = [item.item_id for item in items]
    found: Rows = {}
    for batch in handover.extracted("the extractor", extractor.extract(iter(items)), declared, ids):
        found.update(_rows(batch))
    return found


def _rows(batch: FeatureBatch) -> Rows:
    dense = batch.matrix.toarray().astype(float)
    return {
        (batch.space, item_id): (dense[row], {name: float(values[row]) for name, values in batch.of_images.items()})
        for row, item_id in enumerate(batch.item_ids)
    }
