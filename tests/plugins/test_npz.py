"""The store `npz`."""

from __future__ import annotations

import json
import logging
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, load_npz, random_array, vstack

import saeviz
from saeviz.testing import FeatureStoreContract
from saeviz.testing.data import random_batch
from saeviz.testing.stores import assert_same, read_all, versioned
from saeviz_npz import NpzOptions
from saeviz_npz.packing import pack, unpack
from saeviz_npz.store import NpzStore

SPACE = saeviz.FeatureSpace(7, "cls", 50)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "storage.md"


class TestContract(FeatureStoreContract):
    component = NpzStore

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: NpzStore(NpzOptions(path=tmp_path), saeviz.Context())


class TestContractWithManyShards(FeatureStoreContract):
    component = NpzStore
    most_items_per_batch = 64

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: NpzStore(NpzOptions(path=tmp_path, shard_rows=12), saeviz.Context())


class TestContractScipy(FeatureStoreContract):
    component = NpzStore

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: NpzStore(NpzOptions(path=tmp_path, encoding="scipy"), saeviz.Context())


def without_checksums(folder):
    """The store of a folder whose index is that of an earlier version, which had no checksums."""
    index = folder / "layer_7" / "cls" / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    plain = [{key: value for key, value in line.items() if key not in ("check", "file")} for line in lines]
    index.write_text("".join(json.dumps(line) + "\n" for line in plain))
    return open_npz(folder)


def open_npz(folder, **options):
    return NpzStore(NpzOptions(path=folder, **options), saeviz.Context())


def shards(folder):
    return sorted(path.name for path in folder.rglob("batch_*"))


def test_keeps_its_files_in_the_folder_of_the_run_unless_told_otherwise(tmp_path):
    NpzStore(NpzOptions(), saeviz.Context(workdir=tmp_path / "run")).write(versioned(SPACE, ["a"]))
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["run/.saeviz-lock", "run/layer_7/cls/batch_000001.npz", "run/layer_7/cls/index.jsonl"]


@pytest.mark.parametrize(("encoding", "shard_rows"), [("scipy", 3), ("packed", 4)])
def test_scipy_reads_a_shard_in_its_encoding_and_one_that_will_be_merged(tmp_path, encoding, shard_rows):
    ids = ["b", "a/\u732b", "c"]
    batch = random_batch(SPACE, ids)
    open_npz(tmp_path, encoding=encoding, shard_rows=shard_rows).write(batch)
    matrix = load_npz(tmp_path / "layer_7" / "cls" / "batch_000001.npz")
    assert matrix.format == "csr"
    assert matrix.dtype == np.float32
    assert (matrix != batch.matrix).nnz == 0
    header, line = map(json.loads, (tmp_path / "layer_7" / "cls" / "index.jsonl").read_text().splitlines())
    assert header.pop("check")
    assert header == {"layer": 7, "tokens": "cls", "n_features": 50}
    assert (line["batch"], line["items"]) == (1, ids)


def test_numpy_reads_a_packed_shard_as_the_docs_say(tmp_path):
    batch = random_batch(SPACE, [f"item {number}" for number in range(300)])
    open_npz(tmp_path, shard_rows=300).write(batch)
    shard = tmp_path / "layer_7" / "cls" / "batch_000001.npz"
    with pytest.raises(ValueError, match="does not contain a sparse array"):
        load_npz(shard)
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    names = {"path": shard}
    exec(code, names)
    assert names["matrix"].toarray().tobytes() == batch.matrix.toarray().tobytes()


def test_both_encodings_lie_side_by_side(tmp_path):
    ids = [f"item {number}" for number in range(120)]
    open_npz(tmp_path, encoding="scipy", shard_rows=60).write(versioned(SPACE, ids[:60]))
    store = open_npz(tmp_path, shard_rows=60)
    store.write(versioned(SPACE, ids[60:]))
    assert_same(read_all(store, SPACE), versioned(SPACE, ids))


