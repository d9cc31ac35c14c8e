"""The contract of extractors is demanding: each fault is found by the check about it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from scipy.sparse import csr_array

from saeviz.testing import FeatureExtractorContract, fakes
from saeviz.testing.data import Surroundings, pictures
from saeviz.testing.embedders import unreadable
from tests.core.test_testing_contracts import failed_tests


class HidesNumbers(fakes.FakeExtractor):
    def numbers_of_images(self, space):
        return []


class ComparesItsBatch(fakes.FakeExtractor):
    def extract(self, items):
        for batch in super().extract(items):
            errors = batch.of_images["reconstruction_error"]
            yield replace(batch, of_images={"reconstruction_error": errors - errors.mean()})


class SkipsTheLast(fakes.FakeExtractor):
    def extract(self, items):
        return super().extract(list(items)[:-1])


class ForgetsToReport(fakes.FakeExtractor):
    def extract(self, items):
        return super().extract(item for item in items if item.item_id != "unreadable")


class SwapsIds(fakes.FakeExtractor):
    def extract(self, items):
        for batch in super().extract(items):
            yield replace(batch, item_ids=batch.item_ids[::-1])


class ComparesWithTheFirst(fakes.FakeExtractor):
    def extract(self, items):
        for batch in super().extract(items):
            yield replace(batch, matrix=csr_array(batch.matrix.toarray() + batch.matrix[[0]].toarray()))


class ReadsIds(fakes.FakeExtractor):
    def _pooled(self, patches, space):
        return super()._pooled(patches, space) * np.float32(1 + self.seen)

    def _try_patches(self, item):
        self.seen = item.item_id == "another id"
        return super()._try_patches(item)

    def extract(self, items):
        for item in items:
            yield from super().extract([item])


class ForgetsThePooling(fakes.FakeExtractor):
    def extract_from_image(self, image, layer=None, top_k=20):
        found = super().extract_from_image(image, layer, top_k)
        return replace(found, features=found.features * 2, top_values=found.top_values * 2)


class SortsFeatures(fakes.FakeExtractor):
    def heatmaps(self, images, layer, features, fine=False):
        return super().heatmaps(images, layer, sorted(features), fine)


class DoublesCells(fakes.FakeExtractor):
    def heatmaps(self, images, layer, features, fine=False):
        found = super().heatmaps(images, layer, features)
        return found.repeat(2, axis=-1).repeat(2, axis=-2) if fine else found


class TurnsTheBox(fakes.FakeExtractor):
    def field_of_view(self, image):
        left, top, right, bottom = super().field_of_view(image)
        return right, bottom, left, top


class SeesLessThanItSays(fakes.FakeExtractor):
    """Its model crops the middle, and its box is of the whole picture."""

    def heatmaps(self, images, layer, features, fine=False):
        return super().heatmaps([middle(image) for image in images], layer, features, fine)


class SeesMoreThanItSays(fakes.FakeExtractor):
    def field_of_view(self, image):
        _, _, right, bottom = super().field_of_view(image)
        return right / 4, bottom / 4, 3 * right / 4, 3 * bottom / 4


def middle(image):
    width, height = image.open().size
    return image.open().crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))


class ZeroForUnreadable(fakes.FakeExtractor):
    def activations(self, items, space):
        return np.nan_to_num(self.embed_images(items), nan=0.0)


class NarrowDecoder(ZeroForUnreadable):
    def activations(self, items, space):
        return self.embed_images(items)

    def decoder(self, space):
        return np.zeros((3, space.n_features))


class BytesAsProvenance(fakes.FakeExtractor):
    provenance = MappingProxyType({"model": b"vit"})


@pytest.mark.parametrize(
    ("extractor", "test"),
    [
        (SwapsIds, "test_an_image_does_not_depend_on_the_others"),
        (ComparesWithTheFirst, "test_the_order_of_images_does_not_matter"),
        (ReadsIds, "test_features_belong_to_the_picture_and_not_to_its_id"),
        (ForgetsThePooling, "test_a_single_image_has_the_features_that_it_has_among_others"),
        (SortsFeatures, "test_heatmaps_have_a_map_for_each_image_and_feature"),
        (DoublesCells, "test_fine_heatmaps_have_the_same_values_in_the_middle_of_patches"),
        (TurnsTheBox, "test_the_field_of_view_is_a_part_of_the_picture"),
        (SeesLessThanItSays, "test_heatmaps_depend_on_what_is_in_the_field_of_view_and_on_nothing_else"),
        (SeesMoreThanItSays, "test_heatmaps_depend_on_what_is_in_the_field_of_view_and_on_nothing_else"),
        (ZeroForUnreadable, "test_activations_are_rows_of_the_images"),
        (NarrowDecoder, "test_activations_are_rows_of_the_images"),
        (BytesAsProvenance, "test_provenance_can_be_written_as_json"),
        (HidesNumbers, "test_gives_the_numbers_of_images_that_it_declares"),
        (ComparesItsBatch, "test_an_image_does_not_depend_on_the_others"),
        (SkipsTheLast, "test_gives_every_image_in_every_space_once"),
        (ForgetsToReport, "test_an_unreadable_picture_is_reported_and_left_out"),
    ],
)
def test_a_faulty_extractor_is_found(tmp_path, extractor, test):
    def fixtures():
        surroundings = Surroundings(tmp_path, [*pictures(5), unreadable()])
        options = fakes.FakeExtractorOptions(reconstruction_error=True)
        return {"surroundings": surroundings, "extractor": extractor(options, surroundings.context)}

    assert failed_tests(FeatureExtractorContract, fixtures, only=test) == {test}
