"""The contract of feature extractors, as a test suite."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from saeviz.config.columns import undeclared
from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import (
    FeatureExtractor,
    HasActivations,
    HasDecoder,
    HasProvenance,
    HeatmapExtractor,
    SingleImageExtractor,
)
from saeviz.testing.contract import Contract
from saeviz.testing.data import Surroundings, pictures
from saeviz.testing.embedders import blank, unreadable
from saeviz.values.columns import ColumnInfo, described
from saeviz.values.errors import NoHeatmapError
from saeviz.values.features import FeatureBatch, FeatureSpace, Layer
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray
    from saeviz.values.images import Box

    AnyArray = NDArray[Any]

MakeExtractor = Callable[[Context], FeatureExtractor]
Rows = dict[tuple[FeatureSpace, str], tuple["FloatArray", dict[str, float]]]
"""Of each space and image the features, and the numbers of the image."""


class FeatureExtractorContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the extractor from a context.

    Set `declares` to the `columns` of its spec to check that it gives no other numbers of images.
    """

    declares: ClassVar[Sequence[str | ColumnInfo]] = ()

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
            assert not undeclared(numbers, described(self.declares)), "the columns of its spec lack these"

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

    def test_the_order_of_images_does_not_matter(self, extractor: FeatureExtractor) -> None:
        items = pictures(5)
        forwards, backwards = rows_of(extractor, items), rows_of(extractor, items[::-1])
        for key, (row, _) in forwards.items():
            self.assert_close(backwards[key][0], row)

    def test_features_belong_to_the_picture_and_not_to_its_id(self, extractor: FeatureExtractor) -> None:
        first, second = pictures(2)
        found = rows_of(extractor, [first, second, replace(first, item_id="another id")])
        for space in extractor.spaces:
            self.assert_close(found[space, "another id"][0], found[space, first.item_id][0])
        assert any(
            (found[space, first.item_id][0] != found[space, second.item_id][0]).any() for space in extractor.spaces
        )

    def test_a_single_image_has_the_features_that_it_has_among_others(self, extractor: FeatureExtractor) -> None:
        if not isinstance(extractor, SingleImageExtractor):
            pytest.skip("the extractor has no single images (saeviz.SingleImageExtractor)")
        items = pictures(3)
        together = rows_of(extractor, items)
        for space in [space for space in extractor.spaces if space.tokens == "cls"]:
            found = extractor.extract_from_image(items[1], space.site)
            assert found.features.shape == (space.n_features,)
            self.assert_close(found.features, together[space, items[1].item_id][0])
            assert found.num_active == (found.features > 0).sum()
            assert found.features[found.top_indices].tolist() == found.top_values.tolist()
            assert sorted(found.top_values, reverse=True) == list(found.top_values)

    def test_heatmaps_have_a_map_for_each_image_and_feature(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        for heatmaps, site in self.mapped(extractor):
            maps = heatmaps.heatmaps(pictures(2), site, [3, 0, 2])
            assert maps.shape[:2] == (2, 3)
            assert maps.ndim == 4
            assert min(maps.shape) >= 1
            assert np.isfinite(maps).all()
            self.assert_close(heatmaps.heatmaps(pictures(2)[1:], site, [2]), maps[1:, 2:])

    def test_fine_heatmaps_have_the_same_values_in_the_middle_of_patches(self, extractor: FeatureExtractor) -> None:
        for heatmaps, site in self.mapped(extractor):
            maps = heatmaps.heatmaps(pictures(1), site, [0, 1])
            fine = heatmaps.heatmaps(pictures(1), site, [0, 1], fine=True)
            rows, columns = fine.shape[2] // maps.shape[2], fine.shape[3] // maps.shape[3]
            assert fine.shape[2:] == (rows * maps.shape[2], columns * maps.shape[3])
            assert (rows % 2, columns % 2) == (1, 1), "cells of a patch have no middle"
            self.assert_close(fine[:, :, rows // 2 :: rows, columns // 2 :: columns], maps)

    def test_the_field_of_view_is_a_part_of_the_picture(self, extractor: FeatureExtractor) -> None:
        if not isinstance(extractor, HeatmapExtractor):
            pytest.skip("the extractor has no heatmaps (saeviz.HeatmapExtractor)")
        for item in (*pictures(1), blank("RGB", (60, 20)), blank("RGB", (20, 60))):
            left, top, right, bottom = extractor.field_of_view(item)
            width, height = item.open().size
            assert max(left, 0) < min(right, width), "it sees no column of the picture"
            assert max(top, 0) < min(bottom, height), "it sees no row of the picture"

    def test_heatmaps_depend_on_what_is_in_the_field_of_view_and_on_nothing_else(
        self, extractor: FeatureExtractor
    ) -> None:
        import numpy as np

        for heatmaps, site in self.mapped(extractor):
            space = next(space for space in extractor.spaces if space.site == site)
            features = range(min(space.n_features, 64))
            for size in ((120, 80), (80, 120)):
                picture = noise(size)
                inside, outside = strips(heatmaps.field_of_view(picture), size)
                changed = [noise(size, strip) for strip in (*inside, *outside)]
                plain, *others = heatmaps.heatmaps([picture, *changed], site, features)
                differences = [float(np.abs(maps - plain).max()) for maps in others]
                assert min(differences[:4]) > 0, "a part of the field of view changes no heatmap"
                largest = self.tolerance * float(np.abs(plain).max())
                assert max(differences[4:], default=0) <= largest, "what is not in the field of view changes heatmaps"

    def test_activations_are_rows_of_the_images(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        if not isinstance(extractor, HasActivations):
            pytest.skip("the extractor has no activations (saeviz.HasActivations)")
        one, two = pictures(2)
        for space in extractor.spaces:
            rows = extractor.activations([one, unreadable(), two], space)
            assert np.isfinite(rows).all(axis=1).tolist() == [True, False, True]
            self.assert_close(extractor.activations([two], space)[0], rows[2])
            if isinstance(extractor, HasDecoder):
                assert extractor.decoder(space).shape == (space.n_features, rows.shape[1])

    def test_provenance_can_be_written_as_json(self, extractor: FeatureExtractor) -> None:
        if not isinstance(extractor, HasProvenance):
            pytest.skip("the extractor has no provenance (saeviz.HasProvenance)")
        rows_of(extractor, pictures(1))
        record = handover.provenance("the extractor", extractor.provenance)
        assert json.loads(json.dumps(record, allow_nan=False)) == record

    def mapped(self, extractor: FeatureExtractor) -> list[tuple[HeatmapExtractor, Layer]]:
        """The extractor with each site of which it has heatmaps; skips the check if there is none."""
        if not isinstance(extractor, HeatmapExtractor):
            pytest.skip("the extractor has no heatmaps (saeviz.HeatmapExtractor)")
        found: list[tuple[HeatmapExtractor, Layer]] = []
        for site in dict.fromkeys(space.site for space in extractor.spaces):
            with suppress(NoHeatmapError):
                extractor.heatmaps(pictures(1), site, [0])
                found.append((extractor, site))
        if not found:
            pytest.skip("no layer of the extractor has heatmaps")
        return found

    def assert_close(self, found: AnyArray, expected: AnyArray) -> None:
        """Assert that features are equal up to `tolerance` of the largest."""
        import numpy as np

        assert np.shape(found) == np.shape(expected)
        assert np.abs(np.asarray(found) - expected).max() <= self.tolerance * np.abs(expected).max()


def noise(size: tuple[int, int], changed: Sequence[int] = ()) -> ImageItem:
    """A picture of noise, other noise in a box (left, top, right, bottom) of it."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    plain, other = (generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(2))
    picture = Image.fromarray(plain)
    if changed:
        box = (changed[0], changed[1], changed[2], changed[3])
        picture.paste(Image.fromarray(other).crop(box), box)
    return ImageItem(f"noise {size} {changed}", lambda: picture)


def strips(box: Box, size: tuple[int, int]) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    """The quarter of a field of view at each of its edges; and beyond each edge what is far enough from it."""
    width, height = size
    left, top = max(0, round(box[0])), max(0, round(box[1]))
    right, bottom = min(width, round(box[2])), min(height, round(box[3]))
    across, down = max(1, (right - left) // 4), max(1, (bottom - top) // 4)
    inside: list[Sequence[int]] = [
        (left, top, left + across, bottom),
        (right - across, top, right, bottom),
        (left, top, right, top + down),
        (left, bottom - down, right, bottom),
    ]
    outside: list[Sequence[int]] = [
        (0, 0, left // 2, height),
        (width - (width - right) // 2, 0, width, height),
        (0, 0, width, top // 2),
        (0, height - (height - bottom) // 2, width, height),
    ]
    return inside, [strip for strip in outside if min(strip[2] - strip[0], strip[3] - strip[1]) >= 4]


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
