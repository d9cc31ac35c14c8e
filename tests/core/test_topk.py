"""The most activating images of every feature, from a stream."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from saeviz import FeatureBatch, FeatureSpace, TopImages, stream_top_images


def batches(dense, size):
    space = FeatureSpace(7, "cls", dense.shape[1])
    for start in range(0, len(dense), size):
        rows = dense[start : start + size]
        yield FeatureBatch(space, tuple(f"{start + i}" for i in range(len(rows))), csr_array(rows))


def sorted_by_hand(dense, k):
    """Per feature (row, value) of the positive activations, largest first, the earlier image first among ties."""
    return [
        sorted(((row, value) for row, value in enumerate(column) if value > 0), key=lambda pair: -pair[1])[:k]
        for column in dense.T
    ]


def as_pairs(top: TopImages):
    return [
        [(int(row), value) for row, value in zip(rows, values, strict=True) if row >= 0]
        for rows, values in zip(top.rows, top.values, strict=True)
    ]


few_values = st.sampled_from([0.0, 0.0, 1.0, 2.0, 1e-40, 3e38, -1.0]).map(np.float32)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    dense=arrays(np.float32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=few_values),
    k=st.integers(1, 8),
    size=st.integers(1, 31),
)
def test_equals_a_sort_of_everything_for_any_batch_size_and_with_ties(dense, k, size):
    assert as_pairs(stream_top_images(batches(dense, size), dense.shape[1], k)) == sorted_by_hand(dense, k)


@pytest.mark.parametrize("size", [1, 7, 100, 400])
def test_equals_a_sort_of_everything_when_candidates_are_merged_many_times(size):
    generator = np.random.default_rng(1)
    dense = (generator.exponential(size=(400, 20)) * (generator.random((400, 20)) < 0.6)).astype(np.float32)

    top = stream_top_images(batches(dense, size), 20, 5)

    assert as_pairs(top) == sorted_by_hand(dense, 5)


def test_the_rest_of_a_rarely_active_feature_is_row_minus_one_and_value_zero():
    dense = np.array([[0, 2, 0], [0, 3, 0], [0, 0, -1]], dtype=np.float32)

    top = stream_top_images(batches(dense, 2), 3, 3)

    np.testing.assert_array_equal(top.rows, [[-1, -1, -1], [1, 0, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(top.values, [[0, 0, 0], [3, 2, 0], [0, 0, 0]])


def test_no_images_give_no_rows():
    top = stream_top_images([], 4, 3)

    assert top.rows.shape == (4, 3)
    assert (top.rows == -1).all()


def test_fewer_images_are_the_first_columns():
    top = stream_top_images(batches(np.array([[1], [3], [2]], dtype=np.float32), 3), 1, 3)

    assert top.k == 3
    assert as_pairs(top.first(2)) == [[(1, 3.0), (2, 2.0)]]


def test_batches_are_not_kept():
    seen, alive = [], []

    def watched():
        for batch in batches(np.random.default_rng(0).random((300, 5), dtype=np.float32), 3):
            alive.append(sum(matrix() is not None for matrix in seen))
            seen.append(weakref.ref(batch.matrix))
            yield batch

    stream_top_images(watched(), 5, 4)

    assert len(alive) == 100
    assert max(alive) <= 2
