"""The contract of feature stores, as a test suite."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, NoReturn

import pytest

from saeviz.contract import handover
from saeviz.contract.mixins import OneItemStore
from saeviz.contract.stores import FeatureStore, ManyWriters
from saeviz.testing.contract import Contract
from saeviz.testing.data import HOSTILE_IDS, random_batch
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import Float32Array

OpenStore = Callable[[], FeatureStore]
SPACE = FeatureSpace(11, "cls", 50)
OTHERS = (
    FeatureSpace(2, "cls", 8),
    FeatureSpace(11, "patch-max", 50),
    FeatureSpace(11, "patch-mean", 50),
    FeatureSpace(11, "cls", 50, "mlp"),
    FeatureSpace(11, "spatial", 50),
    FeatureSpace("stage3", "frame-max", 50),
)
"""Spaces that are not `SPACE`, some by a name, a stage, or another kind of tokens alone."""


class FeatureStoreContract(Contract):
    """Subclass this and define the fixture `open_store`: a function that opens the same, initially empty, store.

    The function is called again to open the store a second time, also in another process. Set `durable = False` for a
    store whose features do not outlive the process.
    """

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
        assert isinstance(store, FeatureStore)

    def test_is_empty_at_first(self, store: FeatureStore) -> None:
        assert store.spaces() == []
        assert store.item_ids(SPACE) == []
        assert list(store.read(SPACE)) == []
        assert list(store.read(SPACE, [])) == []

    def test_gives_back_exactly_what_it_was_given(self, store: FeatureStore) -> None:
        batch = random_batch(SPACE, [f"item {number}" for number in range(20)])
        store.write(batch)
        assert_same(read_all(store, SPACE), batch)
        assert store.spaces() == [SPACE]

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
        assert store.item_ids(SPACE) == ["silent", "loud", "silent too"]
        assert_same(read_all(store, SPACE), batch)

    def test_a_batch_without_items_leaves_no_trace(self, store: FeatureStore) -> None:
        store.write(random_batch(SPACE, []))
        assert store.spaces() == []
        assert list(store.read(SPACE)) == []

    def test_does_not_touch_the_batch_it_was_given_nor_share_it(self, store: FeatureStore) -> None:
        batch, same = random_batch(SPACE, ["a", "b"]), random_batch(SPACE, ["a", "b"])
        store.write(batch)
        assert_same(batch, same)
        batch.matrix.data[:] = 99
        given = read_all(store, SPACE)
        assert_same(given, same)
        given.matrix.data[:] = 98
        assert_same(read_all(store, SPACE), same)

    def test_items_are_in_the_order_they_came_in(self, store: FeatureStore) -> None:
        for ids in (["z", "b"], ["m"], ["a", "y"]):
            store.write(random_batch(SPACE, ids))
        assert store.item_ids(SPACE) == ["z", "b", "m", "a", "y"]
        assert read_all(store, SPACE).item_ids == ("z", "b", "m", "a", "y")

    def test_reads_the_items_asked_for_in_the_order_asked_for(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(60)]
        for start in range(0, 60, 7):
            store.write(versioned(SPACE, ids[start : start + 7]))
        shuffled = random.Random(0).sample(ids, 60)
        for wanted in (shuffled, shuffled[:9], ids[::-1], ["item 59"], []):
            assert_same(read_all(store, SPACE, wanted), versioned(SPACE, wanted))

    @pytest.mark.parametrize("wanted", [["absent"], ["there", "absent"]])
    def test_an_absent_item_is_named(self, store: FeatureStore, wanted: list[str]) -> None:
        with pytest.raises(DataError, match=wanted[0]):
            list(store.read(SPACE, wanted))
        store.write(random_batch(SPACE, ["there"]))
        store.write(random_batch(OTHERS[1], ["absent"]))
        with pytest.raises(DataError, match="absent"):
            list(store.read(SPACE, wanted))

    def test_an_item_written_again_is_replaced(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(10)]
        store.write(versioned(SPACE, ids))
        again = [*ids[3:6], "new"]
        store.write(versioned(SPACE, again, version=1))
        assert sorted(store.item_ids(SPACE)) == sorted([*ids, "new"])
        everything = read_all(store, SPACE)
        assert sorted(everything.item_ids) == sorted([*ids, "new"])
        assert_same(read_all(store, SPACE, again), versioned(SPACE, again, version=1))
        untouched = ids[:3] + ids[6:]
        assert_same(read_all(store, SPACE, untouched), versioned(SPACE, untouched))

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
            assert opened.item_ids(SPACE) == list(HOSTILE_IDS)
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
        assert store.spaces() == sorted((SPACE, *OTHERS))
        for order, space in enumerate((SPACE, *OTHERS)):
            assert store.item_ids(space) == ["same", f"only {order}"]
            assert_same(read_all(store, space), versioned(space, ["same", f"only {order}"], version=order))

    def test_refuses_another_number_of_features_for_the_same_layer_and_tokens(self, store: FeatureStore) -> None:
        store.write(versioned(SPACE, ["a"]))
        wider = FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features + 1)
        assert store.item_ids(wider) == []
        with pytest.raises(DataError):
            store.write(versioned(wider, ["a"]))
        assert store.spaces() == [SPACE]
        assert_same(read_all(store, SPACE), versioned(SPACE, ["a"]))

    def test_streams(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(3 * self.most_items_per_batch)]
        for start in range(0, len(ids), self.most_items_per_batch):
            store.write(random_batch(OTHERS[0], ids[start : start + self.most_items_per_batch]))
        for wanted in (None, ids[::-1]):
            lengths = [len(batch) for batch in store.read(OTHERS[0], wanted)]
            assert sum(lengths) == len(ids)
            assert max(lengths) <= self.most_items_per_batch

    def test_two_readers_do_not_disturb_each_other(self, store: FeatureStore) -> None:
        ids = [f"item {number}" for number in range(40)]
        store.write(versioned(SPACE, ids))
        one, two = store.read(SPACE), store.read(SPACE, ids[::-1])
        first, second = [next(one)], [next(two)]
        second.extend(two)
        first.extend(one)
        assert [item_id for batch in first for item_id in batch.item_ids] == ids
        assert [item_id for batch in second for item_id in batch.item_ids] == ids[::-1]

    def test_clear_forgets_everything(self, store: FeatureStore, open_store: OpenStore) -> None:
        for space in (SPACE, *OTHERS):
            store.write(versioned(space, ["a", "b"]))
        store.clear()
        for opened in (store, open_store()):
            assert opened.spaces() == []
            assert opened.item_ids(SPACE) == []
        wider = FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features + 1)
        store.write(versioned(wider, ["b"]))
        assert store.spaces() == [wider]
        assert_same(read_all(store, wider), versioned(wider, ["b"]))

    def test_clearing_an_empty_store_does_nothing(self, store: FeatureStore) -> None:
        store.clear()
        assert store.spaces() == []

    def test_may_be_closed_twice(self, open_store: OpenStore) -> None:
        store = open_store()
        store.write(versioned(SPACE, ["a"]))
        store.close()
        store.close()

    def test_dense_features_of_one_item(self, store: FeatureStore) -> None:
        if not isinstance(store, OneItemStore):
            pytest.skip("the store does not use saeviz.OneItemStore")
        store.save_features("a/b", [0.0, 0.5, 0.0, 2.0], layer=3, tokens="patch-max")
        loaded = store.load_features("a/b", layer=3, tokens="patch-max")
        assert loaded is not None
        assert loaded.tolist() == [0.0, 0.5, 0.0, 2.0]
        assert store.load_features("absent", layer=3, tokens="patch-max") is None
        assert store.load_features("a/b", layer=3) is None

    def test_is_like_a_dictionary(self, open_store: OpenStore) -> None:
        """Whatever happens to it: writing, replacing, opening again, being killed and going on, two writers."""
        pytest.importorskip("hypothesis", reason="finds series of steps by Hypothesis: pip install hypothesis")
        from saeviz.testing.store_machine import check_like_a_dictionary

        check_like_a_dictionary(
            open_store, durable=self.durable, many_writers=self.many_writers, series=self.series, steps=self.steps
        )

    def test_keeps_everything_when_opened_again(self, open_store: OpenStore) -> None:
        self._needs_durability()
        store = open_store()
        for start in range(0, 30, 3):
            store.write(versioned(SPACE, [f"item {number}" for number in range(start, start + 3)]))
        without_closing = open_store()
        ids = [f"item {number}" for number in range(30)]
        assert without_closing.spaces() == [SPACE]
        assert without_closing.item_ids(SPACE) == ids
        assert_same(read_all(without_closing, SPACE), versioned(SPACE, ids))
        store.close()
        without_closing.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.parametrize("per_batch", [1, 8])
    def test_loses_and_doubles_nothing_when_killed(self, open_store: OpenStore, per_batch: int) -> None:
        self._needs_durability()
        chance = random.Random(per_batch)
        acknowledged: dict[str, int] = {}
        for version in range(5):
            acknowledged.update(write_until_killed(open_store, version, per_batch, chance))
            store = open_store()
            kept = store.item_ids(SPACE)
            assert len(set(kept)) == len(kept)
            assert set(acknowledged) <= set(kept)
            for batch in store.read(SPACE):
                for row, item_id in enumerate(batch.item_ids):
                    found = {
                        old for old in range(version + 1) if rows_are_equal(batch, row, versioned_row(item_id, old))
                    }
                    assert found, f"{item_id!r} is incomplete"
                    assert min(found) >= acknowledged.get(item_id, 0), f"{item_id!r} fell back to an older version"
            store.close()
        assert acknowledged

    def _needs_durability(self) -> None:
        if not self.durable:
            pytest.skip("the store says that it is not durable")


def writer(open_store: OpenStore, name: str) -> FeatureStore:
    """The store, newly opened, for the writer `name`; `""` is the one without."""
    store = open_store()
    if not name:
        return store
    assert isinstance(store, ManyWriters)
    return store.writer(name)


def dense_batch(space: FeatureSpace, item_ids: Sequence[str], rows: Sequence[Sequence[float]]) -> FeatureBatch:
    """A batch of these rows."""
    from scipy.sparse import csr_array

    return FeatureBatch(space, tuple(item_ids), csr_array(rows))


def versioned(space: FeatureSpace, item_ids: Sequence[str], version: int = 0) -> FeatureBatch:
    """A batch whose rows are determined by the item ids and the version."""
    import numpy as np
    from scipy.sparse import csr_array

    rows = [versioned_row(item_id, version, space.n_features) for item_id in item_ids]
    return FeatureBatch(space, tuple(item_ids), csr_array(np.array(rows).reshape(-1, space.n_features)))


def versioned_row(item_id: str, version: int, n_features: int = SPACE.n_features) -> Float32Array:
    """The dense row of one item in `versioned`."""
    import numpy as np

    generator = np.random.default_rng([version, *item_id.encode("utf-8", "surrogatepass")])
    row: Float32Array = (generator.random(n_features) * (generator.random(n_features) < 0.3)).astype(np.float32)
    return row


def read_all(store: FeatureStore, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> FeatureBatch:
    """Everything that `read` yields, as one batch."""
    batches = list(handover.each("the store", "read", store.read(space, item_ids), FeatureBatch))
    assert all(batch.space == space for batch in batches)
    ids = tuple(item_id for batch in batches for item_id in batch.item_ids)
    return FeatureBatch(space, ids, space.stack(batch.matrix for batch in batches))


def assert_same(found: FeatureBatch, expected: FeatureBatch) -> None:
    """Assert that batches are equal to the last bit."""
    assert found.space == expected.space
    assert found.item_ids == expected.item_ids
    assert found.matrix.dtype == expected.matrix.dtype
    assert found.matrix.indptr.tolist() == expected.matrix.indptr.tolist()
    assert found.matrix.indices.tolist() == expected.matrix.indices.tolist()
    assert found.matrix.data.tobytes() == expected.matrix.data.tobytes()


def assert_kept(store: FeatureStore, expected: dict[FeatureSpace, dict[str, int]]) -> None:
    """Assert that the store has every item in its expected version and nothing else."""
    assert store.spaces() == sorted(space for space, versions in expected.items() if versions)
    for space, versions in expected.items():
        everything = read_all(store, space)
        assert sorted(everything.item_ids) == sorted(versions)
        assert store.item_ids(space) == list(everything.item_ids)
        for row, item_id in enumerate(everything.item_ids):
            assert rows_are_equal(everything, row, versioned_row(item_id, versions[item_id], space.n_features))


def rows_are_equal(batch: FeatureBatch, row: int, expected: Float32Array) -> bool:
    """Whether a row of a batch equals this dense row to the last bit."""
    return bool(batch.matrix[[row]].toarray()[0].tobytes() == expected.tobytes())


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