@pytest.mark.parametrize("n_items", [1, 40])
def test_a_shard_holds_no_pickle(tmp_path, n_items):
    open_npz(tmp_path, shard_rows=40).write(versioned(SPACE, list(map(str, range(n_items)))))
    with np.load(tmp_path / "layer_7" / "cls" / "batch_000001.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind != "O" for name in arrays.files)


@pytest.mark.parametrize("n_items", [1, 200])
def test_a_shard_that_is_damaged_is_named(tmp_path, n_items):
    store = open_npz(tmp_path, shard_rows=200)
    store.write(versioned(SPACE, list(map(str, range(n_items)))))
    shard = tmp_path / "layer_7" / "cls" / "batch_000001.npz"
    whole = shard.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", b"PK\x03\x04 not a zip", whole[:-30], flipped):
        shard.write_bytes(damaged)
        with pytest.raises(saeviz.DataError, match=r"batch_000001\.npz cannot be read.*run again"):
            list(store.read(SPACE))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("packed", 2, "packed in format 2, but this saeviz reads format 1"),
        ("shape", np.array([7, 50]), "more non-zeros than entries"),
        ("shape", np.array([60, 49]), ""),
        ("gaps", ..., "gaps"),
        ("lengths", np.arange(6), ""),
        ("exponents", np.frombuffer(b"no zstd", dtype=np.uint8), ""),
    ],
)
def test_a_packed_shard_that_makes_no_sense_is_named(tmp_path, name, value, message):
    store = open_npz(tmp_path)
    batch = versioned(SPACE, list(map(str, range(60))))
    store.write(batch)
    arrays = {**pack(batch.matrix), name: value}
    shard = tmp_path / "layer_7" / "cls" / "batch_000001.npz"
    np.savez(shard, **{key: array for key, array in arrays.items() if array is not ...})
    store.close()
    with pytest.raises(saeviz.DataError, match=rf"batch_000001\.npz cannot be read.*{message}"):
        list(without_checksums(tmp_path).read(SPACE))


ODD = {
    "float64": lambda array: array.astype(np.float64),
    "complex": lambda array: array.astype(complex),
    "bool": lambda array: array.astype(bool),
    "text": lambda array: array.astype("U20"),
    "bytes": lambda array: array.astype("S20"),
    "dates": lambda array: array.astype("i8").astype("M8[s]"),
    "void": lambda array: np.frombuffer(array.tobytes(), "V1"),
    "not a number": lambda array: np.full(array.shape, np.nan),
    "large": lambda array: np.full(array.shape, 2**62),
    "negative": lambda array: -1 - np.abs(array.astype("i8")),
    "rows": lambda array: array[None],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("encoding", ["packed", "scipy"])
def test_arrays_of_odd_types_give_no_other_values(tmp_path, encoding, odd):
    """Each array of a shard in turn: it is refused, or has the same values in another type."""
    batch = versioned(SPACE, ["a", "b", "c"])
    store = open_npz(tmp_path, encoding=encoding)
    store.write(batch)
    store.close()
    store = without_checksums(tmp_path)
    (path,) = tmp_path.rglob("*.npz")
    arrays = dict(np.load(path))
    for name, array in arrays.items():
        if array.dtype.kind == "S" or name == "_is_array":
            continue
        with path.open("wb") as file:
            np.savez(file, **{**arrays, name: ODD[odd](array)})
        refused = ""
        try:
            assert_same(read_all(store, SPACE), batch)
        except saeviz.DataError as error:
            refused = str(error)
        assert re.search("^$|remove it and run again to extract its items|features that are not finite", refused), name


def test_a_shard_of_another_shape_is_named(tmp_path):
    store = NpzStore(NpzOptions(path=tmp_path), saeviz.Context())
    store.write(versioned(SPACE, ["a"]))
    store.write(versioned(SPACE, ["b", "c"]))
    first, second = (tmp_path / "layer_7" / "cls" / f"batch_00000{number}.npz" for number in (1, 2))
    first.write_bytes(second.read_bytes())
    with pytest.raises(saeviz.DataError, match=r"batch_000001\.npz has the shape \(2, 50\)"):
        list(without_checksums(tmp_path).read(SPACE, ["a"]))


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


def test_what_is_left_in_small_shards_is_merged_at_the_end(tmp_path):
    ids = [f"item {number}" for number in range(50)]
    store = open_npz(tmp_path)
    for item_id in ids:
        store.write(versioned(SPACE, [item_id]))
    assert len(shards(tmp_path)) == 50
    store.close()
    store.close()
    assert shards(tmp_path) == ["batch_000051.npz"]
    with np.load(tmp_path / "layer_7" / "cls" / "batch_000051.npz") as arrays:
        assert "packed" in arrays
    assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, ids))


