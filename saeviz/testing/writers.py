"""The contract of feature stores with several writers, as a test suite."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NoReturn, TextIO

import pytest

from saeviz.contract.stores import ManyWriters
from saeviz.formats.plain import quoted
from saeviz.testing.contract import Contract, assert_equal, refused
from saeviz.testing.stored import (
    OTHERS,
    SPACE,
    OpenStore,
    assert_empty,
    assert_items,
    assert_same,
    assert_spaces,
    ids_of,
    read_all,
    versioned,
    writer,
)
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import FeatureSpace

IDS = tuple(f"item {number:02}" for number in range(40))


class ManyWritersContract(Contract):
    """Subclass this and define the fixture `open_store`, as for `FeatureStoreContract`."""

    subject = "store"

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Opens the store under test."""
        raise NotImplementedError("define the fixture open_store")

    def test_has_writers(self, open_store: OpenStore) -> None:
        self.assert_is(open_store(), ManyWriters)

    def test_two_write_at_the_same_time(self, open_store: OpenStore) -> None:
        one, two = writer(open_store, "one"), writer(open_store, "two")
        for start in range(0, 40, 4):
            one.write(versioned(SPACE, IDS[start : start + 2]))
            two.write(versioned(SPACE, IDS[start + 2 : start + 4]))
        before_closing = open_store()
        assert_same(read_all(before_closing, SPACE), versioned(SPACE, IDS))
        one.close()
        two.close()
        store = open_store()
        assert_spaces(store, [SPACE])
        assert_items(store, SPACE, IDS)
        assert_same(read_all(store, SPACE, IDS[::-1]), versioned(SPACE, IDS[::-1]))
        store.close()
        before_closing.close()

    def test_an_item_that_both_write_is_stored_once(self, open_store: OpenStore) -> None:
        one, two = writer(open_store, "one"), writer(open_store, "two")
        one.write(versioned(SPACE, IDS[:10]))
        two.write(versioned(SPACE, IDS[5:15]))
        one.write(versioned(SPACE, IDS[12:20]))
        one.close()
        two.close()
        assert_same(read_all(open_store(), SPACE), versioned(SPACE, IDS[:20]))

    @pytest.mark.parametrize("names", [("one", "two"), ("two", "one"), ("one", "one"), ("", "one"), ("one", "")])
    def test_a_later_writer_replaces_and_the_earlier_one_once_more(
        self, open_store: OpenStore, names: tuple[str, str]
    ) -> None:
        for version, name in enumerate([*names, *names]):
            store = writer(open_store, name)
            ids = IDS[version : version + 5]
            store.write(versioned(SPACE, ids, version))
            assert_same(read_all(store, SPACE, ids), versioned(SPACE, ids, version))
            store.close()
        store = open_store()
        assert_equal(sorted(ids_of(store, SPACE)), list(IDS[:8]), "the items of all writers")
        for version, ids in enumerate([IDS[:1], IDS[1:2], IDS[2:3], IDS[3:8]]):
            assert_same(read_all(store, SPACE, ids), versioned(SPACE, ids, version))

    def test_the_order_is_not_that_of_who_wrote_what_when(self, open_store: OpenStore) -> None:
        for seed in range(2):
            chance = random.Random(seed)
            unnamed = open_store()
            unnamed.write(versioned(SPACE, ["zebra", "ant"]))
            writers = [writer(open_store, name) for name in ("c", "a", "b")]
            for item_id in chance.sample(IDS[:16], 16):
                for store in chance.sample(writers, chance.randint(1, 2)):
                    store.write(versioned(SPACE, [item_id]))
            unnamed.write(versioned(SPACE, ["bee"]))
            for store in (*writers, unnamed):
                store.close()
            store = open_store()
            expected = ["zebra", "ant", "bee", *IDS[:16]]
            assert_items(store, SPACE, expected)
            assert_same(read_all(store, SPACE), versioned(SPACE, expected))
            store.clear()
            store.close()

    def test_what_another_one_replaces_meanwhile_stays_replaced(self, open_store: OpenStore) -> None:
        """Also where a writer puts together at its end what it has written before."""
        first = writer(open_store, "two")
        first.write(versioned(SPACE, IDS[:4]))
        first.close()
        one, two = writer(open_store, "one"), writer(open_store, "two")
        one.write(versioned(SPACE, IDS[:1], 1))
        two.write(versioned(SPACE, IDS[:1], 1))
        one.write(versioned(SPACE, IDS[1:2], 1))
        two.close()
        one.close()
        store = open_store()
        assert_same(read_all(store, SPACE, IDS[:2]), versioned(SPACE, IDS[:2], 1))
        assert_same(read_all(store, SPACE, IDS[2:4]), versioned(SPACE, IDS[2:4]))

    def test_a_writer_reads_what_others_wrote_before_it(self, open_store: OpenStore) -> None:
        one = writer(open_store, "one")
        one.write(versioned(SPACE, IDS[:3]))
        two = writer(open_store, "two")
        two.write(versioned(SPACE, IDS[3:5]))
        assert_items(two, SPACE, IDS[:5])
        assert_same(read_all(two, SPACE), versioned(SPACE, IDS[:5]))
        one.close()
        two.close()

    def test_the_same_name_twice_at_once_is_refused_or_harmless(self, open_store: OpenStore) -> None:
        one, two = writer(open_store, "same"), writer(open_store, "same")
        one.write(versioned(SPACE, IDS[:2]))
        kept = 2
        with contextlib.suppress(RunDirError):
            two.write(versioned(SPACE, IDS[2:4]))
            kept = 4
        two.close()
        one.close()
        assert_same(read_all(open_store(), SPACE), versioned(SPACE, IDS[:kept]))
        two.write(versioned(SPACE, IDS[:5]))
        two.close()
        assert_same(read_all(open_store(), SPACE), versioned(SPACE, IDS[:5]))

    def test_another_number_of_features_is_refused_whoever_comes_with_it(self, open_store: OpenStore) -> None:
        one, two = writer(open_store, "one"), writer(open_store, "two")
        two.write(versioned(OTHERS[0], IDS[:1]))
        one.write(versioned(SPACE, IDS[:1]))
        with refused(DataError, "a batch of another number of features than another writer has written"):
            two.write(versioned(FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features + 1), IDS[1:2]))
        one.close()
        two.close()
        assert_spaces(open_store(), [SPACE, OTHERS[0]])

    def test_clear_forgets_what_all_have_written(self, open_store: OpenStore) -> None:
        for name in ("one", "two", ""):
            store = writer(open_store, name)
            for space in (SPACE, *OTHERS):
                store.write(versioned(space, [f"of {name}"]))
            store.close()
        store.clear()
        for opened in (store, open_store(), writer(open_store, "one")):
            assert_empty(opened, "after clear by one of the writers")
        one = writer(open_store, "one")
        one.write(versioned(SPACE, ["later"]))
        one.close()
        assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["later"]))

    def test_overlapping_batches_in_opposite_orders_do_not_block_each_other(self, open_store: OpenStore) -> None:
        barrier = Barrier(4, timeout=60)

        def write(number: int) -> None:
            store = writer(open_store, f"w{number}")
            barrier.wait()
            ids = IDS if number % 2 else IDS[::-1]
            for _ in range(5):
                store.write(versioned(SPACE, ids))
            store.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert_same(read_all(open_store(), SPACE), versioned(SPACE, IDS))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
    def test_loses_and_doubles_nothing_when_writers_are_killed(self, open_store: OpenStore, seed: int) -> None:
        chance = random.Random(seed)
        acknowledged: set[str] = set()
        for _ in range(2):
            processes = [_start(open_store, name, chance.sample(IDS, 20)) for name in ("one", "two", "three")]
            for process, reading in processes:
                done = [reading.readline() for _ in range(chance.randint(1, 12))]
                time.sleep(chance.random() * 0.01)
                os.kill(process, signal.SIGKILL)
                done += reading.readlines()
                reading.close()
                _, status = os.waitpid(process, 0)
                assert os.WIFSIGNALED(status) or status == 0, f"the writing process failed by itself: {done}"
                acknowledged.update(line.rstrip("\n") for line in done if line.endswith("\n"))
            store = open_store()
            kept = ids_of(store, SPACE)
            assert_equal(kept, sorted(set(kept)), "the items after writers were killed")
            lost = sorted(acknowledged.difference(kept))
            assert not lost, f"writers that were killed lose {quoted(lost)}, which write had returned from"
            assert_same(read_all(store, SPACE), versioned(SPACE, kept))
            store.close()
        assert acknowledged, "the writers stored nothing before they were killed"
        last = open_store()
        last.write(versioned(SPACE, IDS))
        last.close()
        assert_same(read_all(open_store(), SPACE, IDS), versioned(SPACE, IDS))


def _start(open_store: OpenStore, name: str, item_ids: Sequence[str]) -> tuple[int, TextIO]:
    """A process that writes the items one by one and prints each as soon as it is stored."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _write(open_store, name, item_ids, writing)
    os.close(writing)
    return process, os.fdopen(reading)


def _write(open_store: OpenStore, name: str, item_ids: Sequence[str], writing: int) -> NoReturn:
    status = 1
    try:
        store = writer(open_store, name)
        for item_id in item_ids:
            store.write(versioned(SPACE, [item_id]))
            os.write(writing, f"{item_id}\n".encode())
        store.close()
        status = 0
    finally:
        os._exit(status)
