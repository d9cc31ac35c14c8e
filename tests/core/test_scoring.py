"""What a scorer is given."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from scipy.sparse import csr_array

from saeviz import DataError, FeatureBatch, FeatureSpace, FeatureStream, ScoreInput

SPACE = FeatureSpace(7, "cls", 5)


def make_input(dense, size, ids=None, stored_ids=None):
    ids = ids or tuple(f"image {i}" for i in range(len(dense)))
    stored_ids = stored_ids or ids

    def read():
        for start in range(0, len(dense), size):
            rows = slice(start, start + size)
            yield FeatureBatch(SPACE, stored_ids[rows], csr_array(dense[rows]))

    return ScoreInput(SPACE, ids, FeatureStream(SPACE, read), None, {})


@pytest.fixture
def dense():
    generator = np.random.default_rng(0)
    dense = (generator.normal(size=(23, 5)) * (generator.random((23, 5)) < 0.5)).astype(np.float32)
    dense[:, 0] = 0  # never fires
    dense[:, 1] = 5 + generator.random(23)  # always on
    dense[:, 2] = -np.abs(dense[:, 2])
    return dense


@pytest.mark.parametrize("size", [1, 4, 23])
def test_statistics_are_those_of_the_dense_matrix(dense, size):
    statistics = make_input(dense, size).features.statistics

    np.testing.assert_array_equal(statistics.n_active, (dense > 0).sum(axis=0))
    np.testing.assert_array_equal(statistics.maximum, dense.max(axis=0))
    np.testing.assert_array_equal(statistics.minimum, dense.min(axis=0))
    np.testing.assert_allclose(statistics.mean, dense.mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_statistics_of_no_images_are_zero():
    statistics = FeatureStream(SPACE, lambda: iter(())).statistics

    for values in (statistics.n_active, statistics.maximum, statistics.minimum, statistics.mean):
        np.testing.assert_array_equal(values, np.zeros(5))


def test_the_matrix_is_all_batches_below_each_other(dense):
    matrix = make_input(dense, 4).features.matrix()

    assert matrix.format == "csr"
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.toarray(), dense)
    assert FeatureStream(SPACE, lambda: iter(())).matrix().shape == (0, 5)


def test_top_images_are_the_same_whether_asked_for_at_once_or_after_more(dense):
    fresh, asked_before = make_input(dense, 4).features, make_input(dense, 4).features
    asked_before.top_images(6)

    np.testing.assert_array_equal(asked_before.top_images(3).rows, fresh.top_images(3).rows)
    assert fresh.top_images(6).k == 6


@pytest.mark.parametrize("size", [1, 4, 23])
@pytest.mark.parametrize("n_entries", [1, 30, 10**6])
def test_chunks_cover_all_rows_in_order_and_are_the_same_whatever_the_batches(dense, size, n_entries):
    chunks = list(make_input(dense, size).chunks(n_entries))

    assert [rows for rows, _ in chunks] == [rows for rows, _ in make_input(dense, 7).chunks(n_entries)]
    assert [rows.start for rows, _ in chunks] == [0, *[rows.stop for rows, _ in chunks][:-1]]
    assert chunks[-1][0].stop == 23
    for rows, matrix in chunks:
        np.testing.assert_array_equal(matrix.toarray(), dense[rows])
    assert all(matrix.nnz >= n_entries for _, matrix in chunks[:-1])


def test_chunks_of_silent_images_are_not_lost():
    silent = np.zeros((6, 5), dtype=np.float32)

    assert [rows for rows, _ in make_input(silent, 2).chunks()] == [slice(0, 6)]


def test_chunks_hold_as_many_batches_as_they_need_and_no_more():
    data = make_input(np.ones((200, 5), dtype=np.float32), 2)  # 10 entries a batch
    seen = []

    def read():
        for batch in data.features.batches():
            seen.append(weakref.ref(batch.matrix))
            yield batch

    def count_alive():
        return sum(matrix() is not None for matrix in seen)

    streamed = ScoreInput(SPACE, data.item_ids, FeatureStream(SPACE, read), None, {})
    alive = [count_alive() for _ in streamed.chunks(50)]

    assert len(alive) == 20
    assert max(alive) <= 6


def test_features_of_another_image_are_refused_and_named(dense):
    ids = tuple(f"image {i}" for i in range(23))
    swapped = (*ids[:6], ids[7], ids[6], *ids[8:])

    with pytest.raises(DataError, match=r"'image 7' instead of 'image 6' in layer7\.cls"):
        list(make_input(dense, 4, ids, swapped).chunks())


def test_features_of_too_many_or_too_few_images_are_refused(dense):
    ids = tuple(f"image {i}" for i in range(23))

    with pytest.raises(DataError, match="'image 20' after the last image"):
        list(make_input(dense, 4, ids[:20], ids).chunks())
    with pytest.raises(DataError, match="of 22 images instead of 23"):
        list(make_input(dense[:22], 4, ids, ids[:22]).chunks())