def test_a_reader_merges_nothing(tmp_path):
    store = open_npz(tmp_path)
    for item_id in "abc":
        store.write(versioned(SPACE, [item_id]))
    reader = open_npz(tmp_path)
    assert_same(read_all(reader, SPACE), versioned(SPACE, "abc"))
    reader.close()
    assert len(shards(tmp_path)) == 3


def test_a_full_disk_at_the_end_costs_nothing(tmp_path, monkeypatch, caplog):
    store = open_npz(tmp_path)
    for item_id in "abc":
        store.write(versioned(SPACE, [item_id]))

    def refuse(path, batch):
        raise OSError("no space")

    monkeypatch.setattr(store, "save_settled", refuse)
    with caplog.at_level(logging.WARNING):
        store.close()
    assert "small shards were not merged" in caplog.text
    assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, "abc"))


MATRICES = {
    "nothing": csr_array((4, 6), dtype=np.float32),
    "one": csr_array(np.ones((1, 1), np.float32)),
    "full": csr_array(np.arange(1, 301, dtype=np.float32).reshape(20, 15)),
    "gaps around 255 and its multiples": csr_array(
        (np.ones(8, np.float32), ([0, 255, 511, 766, 1021, 1277, 1788, 2999], [0, 0, 0, 1, 1, 1, 2, 2])),
        shape=(3000, 3),
    ),
    "a feature on 255, on 510 images and on all": csr_array(
        np.tri(600, dtype=np.float32)[:, [599, 90, 345, 0]], shape=(600, 4)
    ),
    "extremes and signs": csr_array(
        np.array([[1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.1754944e-38, -0.1, 0, 1]], np.float32)
    ),
    "more than a block": random_array(
        (400, 1500), density=0.4, format="csr", rng=np.random.default_rng(0), dtype=np.float32
    ),
    "thin": random_array((2000, 3000), density=0.0005, format="csr", rng=np.random.default_rng(1), dtype=np.float32),
}


@pytest.mark.parametrize("name", MATRICES)
def test_packing_keeps_every_bit(name):
    matrix = csr_array(MATRICES[name])
    matrix.sort_indices()
    found = unpack(pack(matrix))
    assert found.shape == matrix.shape
    assert found.has_canonical_format
    assert found.indptr.tolist() == matrix.indptr.tolist()
    assert found.indices.tolist() == matrix.indices.tolist()
    assert found.data.tobytes() == matrix.data.tobytes()


def test_the_top_images_keep_their_order_though_only_the_last_bit_differs(tmp_path):
    """The 100 best of each feature, neighbours among the float32 numbers, shuffled over many shards."""
    n_images, n_features = 300, 40
    space = saeviz.FeatureSpace(7, "cls", n_features)
    generator = np.random.default_rng(0)
    top = np.float32(0.7).view(np.uint32) - np.arange(n_images, dtype=np.uint32)
    columns = [generator.permutation(top).view(np.float32) for _ in range(n_features)]
    matrix = csr_array(np.stack(columns, axis=1))
    store = open_npz(tmp_path, shard_rows=20)
    for start in range(0, n_images, 7):
        ids = tuple(f"image {row}" for row in range(start, min(start + 7, n_images)))
        store.write(saeviz.FeatureBatch(space, ids, matrix[start : start + 7]))
    store.close()
    ids = [f"image {row}" for row in range(n_images)]
    best = saeviz.FeatureStream(space, lambda: open_npz(tmp_path).read(space, ids)).top_images(100)
    expected = np.argsort(-matrix.toarray(), axis=0, kind="stable")[:100].T
    assert best.rows.tolist() == expected.tolist()
    assert all((np.diff(values.view(np.int32)) == -1).all() for values in best.values)


