"""A store in a folder of another store: each sees and clears its own features alone."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned


@pytest.mark.parametrize(
    ("use", "options"), [("npz", {}), ("json", {"layout": "batch"}), ("json", {"layout": "item"})], ids=str
)
def test_a_store_below_another_one_is_left_alone(tmp_path, use, options):
    def opened(folder):
        return saeviz.component("store", use, path=folder, **options)

    inner, outer = opened(tmp_path / "vit"), opened(tmp_path)
    inner.write(versioned(SPACE, ["inner"]))
    inner.close()
    named = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features, "vit")
    assert outer.spaces() == []
    outer.write(versioned(SPACE, ["outer"]))
    assert outer.spaces() == [SPACE]
    assert outer.item_ids(SPACE) == ["outer"]
    assert outer.item_ids(named) == []

    outer.clear()

    assert outer.spaces() == []
    kept = opened(tmp_path / "vit")
    assert_same(read_all(kept, SPACE), versioned(SPACE, ["inner"]))
