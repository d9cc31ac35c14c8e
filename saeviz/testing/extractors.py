"""The contract of feature extractors, as a test suite."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
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
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, needs
from saeviz.testing.data import Surroundings, pictures
from saeviz.testing.embedders import assert_reported, blank, unreadable
from saeviz.values.columns import ColumnInfo, described
from saeviz.values.errors import NoHeatmapError
from saeviz.values.features import FeatureBatch, FeatureSpace, Layer
from saeviz.values.images import ImageItem
from saeviz.values.texts import Marks, Places, Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray
    from saeviz.values.images import Box

    AnyArray = NDArray[Any]

MakeExtractor = Callable[[Context], FeatureExtractor]
TINY = 1e-30
"""So that nothing is divided by zero."""
Rows = dict[tuple[FeatureSpace, str], tuple["FloatArray", dict[str, float]]]
"""Of each space and image the features, and the numbers of the image."""


class FeatureExtractorContract(Contract):
    """Subclass this and define the fixture `make`: a function that builds the extractor from a context.

    Set `declares` to the `columns` of its spec to check that it gives no other numbers of images.
    """

    declares: ClassVar[Sequence[str | ColumnInfo]] = ()

    subject = "extractor"
    has_heatmaps: ClassVar[bool] = True
    """Whether a `saeviz.HeatmapExtractor` has heatmaps with these options, of one layer at least."""
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
        self.assert_is(extractor, FeatureExtractor)
        first = [str(space) for space in spaces_of(extractor)]
        assert_equal([str(space) for space in spaces_of(extractor)], first, "the spaces when asked again")

    def test_gives_every_image_in_every_space_once(self, extractor: FeatureExtractor) -> None:
        items = pictures(5)
        found = rows_of(extractor, items)
        expected = [(str(space), item.item_id) for space in spaces_of(extractor) for item in items]
        given = sorted((str(space), item_id) for space, item_id in found)
        assert_equal(given, sorted(expected), "the images that extract gives, with their spaces,")

    def test_gives_the_numbers_of_images_that_it_declares(self, extractor: FeatureExtractor) -> None:
        for (space, item_id), (_, numbers) in rows_of(extractor, pictures(5)).items():
            declared = sorted(handover.numbers_of_images("the extractor", extractor, space))
            assert_equal(sorted(numbers), declared, f"the numbers of image {item_id!r} in {space}")
            unknown = undeclared(numbers, described(self.declares))
            assert not unknown, f"the extractor gave the numbers {quoted(unknown)}, which the columns of its spec lack"

    def test_no_items_give_no_batches(self, extractor: FeatureExtractor) -> None:
        given = [item_id for batch in batches_of(extractor, []) for item_id in batch.item_ids]
        assert not given, f"extract of no items gives features of {quoted(given)}"

    def test_an_image_does_not_depend_on_the_others(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        items = pictures(5)
        together = rows_of(extractor, items)
        alone = {key: row for item in items for key, row in rows_of(extractor, [item]).items()}
        largest = {
            space: max(row.max() for (of, _), (row, _) in together.items() if of == space) for space, _ in together
        }
        for key, (row, numbers) in together.items():
            (space, item_id), (row_alone, numbers_alone) = key, alone[key]
            apart = np.abs(row_alone - row).max() / max(largest[space], TINY)
            assert apart <= self.tolerance, (
                f"the features of {item_id!r} in {space} alone and among others differ by {apart:.2g} of the largest, "
                f"more than tolerance = {self.tolerance}"
            )
            for name, value in numbers.items():
                other = numbers_alone[name]
                assert np.isclose(other, value, rtol=self.tolerance, atol=1e-6, equal_nan=True), (
                    f"{name} of {item_id!r} in {space} is {other:g} alone and {value:g} among others"
                )

    def test_an_unreadable_picture_is_reported_and_left_out(
        self, extractor: FeatureExtractor, surroundings: Surroundings
    ) -> None:
        one, two = pictures(2)
        found = rows_of(extractor, [one, unreadable(), two])
        given = sorted({item_id for _, item_id in found})
        assert_equal(
            given, sorted([one.item_id, two.item_id]), "the images that extract gives beside an unreadable one"
        )
        assert_reported(surroundings)

    def test_the_order_of_images_does_not_matter(self, extractor: FeatureExtractor) -> None:
        items = pictures(5)
        forwards, backwards = rows_of(extractor, items), rows_of(extractor, items[::-1])
        for (space, item_id), (row, _) in forwards.items():
            what = f"the features of {item_id!r} in {space} with the images in the opposite order"
            self.assert_close(backwards[space, item_id][0], row, what)

    def test_features_belong_to_the_picture_and_not_to_its_id(self, extractor: FeatureExtractor) -> None:
        first, second = pictures(2)
        found = rows_of(extractor, [first, second, replace(first, item_id="another id")])
        for space in spaces_of(extractor):
            what = f"the features in {space} of the same picture under another id"
            self.assert_close(found[space, "another id"][0], found[space, first.item_id][0], what)
        pairs = [(found[space, first.item_id][0], found[space, second.item_id][0]) for space in spaces_of(extractor)]
        assert any((one != two).any() for one, two in pairs), "two different pictures have the same features"

    @needs(SingleImageExtractor)
    def test_a_single_image_has_the_features_that_it_has_among_others(self, extractor: FeatureExtractor) -> None:
        assert isinstance(extractor, SingleImageExtractor), "the extractor has no extract_from_image"
        items = pictures(3)
        together = rows_of(extractor, items)
        for space in [space for space in spaces_of(extractor) if space.tokens == "cls"]:
            found = extractor.extract_from_image(items[1], space.site)
            what = f"extract_from_image of {space}"
            assert_equal(found.features.shape, (space.n_features,), f"{what}: the shape of features")
            self.assert_close(found.features, together[space, items[1].item_id][0], f"{what}: the features")
            assert_equal(found.num_active, int((found.features > 0).sum()), f"{what}: num_active")
            top = found.top_values.tolist()
            assert_equal(found.features[found.top_indices].tolist(), top, f"{what}: the features at top_indices")
            assert_equal(top, sorted(top, reverse=True), f"{what}: the top_values, the largest first,")

    @needs(HeatmapExtractor, declared="has_heatmaps")
    def test_heatmaps_have_a_map_for_each_image_and_feature(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        for heatmaps, site in self.mapped(extractor):
            maps = heatmaps.heatmaps(pictures(2), site, [3, 0, 2])
            handover.numbers("the extractor", "heatmaps", maps, (2, 3, "rows", "columns"))
            assert maps.size, f"heatmaps of two images and three features in {site} have shape {maps.shape}: no cell"
            assert np.isfinite(maps).all(), f"a heatmap in {site} has NaN or infinity"
            one = heatmaps.heatmaps(pictures(2)[1:], site, [2])
            self.assert_close(
                one, maps[1:, 2:], f"the heatmap in {site} of one image and feature that is asked for alone"
            )

    @needs(HeatmapExtractor, declared="has_heatmaps")
    def test_fine_heatmaps_have_the_same_values_in_the_middle_of_patches(self, extractor: FeatureExtractor) -> None:
        for heatmaps, site in self.mapped(extractor):
            maps = heatmaps.heatmaps(pictures(1), site, [0, 1])
            fine = heatmaps.heatmaps(pictures(1), site, [0, 1], fine=True)
            rows, columns = fine.shape[2] // maps.shape[2], fine.shape[3] // maps.shape[3]
            assert_equal(fine.shape[2:], (rows * maps.shape[2], columns * maps.shape[3]), "the shape of fine heatmaps")
            assert (rows % 2, columns % 2) == (1, 1), (
                f"a patch has {rows} x {columns} cells in fine heatmaps, and so no cell in the middle: both must be odd"
            )
            middle = fine[:, :, rows // 2 :: rows, columns // 2 :: columns]
            self.assert_close(middle, maps, f"fine heatmaps in {site} in the middle of patches")

    @needs(HeatmapExtractor)
    def test_the_field_of_view_is_a_part_of_the_picture(self, extractor: FeatureExtractor) -> None:
        assert isinstance(extractor, HeatmapExtractor), "the extractor has no heatmaps or no field_of_view"
        for item in (*pictures(1), blank("RGB", (60, 20)), blank("RGB", (20, 60))):
            left, top, right, bottom = extractor.field_of_view(item)
            width, height = item.open().size
            box = f"the field of view {(left, top, right, bottom)} of a picture of {width} x {height} pixels"
            assert max(left, 0) < min(right, width), f"{box} has no column of the picture"
            assert max(top, 0) < min(bottom, height), f"{box} has no row of the picture"

    @needs(HeatmapExtractor, declared="has_heatmaps")
    def test_heatmaps_depend_on_what_is_in_the_field_of_view_and_on_nothing_else(
        self, extractor: FeatureExtractor
    ) -> None:
        import numpy as np

        for heatmaps, site in self.mapped(extractor):
            space = next(space for space in spaces_of(extractor) if space.site == site)
            features = range(min(space.n_features, 64))
            for size in ((120, 80), (80, 120)):
                picture = noise(size)
                inside, outside = strips(heatmaps.field_of_view(picture), size)
                changed = [noise(size, strip) for strip in (*inside, *outside)]
                plain, *others = heatmaps.heatmaps([picture, *changed], site, features)
                differences = [float(np.abs(maps - plain).max()) for maps in others]
                assert min(differences[:4]) > 0, (
                    f"an edge of the field of view of a picture of {size} changes no heatmap"
                )
                largest = self.tolerance * float(np.abs(plain).max())
                assert max(differences[4:], default=0) <= largest, (
                    f"what is not in the field of view of a picture of {size} pixels changes heatmaps"
                )

    @needs(HasActivations)
    def test_activations_are_rows_of_the_images(self, extractor: FeatureExtractor) -> None:
        import numpy as np

        assert isinstance(extractor, HasActivations), "the extractor has no activations"
        one, two = pictures(2)
        for space in spaces_of(extractor):
            rows = extractor.activations([one, unreadable(), two], space)
            handover.numbers("the extractor", "activations", rows, (3, "width"))
            found = np.isfinite(rows).all(axis=1).tolist()
            assert found == [True, False, True], (
                f"of three images, the second of which cannot be read, the activations in {space} are finite: {found}; "
                "[True, False, True] was expected, and NaN for the second"
            )
            alone = extractor.activations([two], space)[0]
            self.assert_close(alone, rows[2], f"the activations in {space} of an image that is asked for alone")
            if isinstance(extractor, HasDecoder):
                shape = (space.n_features, rows.shape[1])
                assert_equal(extractor.decoder(space).shape, shape, f"the shape of the decoder of {space}")

    @needs(HasProvenance)
    def test_provenance_can_be_written_as_json(self, extractor: FeatureExtractor) -> None:
        assert isinstance(extractor, HasProvenance), "the extractor has no provenance"
        rows_of(extractor, pictures(1))
        record = handover.provenance("the extractor", extractor.provenance)
        assert_equal(json.loads(json.dumps(record, allow_nan=False)), record, "the provenance read back from JSON")

    def mapped(self, extractor: FeatureExtractor) -> list[tuple[HeatmapExtractor, Layer]]:
        """The extractor with each site of which it has heatmaps."""
        assert isinstance(extractor, HeatmapExtractor), "the extractor has no heatmaps or no field_of_view"
        found: list[tuple[HeatmapExtractor, Layer]] = []
        for site in dict.fromkeys(space.site for space in spaces_of(extractor)):
            with suppress(NoHeatmapError):
                extractor.heatmaps(pictures(1), site, [0])
                found.append((extractor, site))
        if not found:
            pytest.skip("no layer of the extractor has heatmaps; say has_heatmaps = False, and this check is not made")
        return found

    def assert_close(self, found: AnyArray, expected: AnyArray, what: str = "the features") -> None:
        """Assert that features are equal up to `tolerance` of the largest."""
        import numpy as np

        assert_equal(np.shape(found), np.shape(expected), f"the shape of {what}")
        apart = np.abs(np.asarray(found) - expected).max()
        assert apart <= self.tolerance * np.abs(expected).max(), (
            f"{what}: a difference of {apart / max(np.abs(expected).max(), TINY):.2g} of the largest; "
            f"tolerance = {self.tolerance} is allowed"
        )


def spaces_of(extractor: FeatureExtractor) -> list[FeatureSpace]:
    """The spaces of the extractor, checked as in a run."""
    return handover.spaces("the extractor", extractor.spaces)


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
    declared = {space: handover.numbers_of_images("the extractor", extractor, space) for space in spaces_of(extractor)}
    ids = Texts.of(item.item_id for item in items)
    asked, found = Marks(Places(ids), ids), Rows()
    for batch in handover.extracted("the extractor", batches_of(extractor, items), declared, asked):
        found.update(_rows(batch))
    return found


def batches_of(extractor: FeatureExtractor, items: Sequence[ImageItem]) -> Iterator[FeatureBatch]:
    """What `extract` gives, checked as in a run to be batches."""
    return handover.each("the extractor", "extract", extractor.extract(iter(items)), FeatureBatch)


def _rows(batch: FeatureBatch) -> Rows:
    dense = batch.matrix.toarray().astype(float)
    return {
        (batch.space, item_id): (dense[row], {name: float(values[row]) for name, values in batch.of_images.items()})
        for row, item_id in enumerate(batch.item_ids)
    }
