"""Reading `.npz` files: whatever NumPy writes, no pickles, no parser of Python, and damage told as such."""

from __future__ import annotations

import ast
import io
import pickle
import zipfile

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

import saeviz
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.npz import read_npz, to_array
from saeviz.formats.wire import pack_features, unpack_features
from saeviz.testing.stores import versioned
from saeviz.toolkit.mapped import release
from saeviz.values.texts import Texts

SPACE = saeviz.FeatureSpace(7, "cls", 50)
ARRAYS = {
    "floats": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(3, dtype=">i8"),
    "flags": np.array([True, False]),
    "a number": np.array(7),
    "text": np.array(["a", "\u732b"]),
    "bytes": np.array(b"csr"),
    "nothing": np.zeros((0, 5), np.float32),
    "five dimensions": np.zeros((1, 2, 1, 3, 1), np.uint16),
}


def npz(save=np.savez, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_whatever_numpy_writes_is_read_from_a_file_or_bytes(tmp_path, save):
    content = npz(save, **ARRAYS)
    (tmp_path / "x.npz").write_bytes(content)
    for found in (read_npz(content), read_npz(tmp_path / "x.npz"), read_npz(content, *ARRAYS)):
        assert list(found) == list(ARRAYS)
        for name, expected in ARRAYS.items():
            assert found[name].dtype == expected.dtype
            np.testing.assert_array_equal(found[name], expected, strict=True)


def test_only_what_is_asked_for_is_read():
    assert list(read_npz(npz(**ARRAYS), "flags")) == ["flags"]
    with pytest.raises(ValueError, match="it has no array 'other'"):
        read_npz(npz(**ARRAYS), "flags", "other")


def npy(array=ARRAYS["floats"], *, pickled=False):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def headed(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + npy()[8:],
        npy()[:-1],
        npy() + b"\0",
        npy()[:40],
        npy(np.array([{}], dtype=object), pickled=True),
        npy(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")])),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5_000 + ",), }"),
        headed("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,), }"),
        headed("{'descr': '<q9', 'fortran_order': False, 'shape': (), }"),
        headed("{'descr': '|O', 'fortran_order': False, 'shape': (), }"),
        headed("(" * 5_000),
    ],
)
def test_any_other_array_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"arrays?|digits"):
        to_array(content)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100, npz(**ARRAYS)[:-40], npz(**ARRAYS)[:300]])
def test_what_is_no_archive_or_a_part_of_one_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"not an \.npz file, or damaged"):
        read_npz(content)


def test_a_flipped_bit_is_noticed():
    content = bytearray(npz(vectors=np.ones(1_000, np.float32)))
    content[2_000] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        read_npz(bytes(content))


def test_an_archive_that_is_encrypted_says_so():
    content = bytearray(npz(save=np.savez, a=np.ones(3)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        directory = archive.start_dir
    content[6] |= 1
    content[directory + 8] |= 1
    with pytest.raises(ValueError, match="encrypted"):
        read_npz(bytes(content))


def test_nothing_that_is_read_has_python_parse_it(tmp_path, monkeypatch):
    """`ast` fails at random in threads on Python 3.11; so no file is read that way, whoever wrote it."""
    batch = versioned(SPACE, [f"item {number}" for number in range(9)])
    stores = [
        saeviz.component("store", "npz", path=tmp_path / encoding, encoding=encoding, shard_rows=4)
        for encoding in ("packed", "scipy")
    ]
    for store in stores:
        store.write(batch)
    item = saeviz.ImageItem("a", b"")
    files = EmbeddingFiles(tmp_path / "embeddings")
    files.append([("a", "")], np.ones((1, 4), np.float32))
    sent = pack_features(batch)

    def refuse(*_arguments, **_options):
        raise AssertionError("something is parsed as Python")

    for name in ("parse", "literal_eval"):
        monkeypatch.setattr(ast, name, refuse)
    for store in stores:
        found = list(store.read(SPACE))
        assert sum(map(len, found)) == 9
    assert files.read([item]).tolist() == [[1, 1, 1, 1]]
    assert unpack_features(sent, SPACE).item_ids == batch.item_ids


def test_only_a_file_that_is_as_large_is_unpacked_to_more_than_a_gigabyte(tmp_path, monkeypatch):
    """As a shard of very many images, or a state of very many features."""
    monkeypatch.setattr("saeviz.formats.npz.MOST_UNPACKED", 4000)
    np.savez(tmp_path / "large.npz", values=np.zeros(1000))
    assert read_npz(tmp_path / "large.npz")["values"].size == 1000
    np.savez_compressed(tmp_path / "small.npz", values=np.zeros(1000))
    for source in (tmp_path / "small.npz", (tmp_path / "small.npz").read_bytes()):
        with pytest.raises(ValueError, match="it would unpack to more than"):
            read_npz(source)


def test_embeddings_that_are_mapped_are_those_that_are_read(tmp_path):
    """In the order of the images, the last one of each, and NaN for images without one."""
    files, random = EmbeddingFiles(tmp_path / "embeddings"), np.random.default_rng(0)
    ids = [f"image {number}" for number in range(40)]
    for some in (["elsewhere", *ids[3:20]], ids[30:8:-3], [ids[4], "gone"], ids[33:35]):
        files.append([(item_id, "") for item_id in some], random.normal(size=(len(some), 3)).astype(np.float32))
    arrays = MappedArrays(tmp_path / "mapped")
    assert files.gather(Texts.of(ids), arrays, "vectors")
    expected = files.read([saeviz.ImageItem(item_id, b"") for item_id in ids])
    assert expected is not None
    sent = pickle.loads(pickle.dumps(arrays))["vectors"]
    np.testing.assert_array_equal(sent, expected)
    release(sent[3:])
    np.testing.assert_array_equal(sent, expected)
    assert not EmbeddingFiles(tmp_path / "none").gather(Texts.of(ids), arrays, "none")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_shard_that_scipy_wrote_is_read(tmp_path, compressed):
    batch = versioned(SPACE, ["a", "b"])

    def written(name, matrix):
        store = saeviz.component("store", "npz", path=tmp_path / name)
        store.save_shard = lambda path, _: path.write_bytes(npz(save_npz, matrix=matrix, compressed=compressed))
        store.write(batch)
        return store

    (found,) = written("rows", csr_array(batch.matrix)).read(SPACE)
    assert (found.matrix != batch.matrix).nnz == 0
    store = written("columns", batch.matrix.tocsc())
    with pytest.raises(saeviz.DataError, match="it holds no CSR matrix but"):
        list(store.read(SPACE))
