"""The store `json`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import FeatureStoreContract
from saeviz.testing.stores import dense_batch, versioned
from saeviz_json import JsonOptions
from saeviz_json.store import JsonStore

SPACE = saeviz.FeatureSpace(11, "patch-max", 50)


class TestContract(FeatureStoreContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: JsonStore(JsonOptions(path=tmp_path), saeviz.Context())


def test_the_layout_is_item_feature_value_with_an_item_per_line(tmp_path):
    space = saeviz.FeatureSpace(11, "cls", 5)
    batch = dense_batch(space, ['say "a/b"', "silent", "\u732b"], [[0, 0.1, 0, 2, 0], [0] * 5, [-1e-7, 0, 0, 0, 3e10]])
    JsonStore(JsonOptions(), saeviz.Context(workdir=tmp_path)).write(batch)
    text = (tmp_path / "layer_11" / "cls" / "batch_000001.json").read_text(encoding="utf-8")
    assert text == (
        '{\n"say \\"a/b\\"": {"1": 0.1, "3": 2.0},\n"silent": {},\n"\u732b": {"0": -1e-07, "4": 3e+10}\n}\n'
    )
    assert list(json.loads(text)) == list(batch.item_ids)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_float32_survives(tmp_path_factory, values):
    row = np.zeros((1, 50), dtype=np.float32)
    row[0, : len(values)] = values
    path = tmp_path_factory.mktemp("json") / "batch.json"
    store = JsonStore(JsonOptions(path=path.parent), saeviz.Context())
    batch = saeviz.FeatureBatch(SPACE, ("a",), csr_array(row))
    store.save_shard(path, batch)
    assert store.load_shard(path, SPACE, ["a"]).toarray().tobytes() == batch.matrix.toarray().tobytes()


@pytest.mark.parametrize("content", ["", "[]", "7", "{", '{"b": {}}', '{"a": []}', '{"a": 1}'])
def test_a_shard_that_is_not_of_this_layout_is_named(tmp_path, content):
    store = JsonStore(JsonOptions(path=tmp_path), saeviz.Context())
    store.write(versioned(SPACE, ["a"]))
    (tmp_path / "layer_11" / "patch-max" / "batch_000001.json").write_text(content)
    with pytest.raises(saeviz.DataError, match=r"batch_000001\.json cannot be read.*run again"):
        list(store.read(SPACE))


@pytest.mark.parametrize("row", ['{"x": 1}', '{"1": "x"}', '{"50": 1}', '{"-1": 1}', '{"1": [1]}'])
def test_a_row_that_is_not_of_this_layout_is_named(tmp_path, row):
    test_a_shard_that_is_not_of_this_layout_is_named(tmp_path, f'{{"a": {row}}}')


def test_an_item_edited_by_hand_is_read_as_edited(tmp_path):
    store = JsonStore(JsonOptions(path=tmp_path), saeviz.Context())
    store.write(versioned(SPACE, ["a", "b"]))
    (tmp_path / "layer_11" / "patch-max" / "batch_000001.json").write_text('{"b": {"7": 1, "3": 2}, "a": {}}')
    (batch,) = store.read(SPACE)
    assert batch.item_ids == ("a", "b")
    assert batch.matrix.indices.tolist() == [3, 7]
    assert batch.matrix.indptr.tolist() == [0, 0, 2]
