"""The contract of image providers, as a test suite."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import pytest

from saeviz.contract import handover
from saeviz.contract.roles import DividesIntoShards, ImageProvider, ReportsNotes
from saeviz.testing.contract import Contract
from saeviz.testing.data import HOSTILE_IDS
from saeviz.values.errors import DataError, ImageError
from saeviz.values.images import ImageItem


class ImageProviderContract(Contract):
    """Subclass this and define the fixture `provider`: a provider of two or more images.

    Set `n_images` to the number of images, if it is known. The suite tests most if some of the images are unrated and
    some cannot be read.
    """

    n_images: ClassVar[int | None] = None

    @pytest.fixture
    def provider(self) -> ImageProvider:
        """The provider under test."""
        raise NotImplementedError("define the fixture provider")

    @pytest.fixture
    def items(self, provider: ImageProvider) -> list[ImageItem]:
        """All images of the provider."""
        return list(handover.images("the provider", provider.iter_images()))

    def test_is_an_image_provider(self, provider: ImageProvider) -> None:
        assert isinstance(provider, ImageProvider)

    def test_gives_all_images(self, items: list[ImageItem]) -> None:
        assert len(items) >= 2
        assert self.n_images is None or len(items) == self.n_images
        assert all(isinstance(item, ImageItem) for item in items)

    def test_ids_are_unique_text(self, items: list[ImageItem]) -> None:
        ids = [item.item_id for item in items]
        assert len(set(ids)) == len(ids)
        assert [item_id.encode().decode() for item_id in ids] == ids

    def test_the_order_is_stable(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        assert [known_of(item) for item in provider.iter_images()] == [known_of(item) for item in items]

    def test_two_iterations_do_not_disturb_each_other(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        pairs = list(zip(provider.iter_images(), provider.iter_images(), strict=True))
        assert [(one.item_id, two.item_id) for one, two in pairs] == [(item.item_id, item.item_id) for item in items]

    def test_every_image_is_found_by_its_id(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        for item in items:
            found = handover.image("the provider", provider.get_image(item.item_id), item.item_id)
            assert found is not None, f"get_image finds no {item.item_id!r}, which iter_images has"
            assert known_of(found) == known_of(item)

    def test_an_unknown_id_is_none(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        known = {item.item_id for item in items}
        near = {f"{item_id}x" for item_id in known} | {item_id.upper() for item_id in known}
        for item_id in {"", *HOSTILE_IDS, *near} - known:
            assert provider.get_image(item_id) is None

    def test_limit_cuts_the_end_off(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        ids = [item.item_id for item in items]
        for limit in (0, 1, len(ids) - 1, len(ids), len(ids) + 1):
            assert [item.item_id for item in provider.iter_images(limit=limit)] == ids[:limit]

    def test_filter_labeled_keeps_those_with_a_rating(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        rated = [item.item_id for item in items if item.ratings]
        assert [item.item_id for item in provider.iter_images(filter_labeled=True)] == rated
        assert [item.item_id for item in provider.iter_images(filter_labeled=True, limit=1)] == rated[:1]

    def test_ratings_are_finite_numbers_and_metadata_is_text(self, items: list[ImageItem]) -> None:
        for item in items:
            assert all(isinstance(name, str) and name for name in [*item.ratings, *item.metadata])
            assert all(isinstance(value, float) and math.isfinite(value) for value in item.ratings.values())
            assert all(isinstance(value, str) for value in item.metadata.values())
            assert not set(item.ratings) & set(item.metadata)

    def test_groups_are_text(self, items: list[ImageItem]) -> None:
        for item in items:
            assert item.group is None or (isinstance(item.group, str) and item.group)
            assert item.group is None or item.group.encode().decode() == item.group

    def test_images_open_or_say_that_they_do_not(self, items: list[ImageItem]) -> None:
        n_opened = 0
        for item in items[:20]:
            try:
                picture = item.open()
            except ImageError as error:
                assert item.item_id in str(error)  # noqa: PT017
                continue
            assert min(picture.size) >= 1
            assert picture.convert("RGB").tobytes() == item.open().convert("RGB").tobytes()
            n_opened += 1
        assert n_opened, "none of the first 20 images can be read"

    def test_notes_are_sentences(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        if not isinstance(provider, ReportsNotes):
            pytest.skip("the provider has no notes (saeviz.ReportsNotes)")
        notes = handover.listed("the provider", "notes", provider.notes(), str)
        assert all(note.strip() for note in notes)
        list(provider.iter_images())
        assert list(provider.notes()) == notes


class DividesIntoShardsContract(ImageProviderContract):
    """The suite of image providers, and of one that divides into shards; the fixture `provider` has two or more."""

    @pytest.fixture
    def divided(self, provider: ImageProvider) -> DividesIntoShards:
        """The provider under test, as one that divides into shards."""
        assert isinstance(provider, DividesIntoShards)
        return cast("DividesIntoShards", provider)

    def test_shards_have_names_of_their_own(self, divided: DividesIntoShards) -> None:
        shards = list(divided.shards())
        assert len(shards) >= 2
        assert len(set(shards)) == len(shards)
        assert all(isinstance(name, str) and name.encode().decode() == name for name in shards)
        assert list(divided.shards()) == shards

    def test_all_shards_in_order_are_all_images(self, divided: DividesIntoShards, items: list[ImageItem]) -> None:
        found = [known_of(item) for name in divided.shards() for item in divided.iter_shard(name)]
        assert found == [known_of(item) for item in items]

    def test_a_shard_is_read_without_the_others_and_again(
        self, divided: DividesIntoShards, provider: ImageProvider
    ) -> None:
        backwards = [(name, [known_of(item) for item in divided.iter_shard(name)]) for name in divided.shards()[::-1]]
        again = [known for _, shard in backwards[::-1] for known in shard]
        assert again == [known_of(item) for item in provider.iter_images()]

    def test_two_shards_are_read_at_the_same_time(self, divided: DividesIntoShards) -> None:
        one, other = divided.shards()[:2]
        alone = [item.item_id for item in divided.iter_shard(one)], [item.item_id for item in divided.iter_shard(other)]
        first, second = divided.iter_shard(one), divided.iter_shard(other)
        ids: tuple[list[str], list[str]] = [], []
        for _ in range(max(map(len, alone))):
            for shard, found in ((first, ids[0]), (second, ids[1])):
                found.extend(item.item_id for item in [next(shard, None)] if item is not None)
        assert ids == alone

    def test_an_unknown_shard_is_an_error(self, divided: DividesIntoShards) -> None:
        for name in {"", "../x", f"{divided.shards()[0]}x"} - set(divided.shards()):
            with pytest.raises(DataError):
                list(divided.iter_shard(name))


def known_of(item: ImageItem) -> tuple[str, dict[str, float], dict[str, str], str | None, str]:
    """The id, ratings, metadata and fingerprint of an item, which are known without decoding it."""
    return item.item_id, dict(item.ratings), dict(item.metadata), item.group, item.fingerprint
