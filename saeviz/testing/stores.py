"""The contract of feature stores, as a test suite."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar, NoReturn, cast

import pytest

from saeviz.contract.mixins import OneItemStore
from saeviz.contract.stores import FeatureStore
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, needs, refused
from saeviz.testing.data import HOSTILE_IDS, random_batch
from saeviz.testing.stored import (
    OTHERS,
    SPACE,
    OpenStore,
    assert_empty,
    assert_items,
    assert_kept,
    assert_same,
    assert_spaces,
    batches_of,
    dense_batch,
    ids_of,
    read_all,
    rows_are_equal,
    versioned,
    versioned_row,
    writer,
)
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureSpace

__all__ = [
    "OTHERS",
    "SPACE",
    "FeatureStoreContract",
    "OpenStore",
    "assert_kept",
    "assert_same",
    "dense_batch",
    "read_all",
    "rows_are_equal",
    "versioned",
    "versioned_row",
    "write_until_killed",
    "writer",
]


class FeatureStoreContract(Contract):
    """Subclass this and define the fixture `open_store`: a function that opens the same, initially empty, store.

    The function is called again to open the store a second time, also in another process. Set `durable = False` for a
    store whose features do not outlive the process.
    """

    subject = "store"
    durable: ClassVar[bool] = True
    most_items_per_batch: ClassVar[int] = 1024
    """The largest batch that `read` may yield, to bound memory."""
    many_writers: ClassVar[bool] = True
    """Whether a store with `writer` (`saeviz.ManyWriters`) has several writers at once with these options."""
    series: ClassVar[int] = 4
    """Series of steps in which the store is compared with a dictionary; more find rarer faults."""
    steps: ClassVar[int] = 10
    """The most steps of a series."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Opens the store under test."""
        raise NotImplementedError("define the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Iterator[FeatureStore]:
        """The store, open and empty."""
        store = open_store()
        yield store
        store.close()

    def test_is_a_feature_store(self, store: FeatureStore) -> None:
        self.assert_is(store, FeatureStore)

    def test_is_empty_at_first(self, store: FeatureStore) -> None:
        assert_empty(store, "at first")

    def test_gives_back_exactly_what_it_was_given(self, store: FeatureStore) -> None:
        batch = random_batch(SPACE, [f"item {number}" for number in range(20)])
        store.write(batch)
        assert_same(read_all(store, SPACE), batch)
        assert_spaces(store, [SPACE])

    def test_keeps_every_bit_of_a_float32(self, store: FeatureStore) -> None:
        import numpy as np

        values = [1e-45, 3.4028235e38, -1.1754944e-38, 0.1, 1 / 3, 16777217.0, -5e-7, np.pi, 1.0000001, 7.0]
        values += np.random.default_rng(0).lognormal(sigma=20, size=38).tolist()
        batch = dense_batch(SPACE, ["numbers"], [[*values, 0.0, 1.0]])
        store.write(batch)
        assert_same(read_all(store, SPACE), batch)

    def test_keeps_an_item_without_any_feature(self, store: FeatureStore) -> None:
        batch = dense_batch(SPACE, ["silent", "loud", "silent too"], [[0.0] * 50, [1.0] * 50, [0.0] * 50])
        store.write(batch)
        assert_items(store, SPACE, ["silent", "loud", "silent too"])
        assert_same(read_all(store, SPACE), batch)

    def test_a_batch_without_items_leaves_no_trace(self, store: FeatureStore) -> None:
        store.write(random_batch(SPACE, []))
        assert_empty(store, "after a batch without items")

    def test_does_not_touch_the_batch_it_was_given_nor_share_it(self, store: FeatureStore) -> None:
        batch, same = random_batch(SPACE, ["a", "b"]), random_batch(SPACE, ["a", "b"])
        store.write(batch)
        assert_same(batch, same, "the batch that was given to write")
        batch.matrix.data[:] = 99
        given = read_all(store, SPACE)
        assert_same(given, same, "what read gives after the batch that was written has changed")
        given.matrix.data[:] = 98
        assert_same(read_all(store, SPACE), same, "what read gives after the batch that was read has changed")

    def test_items_are_in_the_order_they_came_in(self, store: FeatureStore) -> None:
        for ids in (["z", "b"], ["m"], ["a", "y"]):
            store.write(random_batch(SPACE, ids))
        assert_items(store, SPACE, ["z", "b", "m", "a", "y"])

    def test_reads_the_items_asked_for_in_the_order_asked_for(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(60)]
        for start in range(0, 60, 7):
            store.write(versioned(SPACE, ids[start : start + 7]))
        shuffled = random.Random(0).sample(ids, 60)
        for wanted in (shuffled, shuffled[:9], ids[::-1], ["item 59"], []):
            assert_same(read_all(store, SPACE, wanted), versioned(SPACE, wanted))

    @pytest.mark.parametrize("wanted", [["absent"], ["there", "absent"]])
    def test_an_absent_item_is_named(self, store: FeatureStore, wanted: list[str]) -> None:
        with refused(DataError, f"read of {wanted} from an empty store", naming=wanted[0]):
            list(batches_of(store, SPACE, wanted))
        store.write(random_batch(SPACE, ["there"]))
        store.write(random_batch(OTHERS[1], ["absent"]))
        with refused(DataError, f"read of {wanted}, of which 'absent' is in another space only,", naming="absent"):
            list(batches_of(store, SPACE, wanted))

    def test_an_item_written_again_is_replaced(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(10)]
        store.write(versioned(SPACE, ids))
        again = [*ids[3:6], "new"]
        store.write(versioned(SPACE, again, version=1))
        assert_equal(sorted(ids_of(store, SPACE)), sorted([*ids, "new"]), "the items after some were written again")
        assert_same(read_all(store, SPACE, again), versioned(SPACE, again, version=1))
        untouched = ids[:3] + ids[6:]
        assert_same(read_all(store, SPACE, untouched), versioned(SPACE, untouched))

    def test_an_item_written_again_keeps_its_place(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(10)]
        store.write(versioned(SPACE, ids))
        store.write(versioned(SPACE, ["new", *ids[6:3:-1]], version=1))
        assert_items(store, SPACE, [*ids, "new"])

    def test_a_replacement_may_be_silent(self, store: FeatureStore) -> None:
        store.write(versioned(SPACE, ["a", "b"]))
        silent = dense_batch(SPACE, ["a"], [[0.0] * 50])
        store.write(silent)
        assert_same(read_all(store, SPACE, ["a"]), silent)

    def test_any_text_is_an_item_id(self, store: FeatureStore, open_store: OpenStore) -> None:
        store.write(versioned(SPACE, HOSTILE_IDS[:12]))
        for item_id in HOSTILE_IDS[12:]:
            store.write(versioned(SPACE, [item_id]))
        for opened in (store, open_store()) if self.durable else (store,):
            assert_equal(ids_of(opened, SPACE), list(HOSTILE_IDS), "the item ids of any text")
            assert_same(read_all(opened, SPACE, HOSTILE_IDS[::-1]), versioned(SPACE, HOSTILE_IDS[::-1]))

    def test_a_lone_surrogate_is_refused_or_kept_but_breaks_nothing(self, store: FeatureStore) -> None:
        store.write(versioned(SPACE, ["before"]))
        with contextlib.suppress(DataError):
            store.write(versioned(SPACE, ["half\ud800"]))
            assert_same(read_all(store, SPACE, ["half\ud800"]), versioned(SPACE, ["half\ud800"]))
        store.write(versioned(SPACE, ["after"]))
        assert_same(read_all(store, SPACE, ["before", "after"]), versioned(SPACE, ["before", "after"]))

    def test_spaces_do_not_mix(self, store: FeatureStore) -> None:
        for order, space in enumerate((SPACE, *OTHERS)):
            store.write(versioned(space, ["same", f"only {order}"], version=order))
        assert_spaces(store, [SPACE, *OTHERS])
        for order, space in enumerate((SPACE, *OTHERS)):
            assert_items(store, space, ["same", f"only {order}"])
            assert_same(read_all(store, space), versioned(space, ["same", f"only {order}"], version=order))

    def test_refuses_another_number_of_features_for_the_same_layer_and_tokens(self, store: FeatureStore) -> None:
        store.write(versioned(SPACE, ["a"]))
        wider = FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features + 1)
        assert_equal(ids_of(store, wider), [], f"the items of {wider} with {wider.n_features} features")
        with refused(
            DataError, f"a batch of {wider} with {wider.n_features} features after one with {SPACE.n_features}"
        ):
            store.write(versioned(wider, ["a"]))
        assert_spaces(store, [SPACE])
        assert_same(read_all(store, SPACE), versioned(SPACE, ["a"]))

    def test_streams(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(3 * self.most_items_per_batch)]
        for start in range(0, len(ids), self.most_items_per_batch):
            store.write(random_batch(OTHERS[0], ids[start : start + self.most_items_per_batch]))
        for wanted in (None, ids[::-1]):
            lengths = [len(batch) for batch in batches_of(store, OTHERS[0], wanted)]
            assert_equal(sum(lengths), len(ids), "the number of items that read")
            assert max(lengths) <= self.most_items_per_batch, (
                f"read yields a batch of {max(lengths)} items; at most {self.most_items_per_batch} at once are allowed"
            )

    def test_two_readers_do_not_disturb_each_other(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(40)]
        store.write(versioned(SPACE, ids))
        one, two = batches_of(store, SPACE), batches_of(store, SPACE, ids[::-1])
        first, second = list(islice(one, 1)), list(islice(two, 1))
        second.extend(two)
        first.extend(one)
        for found, expected in ((first, ids), (second, ids[::-1])):
            ids_read = [item_id for batch in found for item_id in batch.item_ids]
            assert_equal(ids_read, expected, "the items of one reader while another one reads")

    def test_clear_forgets_everything(self, store: FeatureStore, open_store: OpenStore) -> None:
        for space in (SPACE, *OTHERS):
            store.write(versioned(space, ["a", "b"]))
        store.clear()
        for opened in (store, open_store()):
            assert_empty(opened, "after clear")
        wider = FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features + 1)
        store.write(versioned(wider, ["b"]))
        assert_spaces(store, [wider])
        assert_same(read_all(store, wider), versioned(wider, ["b"]))

    def test_clearing_an_empty_store_does_nothing(self, store: FeatureStore) -> None:
        store.clear()
        assert_empty(store, "after clear")

    def test_may_be_closed_twice(self, open_store: OpenStore) -> None:
        store = open_store()
        store.write(versioned(SPACE, ["a"]))
        store.close()
        store.close()

    @needs(OneItemStore)
    def test_dense_features_of_one_item(self, store: FeatureStore) -> None:
        one_item = cast("Any", store)
        one_item.save_features("a/b", [0.0, 0.5, 0.0, 2.0], layer=3, tokens="patch-max")
        loaded = one_item.load_features("a/b", layer=3, tokens="patch-max")
        assert loaded is not None, "load_features gives None for an item that was saved"
        assert_equal(loaded.tolist(), [0.0, 0.5, 0.0, 2.0], "the features that were saved")
        for item_id, tokens in (("absent", "patch-max"), ("a/b", "cls")):
            found = one_item.load_features(item_id, layer=3, tokens=tokens)
            assert found is None, f"load_features gives features of {item_id!r} in layer3.{tokens}, where it is not"

    def test_is_like_a_dictionary(self, open_store: OpenStore) -> None:
        """Whatever happens to it: writing, replacing, opening again, being killed and going on, two writers."""
        pytest.importorskip("hypothesis", reason="finds series of steps by Hypothesis: pip install hypothesis")
        from saeviz.testing.store_machine import check_like_a_dictionary

        check_like_a_dictionary(
            open_store, durable=self.durable, many_writers=self.many_writers, series=self.series, steps=self.steps
        )

    @needs(declared="durable")
    def test_keeps_everything_when_opened_again(self, open_store: OpenStore) -> None:
        store = open_store()
        for start in range(0, 30, 3):
            store.write(versioned(SPACE, [f"item {number}" for number in range(start, start + 3)]))
        without_closing = open_store()
        ids = [f"item {number}" for number in range(30)]
        assert_spaces(without_closing, [SPACE])
        assert_items(without_closing, SPACE, ids)
        assert_same(read_all(without_closing, SPACE), versioned(SPACE, ids))
        store.close()
        without_closing.close()

    @needs(declared="durable")
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.parametrize("per_batch", [1, 8])
    def test_loses_and_doubles_nothing_when_killed(self, open_store: OpenStore, per_batch: int) -> None:
        chance = random.Random(per_batch)
        acknowledged: dict[str, int] = {}
        for version in range(5):
            acknowledged.update(write_until_killed(open_store, version, per_batch, chance))
            store = open_store()
            kept = ids_of(store, SPACE)
            assert_equal(kept, list(dict.fromkeys(kept)), "the items after a kill")
            lost = sorted(set(acknowledged).difference(kept))
            assert not lost, f"a kill loses {quoted(lost)}, which write had returned from"
            for batch in batches_of(store, SPACE):
                for row, item_id in enumerate(batch.item_ids):
                    found = {
                        old for old in range(version + 1) if rows_are_equal(batch, row, versioned_row(item_id, old))
                    }
                    assert found, f"after a kill {item_id!r} has features that were never written"
                    assert min(found) >= acknowledged.get(item_id, 0), f"a kill takes {item_id!r} back to what it was"
            store.close()
        assert acknowledged, "the store stored nothing before it was killed"


def write_until_killed(open_store: OpenStore, version: int, per_batch: int, chance: random.Random) -> dict[str, int]:
    """Write in another process, kill it at a random moment, and return the items whose `write` had returned."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _write_for_ever(open_store, version, per_batch, writing)
    os.close(writing)
    with os.fdopen(reading) as lines:
        done = [lines.readline() for _ in range(chance.randint(1, 8))]
        time.sleep(chance.random() * 0.01)
        os.kill(process, signal.SIGKILL)
        done += lines.readlines()
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), f"the writing process failed by itself: {done}"
    batches = [int(line) for line in done if re.fullmatch(r"\d+\n", line)]
    return {item_id: version for batch in batches for item_id in _ids_of(batch, per_batch)}


def _ids_of(batch: int, per_batch: int) -> list[str]:
    return [f"item {number % 50}" for number in range(batch * per_batch, (batch + 1) * per_batch)]


def _write_for_ever(open_store: OpenStore, version: int, per_batch: int, writing: int) -> NoReturn:
    try:
        store = open_store()
        for batch in range(100_000):
            store.write(versioned(SPACE, _ids_of(batch, per_batch), version))
            os.write(writing, f"{batch}\n".encode())
    finally:
        os._exit(1)
