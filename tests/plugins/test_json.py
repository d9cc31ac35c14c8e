"""The store `json`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import FeatureStoreContract
from saeviz.testing.data import HOSTILE_IDS
from saeviz.testing.stores import assert_same, dense_batch, read_all, versioned
from saeviz_json import JsonOptions
from saeviz_json.names import file_name, folded
from saeviz_json.store import JsonStore

SPACE = saeviz.FeatureSpace(11, "patch-max", 50)
LAYOUTS = pytest.mark.parametrize("layout", ["batch", "item"])


class TestContract(FeatureStoreContract):
    component = JsonStore

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: JsonStore(JsonOptions(path=tmp_path), saeviz.Context())


class TestContractWithAFilePerItem(FeatureStoreContract):
    component = JsonStore
    most_items_per_batch = 128
    many_writers = False

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: JsonStore(JsonOptions(path=tmp_path, layout="item"), saeviz.Context())


class TestContractInAFolderOfAnotherProgram(FeatureStoreContract):
    """The folder holds one item without an index; it is taken away again where the suite wants an empty store."""

    most_items_per_batch = 128

    @pytest.fixture
    def open_store(self, tmp_path):
        folder = tmp_path / "layer_11" / "cls"
        folder.mkdir(parents=True)
        (folder / "batch_0.json").write_text('{"x": {}}')
        store = open_json(tmp_path, n_features=50)
        store.write(versioned(saeviz.FeatureSpace(11, "cls", 50), ["x"]))
        (folder / "batch_0.json").unlink()
        (folder / "x.json").unlink()
        return lambda: open_json(tmp_path, n_features=50)


def open_json(folder: Path, **options) -> JsonStore:
    return JsonStore(JsonOptions(path=folder, **options), saeviz.Context())


def files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith(".saeviz-lock"))


THREE = ['say "a/b"', "silent", "\u732b"], [[0, 0.1, 0, 2, 0], [0] * 5, [-1e-7, 0, 0, 0, 3e10]]


def test_a_batch_is_item_feature_value_with_an_item_per_line(tmp_path):
    batch = dense_batch(saeviz.FeatureSpace(11, "cls", 5), *THREE)
    JsonStore(JsonOptions(), saeviz.Context(workdir=tmp_path)).write(batch)
    text = (tmp_path / "layer_11" / "cls" / "batch_000001.json").read_text(encoding="utf-8")
    assert text == (
        '{\n"say \\"a/b\\"": {"1": 0.1, "3": 2.0},\n"silent": {},\n"\u732b": {"0": -1e-07, "4": 3e+10}\n}\n'
    )
    assert list(json.loads(text)) == list(batch.item_ids)


def test_a_file_per_item_is_feature_value(tmp_path):
    open_json(tmp_path, layout="item").write(dense_batch(saeviz.FeatureSpace(11, "patch-max", 5), *THREE))
    folder = tmp_path / "layer_11" / "spatial"
    assert json.loads((folder / "\u732b.json").read_text()) == {"0": -1e-07, "4": 3e10}
    assert (folder / "silent.json").read_text() == "{}\n"
    [hashed] = [name for name in files(folder) if "~" in name]
    assert hashed.startswith("say_a_b~")


@pytest.mark.parametrize(("tokens", "folder"), [("cls", "cls"), ("patch-max", "spatial"), ("patch-mean", "patch-mean")])
@LAYOUTS
def test_folders_are_called_as_in_the_source_document(tmp_path, layout, tokens, folder):
    open_json(tmp_path, layout=layout).write(versioned(saeviz.FeatureSpace(7, tokens, 50), ["a"]))
    assert {Path(name).parent.as_posix() for name in files(tmp_path)} == {f"layer_7/{folder}"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@LAYOUTS
def test_every_float32_survives(tmp_path_factory, layout, values):
    row = np.zeros((1, 50), dtype=np.float32)
    row[0, : len(values)] = values
    store = open_json(tmp_path_factory.mktemp("json"), layout=layout)
    batch = saeviz.FeatureBatch(SPACE, ("a",), csr_array(row))
    store.write(batch)
    assert_same(read_all(store, SPACE), batch)


# ---- what others have written, without an index


def source_document(folder: Path, layer: int, tokens: str, batches: list[dict], items: dict) -> Path:
    """Files as the document's own `save_features` and `save_features_batch` leave them."""
    place = folder / f"layer_{layer}" / tokens
    place.mkdir(parents=True)
    for number, batch in enumerate(batches):
        (place / f"batch_{number}.json").write_text(json.dumps(batch))
    for item_id, row in items.items():
        (place / f"{item_id}.json").write_text(json.dumps(row))
    return place


