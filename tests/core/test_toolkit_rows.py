"""Rows of features as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

import saeviz
from saeviz.testing.data import HOSTILE_IDS
from saeviz.testing.stores import assert_same, versioned
from saeviz.toolkit.rows import decode_rows, encode_rows, item_id_of, key_of

SPACE = saeviz.FeatureSpace(3, "cls", 50)


@pytest.mark.parametrize("n_features", [50, 2**16, 2**16 + 1])
def test_rows_come_back_to_the_last_bit(n_features):
    space = saeviz.FeatureSpace(3, "cls", n_features)
    matrix = random_array((7, n_features), density=0.3, format="lil", dtype=np.float32, rng=0)
    matrix[:, [n_features - 1]] = np.float32(1e-45)
    batch = saeviz.FeatureBatch(space, HOSTILE_IDS[:7], matrix)
    assert_same(decode_rows(space, list(encode_rows(batch))), batch)


def test_a_value_takes_six_bytes_in_a_space_of_the_usual_size():
    space = saeviz.FeatureSpace(11, "cls", 49_152)
    (row,) = encode_rows(saeviz.FeatureBatch(space, ("a",), csr_array(np.eye(1, 49_152, 49_151))))
    assert (len(row.features), len(row.activations)) == (2, 4)


def test_no_rows_are_an_empty_batch():
    assert decode_rows(SPACE, []).matrix.shape == (0, 50)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_id_comes_back_from_its_key(item_id):
    assert item_id_of(key_of(item_id)) == item_id
    assert "\0" not in key_of(item_id)


def test_keys_of_different_ids_differ():
    ids = [*HOSTILE_IDS, "\\0", "\0", "\\\0", "\\\\0", "\\\\"]
    assert len({key_of(item_id) for item_id in ids}) == len(set(ids))


@pytest.mark.parametrize("item_id", ["", "half\ud800"])
def test_what_is_no_id_has_no_key(item_id):
    with pytest.raises(saeviz.DataError, match="item id"):
        key_of(item_id)


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row._replace(features=row.features[:-1]),
        lambda row: row._replace(activations=row.activations[:-4]),
        lambda row: row._replace(features=row.features[:-2] + b"\x32\x00"),
    ],
    ids=["cut", "fewer values", "feature 50 of 50"],
)
def test_damaged_rows_name_their_item(damage):
    rows = list(encode_rows(versioned(SPACE, ["sound", "hurt", "sound too"])))
    rows[1] = damage(rows[1])
    with pytest.raises(saeviz.DataError, match="'hurt' are damaged"):
        decode_rows(SPACE, rows)
