"""The copy of a run's features that is ordered by feature: as the store has them, in bounded memory, made once."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import saeviz
from saeviz import RunDirError
from saeviz.cache.copies import Copies
from saeviz.formats import by_feature
from saeviz.formats.by_feature import ByFeature, write_by_feature

SPACE = saeviz.FeatureSpace(3, "cls", 7)
ROWS = st.lists(st.lists(st.sampled_from([0, 0, 0, 0.5, 1, 2, -1]), min_size=7, max_size=7), max_size=12)


def batches(rows, size=5):
    for start in range(0, len(rows), size):
        part = np.array(rows[start : start + size], np.float32)
        ids = tuple(f"image {start + n}" for n in range(len(part)))
        yield saeviz.FeatureBatch(SPACE, ids, csr_array(part))


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, together=st.sampled_from([1, 4, 1000]))
def test_a_feature_has_its_images_strongest_first(tmp_path_factory, rows, together):
    folder = tmp_path_factory.mktemp("copy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_feature, "TOGETHER", together)
        write_by_feature(folder, [(SPACE, batches(rows))])
    copy, matrix = ByFeature(folder), np.array(rows, np.float32).reshape(-1, 7)
    for index in range(7):
        items, values = copy.images_of("layer3.cls", index)
        column = matrix[:, index]
        expected = sorted(np.flatnonzero(column), key=lambda item: (-column[item], item))
        assert items.tolist() == [int(item) for item in expected]
        assert values.tolist() == column[expected].tolist()
    assert copy.n_images == len(rows)
    for place, row in enumerate(matrix):
        features, values = copy.features_of("layer3.cls", place)
        assert features.tolist() == np.flatnonzero(row).tolist()
        assert values.tolist() == row[row != 0].tolist()


def test_stored_zeros_are_no_activations(tmp_path):
    matrix = csr_array((np.array([0, 2], np.float32), np.array([1, 2]), np.array([0, 2])), shape=(1, 7))
    write_by_feature(tmp_path, [(SPACE, [saeviz.FeatureBatch(SPACE, ("a",), matrix)])])
    assert [array.tolist() for array in ByFeature(tmp_path).images_of("layer3.cls", 1)] == [[], []]
    assert matrix.nnz == 2, "the store's own matrix stays as it is"


def filled(folder):
    write_by_feature(folder, [(SPACE, batches([[1] * 7, [2] * 7]))])


def test_a_copy_is_made_once_for_each_state_of_a_run(tmp_path):
    made = []

    def fill(folder):
        made.append(folder)
        filled(folder)

    copies = Copies(tmp_path)
    for run, state in [("aa", "01"), ("aa", "01"), ("bb", "01"), ("aa", "02")]:
        copies.opened(run, state, fill)
    assert len(made) == 3
    assert sorted(path.parent.name + path.name for _, _, path in copies.by_use()) == ["aa02", "bb01"]
    [usage] = copies.usage()
    assert usage.images == 4
    assert "2 served runs" in usage.title
    copies.remove(path for _, _, path in list(copies.by_use()))
    assert copies.usage() == []


@pytest.mark.parametrize("name", ["about.json", "0.values", "0.starts", "0.features", "0.image_starts"])
@pytest.mark.parametrize("damage", ["gone", "short", "format", "other bytes"])
def test_a_damaged_copy_is_made_again(tmp_path, name, damage):
    copies = Copies(tmp_path)
    copies.opened("aa", "01", filled)
    file = tmp_path / "by-feature" / "aa" / "01" / name
    if damage == "gone":
        file.unlink()
    elif damage == "short":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "other bytes":  # as many as before
        file.write_bytes(b"\xff" * file.stat().st_size)
    else:
        file.write_text('{"format": 99, "spaces": [], "n_images": 0}')
    found = copies.opened("aa", "01", filled)
    assert [array.tolist() for array in found.images_of("layer3.cls", 0)] == [[1, 0], [2, 1]]
    assert found.features_of("layer3.cls", 1)[0].tolist() == list(range(7))


def test_a_copy_that_goes_while_it_is_read_is_named(tmp_path):
    copies = Copies(tmp_path)
    found = copies.opened("aa", "01", filled)
    copies.remove(path for _, _, path in list(copies.by_use()))
    with pytest.raises(RunDirError, match="cannot be read"):
        found.images_of("layer3.cls", 0)


def test_a_copy_that_changes_while_it_is_read_is_named(tmp_path):
    copies = Copies(tmp_path)
    found = copies.opened("aa", "01", filled)
    os.truncate(tmp_path / "by-feature" / "aa" / "01" / "0.items", 4)
    with pytest.raises(RunDirError, match="was changed while it was used"):
        found.images_of("layer3.cls", 0)


def test_a_disk_that_is_full_is_named(tmp_path):
    def full():
        yield from batches([[1] * 7])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunDirError, match="No space left"):
        Copies(tmp_path).opened("aa", "01", lambda folder: write_by_feature(folder, [(SPACE, full())]))
