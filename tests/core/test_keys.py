"""From features to rows of a run's tables and back."""

from __future__ import annotations

import pandas as pd
import pytest

import saeviz
from saeviz.values import keys

FEATURES = [saeviz.Feature(7, "cls", 3), saeviz.Feature(7, "patch-max", 3), saeviz.Feature(11, "cls", 0)]
NAMED = [saeviz.FeatureSpace(7, "cls", 4), saeviz.FeatureSpace("stage3", "patch-max", 4, "convnext")]


@pytest.fixture
def table():
    """Two rows for each feature; `tokens` is a category, as in what a run reads."""
    rows = [
        (feature.sae, feature.layer, feature.tokens, feature.index, rating) for rating in "ab" for feature in FEATURES
    ]
    return pd.DataFrame(rows, columns=[*saeviz.KEYS, "rating"]).astype({"tokens": "category"})


def test_every_row_is_about_a_feature(table):
    assert saeviz.features_of(table) == FEATURES * 2
    assert saeviz.feature_of(table.iloc[1].to_dict()) == FEATURES[1]
    assert {type(feature.index) for feature in saeviz.features_of(table)} == {int}


def test_the_rows_about_some_features_keep_their_order_and_index(table):
    assert saeviz.rows_about(table, reversed(FEATURES[1:])).index.tolist() == [1, 2, 4, 5]
    assert saeviz.rows_about(table, [saeviz.Feature(11, "cls", 3)]).empty
    assert saeviz.rows_about(table, []).empty
    assert saeviz.rows_about(table.head(0), FEATURES).empty


def test_beside_a_named_stage_layers_are_text_and_still_say_which_feature_a_row_is_about():
    columns = [keys.columns_of(space, NAMED) | {"feature": range(4)} for space in NAMED]
    table = pd.concat([pd.DataFrame(one) for one in columns], ignore_index=True)

    assert table["layer"].map(type).eq(str).all()
    assert saeviz.features_of(table) == [space.feature(index) for space in NAMED for index in range(4)]
    assert saeviz.rows_in(table, NAMED[0]).index.tolist() == [0, 1, 2, 3]
    assert saeviz.rows_in(table, NAMED[1]).index.tolist() == [4, 5, 6, 7]


def test_a_table_of_an_earlier_version_has_features_without_a_name():
    assert saeviz.feature_of({"layer": 7, "tokens": "cls", "feature": 3, "tier": 1}) == FEATURES[0]


@pytest.mark.parametrize("space", NAMED, ids=str)
def test_a_space_is_written_to_files_and_read_again(space):
    assert keys.space_of(keys.record_of(space)) == space
    assert ("sae" in keys.record_of(space)) == bool(space.sae), "as before there were names"


def test_a_space_has_the_features_of_its_layer_tokens_and_size():
    space = saeviz.FeatureSpace(7, "cls", 4)

    assert [feature in space for feature in FEATURES] == [True, False, False]
    assert space.feature(4) not in space
    assert "layer7.cls/3" not in space


def test_the_rows_in_a_space_keep_their_order_and_index(table):
    found = saeviz.rows_in(table, saeviz.FeatureSpace(FEATURES[0].layer, FEATURES[0].tokens, 10))
    expected = [
        (feature.layer, feature.tokens) == (FEATURES[0].layer, FEATURES[0].tokens)
        for feature in saeviz.features_of(table)
    ]
    assert found.equals(table[expected])
    assert 0 < len(found) < len(table)