def sparse(values: dict[int, float]) -> dict[int, float]:
    """Float32 values as Python prints them when they have become doubles: with more digits than they need."""
    return {feature: float(np.float32(value)) for feature, value in values.items()}


def test_reads_the_files_of_the_source_document(tmp_path):
    batches = [{f"img{10 * n + k}": sparse({n: 0.1, 49_151: k + 1 / 3}) for k in range(10)} for n in range(12)]
    source_document(tmp_path, 7, "cls", batches, {"img001": sparse({3: 0.7}), "batch_of_one": sparse({5: 1})})
    source_document(tmp_path, 11, "spatial", [], {"img001": {}})
    store = open_json(tmp_path)
    cls, spatial = saeviz.FeatureSpace(7, "cls", 49_152), saeviz.FeatureSpace(11, "patch-max", 49_152)
    assert store.spaces() == [cls, spatial]
    assert store.item_ids(cls) == [*(f"img{n}" for n in range(120)), "batch_of_one", "img001"]
    assert store.load_features("img001", layer=7)[3] == np.float32(0.7)
    assert store.load_features("batch_of_one", layer=7).nonzero()[0].tolist() == [5]
    everything = read_all(store, cls)
    assert everything.matrix[[57]].indices.tolist() == [5, 49_151]
    assert everything.matrix[[57]].data.tolist() == [np.float32(0.1), np.float32(7 + 1 / 3)]
    assert_same(
        read_all(store, cls, ["img99", "img001", "img3"]),
        read_all(open_json(tmp_path), cls, ["img99", "img001", "img3"]),
    )
    assert store.load_features("img001", layer=11, tokens="patch-max").sum() == 0
    assert not list(tmp_path.rglob("*.jsonl")), "reading writes nothing"


def test_reads_dense_lists_too(tmp_path):
    source_document(tmp_path, 7, "cls", [{"a": [0, 0, 2.5]}], {"b": [1, 0, 0]})
    found = read_all(open_json(tmp_path, n_features=3), saeviz.FeatureSpace(7, "cls", 3))
    assert found.item_ids == ("a", "b")
    assert found.matrix.toarray().tolist() == [[0, 0, 2.5], [1, 0, 0]]


def test_an_item_of_its_own_is_preferred_and_later_batches_win(tmp_path):
    source_document(tmp_path, 7, "cls", [{"a": {0: 1}, "b": {0: 1}}, {"a": {0: 2}, "b": {0: 2}}], {"b": {0: 3}})
    store = open_json(tmp_path, n_features=2)
    assert [store.load_features(item_id, layer=7)[0] for item_id in "ab"] == [2, 3]


@LAYOUTS
def test_goes_on_in_the_folder_of_another_program_and_removes_nothing(tmp_path, layout):
    space = saeviz.FeatureSpace(7, "cls", 50)
    place = source_document(tmp_path, 7, "cls", [{"a": {0: 1}, "b": {0: 1}}], {"c": {0: 3}, "d": {0: 4}})
    before = {name: (place / name).read_bytes() for name in files(place)}
    store = open_json(tmp_path, n_features=50, layout=layout)
    store.write(versioned(space, ["new", "b", "c"]))
    for opened in (store, open_json(tmp_path, n_features=999)):
        assert opened.item_ids(space) == ["a", "b", "c", "d", "new"]
        assert_same(read_all(opened, space, ["new", "b", "c"]), versioned(space, ["new", "b", "c"]))
        assert [opened.load_features(item_id, layer=7)[0] for item_id in "ad"] == [1, 4]
    assert {name for name in before if (place / name).read_bytes() != before[name]} == {"c.json"}


