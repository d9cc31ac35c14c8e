"""The suite of image providers that divide into shards is demanding: each of these faults is found."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.testing import DividesIntoShardsContract, fakes
from tests.core.test_testing_contracts import failed_tests


class InThrees(fakes.FakeImages):
    """Fake images in shards of three."""

    def shards(self):
        return [str(start) for start in range(0, self.options.n, 3)]

    def iter_shard(self, name):
        if name not in self.shards():
            raise saeviz.DataError(f"no shard {name!r}")
        return iter(list(self.iter_images())[int(name) :][:3])


class Overlapping(InThrees):
    def iter_shard(self, name):
        super().iter_shard(name)
        return iter(list(self.iter_images())[int(name) :][:4])


class SortsItsShards(InThrees):
    def shards(self):
        return super().shards()[::-1]


class ReadsAShardOnce(InThrees):
    def iter_shard(self, name):
        self.read = {*getattr(self, "read", set()), name}
        return iter(()) if len(self.read) < len(self.shards()) else super().iter_shard(name)


class TakesAnyShard(InThrees):
    def iter_shard(self, name):
        return super().iter_shard(name) if name in self.shards() else iter(())


FAULTS = [
    (Overlapping, "test_all_shards_in_order_are_all_images"),
    (SortsItsShards, "test_all_shards_in_order_are_all_images"),
    (ReadsAShardOnce, "test_a_shard_is_read_without_the_others_and_again"),
    (TakesAnyShard, "test_an_unknown_shard_is_an_error"),
]


def failed(provider):
    def fixtures():
        made = provider(fakes.FakeImagesOptions(n=7), saeviz.Context())
        return {"provider": made, "divided": made, "items": list(made.iter_images())}

    return failed_tests(DividesIntoShardsContract, fixtures)


@pytest.mark.parametrize(("provider", "test"), FAULTS)
def test_shards_that_are_not_the_images_are_found(provider, test):
    assert test in failed(provider)


def test_shards_that_are_the_images_pass():
    assert failed(InThrees) == set()