def bytes_per_value(folder, matrix, batch_rows=32):
    """What a run leaves on disk."""
    space = saeviz.FeatureSpace(7, "cls", matrix.shape[1])
    store = open_npz(folder)
    for start, stop in pairwise([*range(0, matrix.shape[0], batch_rows), matrix.shape[0]]):
        rows = matrix[start:stop]
        store.write(saeviz.FeatureBatch(space, tuple(f"image {row}" for row in range(start, stop)), rows))
    store.close()
    return sum(path.stat().st_size for path in folder.rglob("*.npz")) / matrix.nnz


@pytest.mark.parametrize(("spread", "most"), [(0.0, 4.0), (0.7, 4.0)])
def test_features_of_an_autoencoder_need_less_than_four_bytes_each(tmp_path, spread, most):
    """A float32 product, a bias that keeps 98.4 % below zero, ReLU: 2,048 images, as sparse as CLIP's."""
    generator = np.random.default_rng(0)
    activations = generator.normal(size=(2048, 64)).astype(np.float32)
    weights = generator.normal(size=(64, 4096)).astype(np.float32) / np.float32(8)
    bias = (spread * generator.normal(size=4096)).astype(np.float32)
    bias -= np.quantile(activations @ weights + bias, 0.984).astype(np.float32)
    matrix = csr_array(np.maximum(activations @ weights + bias, np.float32(0)))
    assert bytes_per_value(tmp_path, matrix) < most


def test_noise_needs_little_more_than_its_entropy(tmp_path):
    """Any 1.6 % of the features, exponential values: 7.4 bits of place, 2.8 of exponent, 23 of mantissa."""
    matrix = random_array(
        (2048, 4096),
        density=1 / 61,
        format="csr",
        dtype=np.float32,
        rng=np.random.default_rng(0),
        data_sampler=lambda size: np.random.default_rng(1).exponential(size=size).astype(np.float32),
    )
    assert bytes_per_value(tmp_path, csr_array(matrix)) < 1.03 * (7.4 + 2.8 + 23) / 8


def test_shards_are_cut_by_non_zeros_too(tmp_path, monkeypatch):
    monkeypatch.setattr("saeviz.toolkit.shards.SHARD_VALUES", 1000)
    dense = vstack([csr_array(np.ones((1, 50), np.float32))] * 130, format="csr")
    ids = tuple(f"item {number}" for number in range(130))
    store = open_npz(tmp_path)
    store.write(saeviz.FeatureBatch(SPACE, ids[:100], csr_array(dense[:100])))
    for item_id in ids[100:]:
        store.write(saeviz.FeatureBatch(SPACE, (item_id,), csr_array(dense[:1])))
    lines = [json.loads(line) for line in (tmp_path / "layer_7" / "cls" / "index.jsonl").read_text().splitlines()[1:]]
    kept = {int(name[6:12]) for name in shards(tmp_path)}
    sizes = [line["n_active"] for line in lines if line["batch"] in kept]
    assert sum(sizes) == 130 * 50
    assert sizes[:5] == [1000] * 5
    assert max(sizes) < 2 * 1000
    assert len([size for size in sizes if size >= 1000]) == 6
    assert read_all(store, SPACE).item_ids == ids


def test_closing_after_everything_was_replaced(tmp_path):
    store = open_npz(tmp_path, shard_rows=3)
    store.write(versioned(SPACE, ["a", "b"]))
    store.write(versioned(SPACE, ["a", "b", "c"], version=1))
    store.close()
    assert shards(tmp_path) == ["batch_000002.npz"]
    assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, ["a", "b", "c"], version=1))


def test_a_few_non_zeros_among_many_features_take_little_room(tmp_path):
    space = saeviz.FeatureSpace(7, "cls", 49_152)
    store = open_npz(tmp_path)
    store.save_features("one", np.eye(1, space.n_features, 3)[0], layer=7)
    store.close()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.npz")) < 3000
    assert read_all(open_npz(tmp_path), space).matrix.indices.tolist() == [3]