def test_clear_takes_the_files_of_another_program_for_features_too(tmp_path):
    source_document(tmp_path, 7, "cls", [{"a": {0: 1}}], {"c": {0: 3}})
    store = open_json(tmp_path)
    (tmp_path / "layer_7" / "notes.txt").write_text("mine")
    store.clear()
    assert store.spaces() == open_json(tmp_path).spaces() == []
    assert files(tmp_path) == ["layer_7/notes.txt"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("batch_0.json", ""), ("batch_0.json", "{"), ("batch_0.json", '{"a": "x"}'), ("batch_0.json", "7"),
        ("a.json", "[]"), ("a.json", '{"x": 1}'), ("a.json", '{"50": 1}'), ("a.json", '{"-1": 1}'), ("a.json", "\xff"),
        ("a.json", "[" * 100_000), ("a.json", '{"1": [1]}'), ("a.json", '{"1": NaN}'),
        ("a.json", '{"99999999999": 1}'), ("a.json", f'{{"1": {10**400}}}'),
    ],
)  # fmt: skip
def test_a_file_that_is_not_of_this_layout_is_named(tmp_path, name, content):
    source_document(tmp_path, 7, "cls", [], {"b": {}})
    (tmp_path / "layer_7" / "cls" / name).write_text(content, encoding="latin-1")
    store = open_json(tmp_path, n_features=50)
    with pytest.raises(saeviz.DataError, match=rf"{name} cannot be read.*run again|'a' has features that are not fin"):
        list(store.read(saeviz.FeatureSpace(7, "cls", 50)))


