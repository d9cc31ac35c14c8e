"""Features in files that are ordered by feature: any block of them is as in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from saeviz import RunDirError
from saeviz.formats.feature_parts import FeatureParts, is_whole, write_feature_part

N_FEATURES = 7
ROWS = st.lists(st.lists(st.sampled_from([0, 0, 0, 0.5, 1, -2]), min_size=7, max_size=7), min_size=1, max_size=12)


def written(folder: Path, rows: list[list[float]], size: int = 5) -> FeatureParts:
    matrix, paths = np.array(rows, np.float32), []
    for start in range(0, len(rows), size):
        paths.append(folder / f"from {start}")
        write_feature_part(paths[-1], csr_array(matrix[start : start + size]), start)
    return FeatureParts(paths, N_FEATURES, len(rows))


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, size=st.integers(1, 12), n_values=st.sampled_from([1, 4, 1000]))
def test_blocks_are_of_all_features_and_images(tmp_path_factory, rows, size, n_values):
    parts = written(tmp_path_factory.mktemp("parts"), rows, size)
    found = [parts.block(features) for features in parts.blocks(n_values)]
    assert all(block.nnz <= n_values or block.shape[0] == 1 for block in found)
    assert all(block.has_sorted_indices for block in found)
    assert np.concatenate([block.toarray() for block in found]).T.tolist() == np.array(rows, np.float32).tolist()


def test_stored_zeros_are_no_activations(tmp_path):
    matrix = csr_array((np.array([0, 2], np.float32), np.array([1, 2]), np.array([0, 2])), shape=(1, N_FEATURES))
    write_feature_part(tmp_path / "part", matrix, 0)
    assert FeatureParts([tmp_path / "part"], N_FEATURES, 1).block(slice(0, 7)).nnz == 1
    assert matrix.nnz == 2, "the matrix of the store stays as it is"


def test_a_file_of_any_other_bytes_is_not_whole(tmp_path):
    written(tmp_path, [[1] * 7])
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    assert is_whole(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not is_whole(path)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert not is_whole(path)
    path.unlink()
    assert not is_whole(path)


@pytest.mark.parametrize("bounds", [[-1, 1, 2, 3, 4, 5, 6, 7], [0, 2, 1, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 2**40]])
def test_nonsense_in_a_file_is_refused(tmp_path, bounds):
    parts = written(tmp_path, [[1] * 7])
    path = tmp_path / "from 0"
    path.write_bytes(np.array(bounds, "<i8").tobytes() + path.read_bytes()[64:])
    with pytest.raises(RunDirError, match="from 0 was changed or damaged"):
        parts.block(slice(0, 7))


def test_images_that_the_run_does_not_have_are_refused(tmp_path):
    write_feature_part(tmp_path / "part", csr_array(np.ones((2, N_FEATURES), np.float32)), 4)
    with pytest.raises(RunDirError, match="part was changed or damaged"):
        FeatureParts([tmp_path / "part"], N_FEATURES, 5).block(slice(2, 3))
