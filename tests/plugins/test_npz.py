"""The store `npz`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.sparse import load_npz

import saeviz
from saeviz.testing import FeatureStoreContract
from saeviz.testing.data import random_batch
from saeviz.testing.stores import assert_same, read_all, versioned
from saeviz_npz import NpzOptions
from saeviz_npz.store import NpzStore

SPACE = saeviz.FeatureSpace(7, "cls", 50)


class TestContract(FeatureStoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: NpzStore(NpzOptions(path=tmp_path), saeviz.Context())


class TestContractWithManyShards(FeatureStoreContract):
    most_items_per_batch = 64

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: NpzStore(NpzOptions(path=tmp_path, shard_rows=12), saeviz.Context())


def shards(folder):
    return sorted(path.name for path in folder.rglob("batch_*"))


def test_keeps_its_files_in_the_folder_of_the_run_unless_told_otherwise(tmp_path):
    NpzStore(NpzOptions(), saeviz.Context(workdir=tmp_path / "run")).write(versioned(SPACE, ["a"]))
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["run/layer_7/cls/batch_000001.npz", "run/layer_7/cls/index.jsonl"]


def test_scipy_reads_a_shard_and_the_index_names_its_rows(tmp_path):
    batch = random_batch(SPACE, ["b", "a/\u732b", "c"])
    NpzStore(NpzOptions(path=tmp_path), saeviz.Context()).write(batch)
    matrix = load_npz(tmp_path / "layer_7" / "cls" / "batch_000001.npz")
    assert matrix.format == "csr"
    assert matrix.dtype == np.float32
    assert (matrix != batch.matrix).nnz == 0
    header, line = map(json.loads, (tmp_path / "layer_7" / "cls" / "index.jsonl").read_text().splitlines())
    assert header == {"layer": 7, "tokens": "cls", "n_features": 50}
    assert (line["batch"], line["items"]) == (1, ["b", "a/\u732b", "c"])


def test_a_shard_holds_no_pickle(tmp_path):
    NpzStore(NpzOptions(path=tmp_path), saeviz.Context()).write(random_batch(SPACE, ["a"]))
    with np.load(tmp_path / "layer_7" / "cls" / "batch_000001.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind != "O" for name in arrays.files)


def test_a_shard_that_is_damaged_is_named(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path), saeviz.Context())
    store.write(versioned(SPACE, ["a"]))
    shard = tmp_path / "layer_7" / "cls" / "batch_000001.npz"
    for damaged in (b"", b"PK\x03\x04 not a zip", shard.read_bytes()[:-30]):
        shard.write_bytes(damaged)
        with pytest.raises(saeviz.DataError, match=r"batch_000001\.npz cannot be read.*run again"):
            list(store.read(SPACE))


def test_a_shard_of_another_shape_is_named(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path), saeviz.Context())
    store.write(versioned(SPACE, ["a"]))
    store.write(versioned(SPACE, ["b", "c"]))
    first, second = (tmp_path / "layer_7" / "cls" / f"batch_00000{number}.npz" for number in (1, 2))
    first.write_bytes(second.read_bytes())
    with pytest.raises(saeviz.DataError, match=r"batch_000001\.npz has the shape \(2, 50\)"):
        list(store.read(SPACE, ["a"]))


def test_many_small_writes_end_in_few_shards(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path, shard_rows=20), saeviz.Context())
    ids = [f"item {number}" for number in range(110)]
    for item_id in ids:
        store.write(versioned(SPACE, [item_id]))
    assert len(shards(tmp_path)) == 5 + 10
    assert_same(read_all(store, SPACE), versioned(SPACE, ids))
    again = NpzStore(NpzOptions(path=tmp_path, shard_rows=20), saeviz.Context())
    assert_same(read_all(again, SPACE), versioned(SPACE, ids))


def test_a_large_write_is_cut_into_shards(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path, shard_rows=20), saeviz.Context())
    ids = [f"item {number}" for number in range(100)]
    store.write(versioned(SPACE, ids))
    assert len(shards(tmp_path)) == 5
    assert_same(read_all(store, SPACE), versioned(SPACE, ids))


def test_replaced_items_do_not_pile_up(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path), saeviz.Context())
    for version in range(10):
        store.write(versioned(SPACE, ["a", "b"], version))
    assert shards(tmp_path) == ["batch_000010.npz"]
