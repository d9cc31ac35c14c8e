"""The contract of image providers, as a test suite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, ClassVar, cast

import pytest

from saeviz.contract import handover
from saeviz.contract.roles import DividesIntoShards, ImageProvider, ReportsNotes
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, assert_names, needs, refused
from saeviz.testing.data import HOSTILE_IDS
from saeviz.values.errors import DataError, ImageError
from saeviz.values.images import ImageItem


class ImageProviderContract(Contract):
    """Subclass this and define the fixture `provider`: a provider of two or more images.

    Set `n_images` to the number of images, if it is known. The suite tests most if some of the images are unrated and
    some cannot be read.
    """

    subject = "provider"
    n_images: ClassVar[int | None] = None

    @pytest.fixture
    def provider(self) -> ImageProvider:
        """The provider under test."""
        raise NotImplementedError("define the fixture provider")

    @pytest.fixture
    def items(self, provider: ImageProvider) -> list[ImageItem]:
        """All images of the provider."""
        return list(images_of(provider))

    def test_is_an_image_provider(self, provider: ImageProvider) -> None:
        self.assert_is(provider, ImageProvider)

    def test_gives_all_images(self, items: list[ImageItem]) -> None:
        assert len(items) >= 2, f"iter_images gives {len(items)} images; the suite needs two or more"
        assert self.n_images in (None, len(items)), (
            f"iter_images gives {len(items)} images; n_images = {self.n_images} of the suite were expected"
        )

    def test_ids_are_unique_text(self, items: list[ImageItem]) -> None:
        ids = [item.item_id for item in items]
        assert_equal(ids, list(dict.fromkeys(ids)), "the item ids of iter_images")

    def test_the_order_is_stable(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        again = [known_of(item) for item in images_of(provider)]
        assert_equal(again, [known_of(item) for item in items], "the images of a second iteration")

    def test_two_iterations_do_not_disturb_each_other(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        one, two = images_of(provider), images_of(provider)
        pairs = [[item and item.item_id for item in pair] for pair in zip_longest(one, two)]
        expected = [[item.item_id, item.item_id] for item in items]
        assert_equal(pairs, expected, "the ids of two iterations at the same time")

    def test_every_image_is_found_by_its_id(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        for item in items:
            found = handover.image("the provider", provider.get_image(item.item_id), item.item_id)
            assert found is not None, f"get_image finds no {item.item_id!r}, which iter_images has"
            assert_equal(list(known_of(found)), list(known_of(item)), f"the values of get_image({item.item_id!r})")

    def test_an_unknown_id_is_none(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        known = {item.item_id for item in items}
        near = {f"{item_id}x" for item_id in known} | {item_id.upper() for item_id in known}
        for item_id in {"", *HOSTILE_IDS, *near} - known:
            found = handover.image("the provider", provider.get_image(item_id), item_id)
            assert found is None, f"get_image({item_id!r}) gives an image, and iter_images has none of this id"

    def test_limit_cuts_the_end_off(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        ids = [item.item_id for item in items]
        for limit in (0, 1, len(ids) - 1, len(ids), len(ids) + 1):
            found = [item.item_id for item in images_of(provider, limit=limit)]
            assert_equal(found, ids[:limit], f"the images of iter_images(limit={limit})")

    def test_filter_labeled_keeps_those_with_a_rating(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        rated = [item.item_id for item in items if item.ratings]
        found = [item.item_id for item in images_of(provider, filter_labeled=True)]
        assert_equal(found, rated, "the images of iter_images(filter_labeled=True)")
        first = [item.item_id for item in images_of(provider, filter_labeled=True, limit=1)]
        assert_equal(first, rated[:1], "the images of iter_images(filter_labeled=True, limit=1)")

    def test_ratings_are_finite_numbers_and_metadata_is_text(self, items: list[ImageItem]) -> None:
        for item in items:
            wrong = {name: value for name, value in item.ratings.items() if not math.isfinite(value)}
            assert not wrong, f"{item.item_id!r}: the ratings {quoted(wrong)} are not finite; leave out what is missing"
            both = sorted(set(item.ratings) & set(item.metadata))
            assert not both, f"{item.item_id!r}: {quoted(both)} are names of ratings and of metadata; one was expected"

    def test_groups_are_text(self, items: list[ImageItem]) -> None:
        for item in items:
            assert item.group is None or (isinstance(item.group, str) and item.group), (
                f"{item.item_id!r}: the group is {item.group!r}; text, or None for an image without one, was expected"
            )

    def test_images_open_or_say_that_they_do_not(self, items: list[ImageItem]) -> None:
        n_opened = 0
        for item in items[:20]:
            try:
                picture = item.open()
            except ImageError as error:
                assert_names(error, item.item_id)
                continue
            assert min(picture.size) >= 1, f"{item.item_id!r} opens as a picture of {picture.size} pixels"
            again = item.open().convert("RGB").tobytes()
            assert picture.convert("RGB").tobytes() == again, f"{item.item_id!r} is another picture when opened again"
            n_opened += 1
        assert n_opened, "none of the first 20 images can be read"

    @needs(ReportsNotes)
    def test_notes_are_sentences(self, provider: ImageProvider, items: list[ImageItem]) -> None:
        assert isinstance(provider, ReportsNotes), "the provider has no notes"
        notes = handover.listed("the provider", "notes", provider.notes(), str)
        assert all(note.strip() for note in notes), f"notes gives an empty note: {quoted(notes)}"
        list(images_of(provider))
        assert_equal(list(provider.notes()), notes, "the notes after images were read again")


def images_of(provider: ImageProvider, **options: Any) -> Iterator[ImageItem]:
    """What `iter_images` gives, checked as in a run."""
    return handover.images("the provider", provider.iter_images(**options))


class DividesIntoShardsContract(ImageProviderContract):
    """The suite of image providers, and of one that divides into shards; the fixture `provider` has two or more."""

    @pytest.fixture
    def divided(self, provider: ImageProvider) -> DividesIntoShards:
        """The provider under test, as one that divides into shards."""
        self.assert_is(provider, DividesIntoShards)
        return cast("DividesIntoShards", provider)

    def test_shards_have_names_of_their_own(self, divided: DividesIntoShards) -> None:
        shards = list(divided.shards())
        assert len(shards) >= 2, f"shards gives {len(shards)} names; the suite needs two or more"
        assert_equal(shards, list(dict.fromkeys(shards)), "the names of shards")
        wrong = [one for one in shards if not isinstance(one, str) or one.encode(errors="replace").decode() != one]
        assert not wrong, f"shards gives {quoted(wrong)}; names that can be written as UTF-8 were expected"
        assert_equal(list(divided.shards()), shards, "the names of shards when asked again")

    def test_all_shards_in_order_are_all_images(self, divided: DividesIntoShards, items: list[ImageItem]) -> None:
        found = [known_of(item) for name in divided.shards() for item in divided.iter_shard(name)]
        assert_equal(found, [known_of(item) for item in items], "the images of all shards in order")

    def test_a_shard_is_read_without_the_others_and_again(
        self, divided: DividesIntoShards, provider: ImageProvider
    ) -> None:
        backwards = [(name, [known_of(item) for item in divided.iter_shard(name)]) for name in divided.shards()[::-1]]
        again = [known for _, shard in backwards[::-1] for known in shard]
        expected = [known_of(item) for item in images_of(provider)]
        assert_equal(again, expected, "the images of shards that are read from the last to the first")

    def test_two_shards_are_read_at_the_same_time(self, divided: DividesIntoShards) -> None:
        one, other = divided.shards()[:2]
        alone = [item.item_id for item in divided.iter_shard(one)], [item.item_id for item in divided.iter_shard(other)]
        first, second = divided.iter_shard(one), divided.iter_shard(other)
        ids: tuple[list[str], list[str]] = [], []
        for _ in range(max(map(len, alone))):
            for shard, found in ((first, ids[0]), (second, ids[1])):
                found.extend(item.item_id for item in [next(shard, None)] if item is not None)
        for found, expected in zip(ids, alone, strict=True):
            assert_equal(found, expected, "the images of a shard while another one is read")

    def test_an_unknown_shard_is_an_error(self, divided: DividesIntoShards) -> None:
        for name in {"", "../x", f"{divided.shards()[0]}x"} - set(divided.shards()):
            with refused(DataError, f"iter_shard({name!r}), of a shard that shards does not name,"):
                list(divided.iter_shard(name))


def known_of(item: ImageItem) -> tuple[str, dict[str, float], dict[str, str], str | None, str]:
    """The id, ratings, metadata and fingerprint of an item, which are known without decoding it."""
    return item.item_id, dict(item.ratings), dict(item.metadata), item.group, item.fingerprint