def test_other_folders_are_no_spaces(tmp_path):
    for folder in ("layer_7/heads", "layer_x/cls", "other/cls", "layer_-1/cls"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.json").write_text("{}")
    (tmp_path / "layer_8" / "cls").mkdir(parents=True)
    assert open_json(tmp_path).spaces() == []


# ---- names of files


@pytest.mark.parametrize("item_id", ["cat", "IMG 0001 (2)", "a.b", "caf\u00e9", "\u732b", "O'Brien, 1990", "x" * 180])
def test_an_ordinary_id_is_the_name_of_its_file(item_id):
    assert file_name(item_id, {}) == f"{item_id}.json"


@pytest.mark.parametrize(
    "item_id",
    ["../x", "a/b", "a\\b", "/etc/passwd", ".hidden", "..", "con", "NUL.txt", "a ", "a.", " a", "a:b", "a*", "a\0",
     "a\nb", "~", "a~b", "%2e", "cafe\u0301", "\u202ex", "x" * 181, "\u732b" * 61, "batch_1", "Batch_7"],
)  # fmt: skip
def test_any_other_id_gets_a_readable_name_with_a_hash(item_id):
    name = file_name(item_id, {})
    stem, _, digest = name.removesuffix(".json").rpartition("~")
    assert len(digest) == 32
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
    assert len(name.encode()) < 100


def test_no_two_names_are_the_same_on_any_file_system(tmp_path):
    ids = [*HOSTILE_IDS, "Stra\u00dfe", "strasse", "STRASSE", "caf\u00c9", "\ufb01", "fi", "K", "\u212a"]
    store = open_json(tmp_path / "store", layout="item")
    store.write(versioned(SPACE, ids))
    folder = tmp_path / "store" / "layer_11" / "spatial"
    names = [name for name in files(folder) if name != "items.jsonl"]
    assert len({folded(name) for name in names}) == len(names) == len(ids)
    assert {Path(name).parent.as_posix() for name in files(tmp_path)} == {"store/layer_11/spatial"}
    assert_same(read_all(open_json(tmp_path / "store"), SPACE, ids), versioned(SPACE, ids))
    store.write(versioned(SPACE, ids, version=1))
    assert [name for name in files(folder) if name != "items.jsonl"] == names


@pytest.mark.parametrize(
    "name", ["../../outside.json", "/tmp/outside.json", "C:\\outside.json", "..\\..\\outside.json", "a"]
)
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    store = open_json(tmp_path / "store", layout="item")
    store.write(versioned(SPACE, ["a"]))
    index = tmp_path / "store" / "layer_11" / "spatial" / "items.jsonl"
    index.write_text(index.read_text() + json.dumps({"items": {"b": name}}) + "\n")
    with pytest.raises(saeviz.DataError, match=r"items\.jsonl is damaged.*is not a file of this folder"):
        open_json(tmp_path / "store").spaces()


# ---- files that were changed, and stores side by side


@LAYOUTS
def test_a_folder_goes_on_in_its_layout(tmp_path, layout):
    open_json(tmp_path, layout=layout).write(versioned(SPACE, ["a"]))
    other = open_json(tmp_path, layout="item" if layout == "batch" else "batch")
    other.write(versioned(SPACE, ["b"]))
    other.write(versioned(saeviz.FeatureSpace(3, "cls", 50), ["a"]))
    assert other.item_ids(SPACE) == ["a", "b"]
    indexes = {Path(name).parent.as_posix(): Path(name).name for name in files(tmp_path) if name.endswith(".jsonl")}
    mine, others = ("items.jsonl", "batches.jsonl") if layout == "item" else ("batches.jsonl", "items.jsonl")
    assert indexes == {"layer_11/spatial": mine, "layer_3/cls": others}


@LAYOUTS
def test_shares_a_folder_with_the_store_npz(tmp_path, layout):
    from saeviz_npz import NpzOptions
    from saeviz_npz.store import NpzStore

    npz = NpzStore(NpzOptions(path=tmp_path), saeviz.Context())
    space = saeviz.FeatureSpace(11, "cls", 50)
    npz.write(versioned(space, ["a", "b"]))
    store = open_json(tmp_path, layout=layout)
    assert store.spaces() == []
    store.write(versioned(space, ["c"]))
    store.clear()
    assert NpzStore(NpzOptions(path=tmp_path), saeviz.Context()).item_ids(space) == ["a", "b"]


@pytest.mark.parametrize("content", ["", "[]", "7", "{", '{"b": {}}', '{"a": []}', '{"a": 1}', '{"a": {"x": 1}}'])
def test_a_batch_that_is_damaged_is_named(tmp_path, content):
    store = open_json(tmp_path)
    store.write(versioned(SPACE, ["a"]))
    (tmp_path / "layer_11" / "spatial" / "batch_000001.json").write_text(content)
    with pytest.raises(saeviz.DataError, match=r"batch_000001\.json cannot be read.*run again"):
        list(store.read(SPACE))


def test_a_batch_edited_by_hand_is_refused(tmp_path):
    store = open_json(tmp_path)
    store.write(versioned(SPACE, ["a", "b"]))
    (tmp_path / "layer_11" / "spatial" / "batch_000001.json").write_text('{"b": {"7": 1, "3": 2}, "a": {}}')
    with pytest.raises(saeviz.DataError, match=r"batch_000001\.json.*was changed"):
        list(store.read(SPACE))


def test_a_file_that_was_removed_counts_as_not_extracted(tmp_path, caplog):
    open_json(tmp_path, layout="item").write(versioned(SPACE, ["a", "b"]))
    (tmp_path / "layer_11" / "spatial" / "a.json").unlink()
    assert open_json(tmp_path).item_ids(SPACE) == ["b"]
    assert "a.json is missing: its item is extracted again" in caplog.text
