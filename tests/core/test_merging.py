"""Computed from parts of the images: the same in any division and order, to the last bit in the tree."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import MergingScorerContract
from saeviz.testing.data import score_input
from saeviz.testing.merging import assert_same_results, batched_anew, part_of, random_parts, sizes_of
from saeviz.values.merging import PART_SIZE, MergeTree
from saeviz.values.summary import Summarizing
from tests.core.test_testing_contracts import failed_tests


def tree_of(n, order):
    tree = MergeTree(lambda one, other: f"({one} {other})")
    for number in order:
        tree.add(number, str(number))
    return tree.result()


def test_the_tree_is_binary():
    assert tree_of(1, [0]) == "0"
    assert tree_of(7, range(7)) == "(((0 1) (2 3)) ((4 5) 6))"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40).flatmap(lambda n: st.permutations(range(n))))
def test_the_tree_depends_on_the_number_of_parts_only(order):
    assert tree_of(len(order), order) == tree_of(len(order), range(len(order)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False))
def test_the_trees_of_workers_become_one(n, cuts, random):
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    shares = [range(start, stop) for start, stop in pairwise(edges)]
    random.shuffle(shares)
    total = MergeTree(lambda one, other: f"({one} {other})")
    for share in shares:
        worker = MergeTree(lambda one, other: f"({one} {other})")
        for number in share:
            worker.add(number, str(number))
        for (level, number), state in worker.nodes.items():
            total.add(number, state, level)
    assert total.result() == tree_of(n, range(n))


@pytest.mark.parametrize("given", [[], [1], [0, 2], [0, 1, 2, 4], [0, 1, 1], [0, 0]])
def test_a_part_that_is_missing_or_twice_is_no_result(given):
    with pytest.raises(ValueError, match="part"):
        tree_of(0, given)


@pytest.mark.parametrize("n", [0, 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE + 300])
def test_parts_have_a_fixed_size_whatever_the_batches(n):
    for rows_per_batch in (700, 5000):
        data = score_input(n, 4, rows_per_batch=rows_per_batch)
        parts = list(data.parts())

        assert [part.features.matrix().shape[0] for part in parts] == [
            min(PART_SIZE, n - start) for start in range(0, max(n, 1), PART_SIZE)
        ]
        found = data.space.stack(part.features.matrix() for part in parts)
        np.testing.assert_array_equal(found.toarray(), data.features.matrix().toarray())


def test_a_part_has_features_of_some_images_and_everything_else_of_all():
    data = score_input(2 * PART_SIZE, 4)
    second = list(data.parts())[1]

    assert second.rows == slice(PART_SIZE, 2 * PART_SIZE)
    assert second.features.item_ids == data.item_ids[PART_SIZE:]
    assert second.item_ids == data.item_ids
    assert [rows.start for rows, _ in second.chunks()] == [PART_SIZE]
    assert second.ratings is data.ratings


def test_a_part_can_be_divided_further():
    data = score_input(2 * PART_SIZE + 10, 4)
    rows = slice(PART_SIZE, data.n_items)
    last = list(part_of(data, rows).parts())

    assert [part.rows for part in last] == [slice(PART_SIZE, 2 * PART_SIZE), slice(2 * PART_SIZE, data.n_items)]
    assert last[1].features.item_ids == data.item_ids[2 * PART_SIZE :]


def test_features_of_other_images_are_no_part():
    data = score_input(40)
    with pytest.raises(saeviz.DataError, match="the store gave features of item"):
        data.part(slice(0, 20), partial(iter, list(data.features.batches()))).features.matrix()


def summarized(data, parts):
    summarizing = Summarizing(5)
    states = [summarizing.partial(part) for part in parts]
    while len(states) > 1:
        states.append(summarizing.merge(states.pop(0), states.pop(-1)))
    return summarizing.finish(states[0])


@pytest.mark.parametrize("seed", range(4))
def test_counts_extremes_and_top_images_are_equal_in_any_division_and_order(seed):
    data = score_input(700, 8, seed=seed)
    rounded = np.round(data.features.matrix().toarray() * 2) / 2 - 0.5  # many ties, values below zero
    batch = saeviz.FeatureBatch(data.space, data.item_ids, csr_array(rounded))
    data = replace(data, features=saeviz.FeatureStream(data.space, partial(iter, (batch,))))
    expected, top = data.features.statistics, data.features.top_images(5)

    found = summarized(data, random_parts(data, np.random.default_rng(seed)))

    for name in ("n_active", "maximum", "minimum"):
        np.testing.assert_array_equal(getattr(found.statistics, name), getattr(expected, name))
    np.testing.assert_allclose(found.statistics.mean, expected.mean, rtol=1e-13)
    np.testing.assert_array_equal(found.top.rows, top.rows)
    np.testing.assert_array_equal(found.top.values, top.values)


def test_a_summary_has_the_same_size_for_any_number_of_images():
    data = score_input(50, 6)
    sizes = [sizes_of(Summarizing(5).partial(part_of(data, rows))) for rows in (slice(0, 0), slice(0, 3), slice(3, 50))]
    assert sizes[0] == sizes[1] == sizes[2]


def test_statistics_do_not_depend_on_the_batches_to_the_last_bit():
    data = score_input(3 * PART_SIZE - 7, 6)
    for seed in range(3):
        other = batched_anew(data, np.random.default_rng(seed))
        for name, values in vars(data.features.statistics).items():
            np.testing.assert_array_equal(getattr(other.features.statistics, name), values)


def test_a_stream_that_knows_its_summary_is_not_read():
    data = score_input(50, 6)
    summary = summarized(data, [data])

    def refuse():
        raise AssertionError

    known = saeviz.FeatureStream(data.space, refuse, data.item_ids).knowing(summary)
    np.testing.assert_array_equal(known.count_active(), data.features.count_active())
    np.testing.assert_array_equal(known.top_images(4).rows, data.features.top_images(4).rows)
    with pytest.raises(AssertionError):
        known.top_images(6)


class Sums:
    """The mean of each feature."""

    def __init__(self, data):
        self.space = data.space

    def partial(self, part):
        matrix = part.features.matrix()
        return {"n": np.array(matrix.shape[0]), "sum": matrix.toarray().sum(axis=0, dtype=float)}

    def merge(self, earlier, later):
        return {name: earlier[name] + later[name] for name in earlier}

    def finish(self, state):
        yield saeviz.ScoreColumn("mean_of_parts", self.space, state["sum"] / max(state["n"], 1))


class Mean:
    kind = Sums

    def in_parts(self, data):
        return self.kind(data)

    def score(self, data):
        scores = self.in_parts(data)
        yield from scores.finish(saeviz.merged_parts(scores, data))


class Forgets(Mean):
    class kind(Sums):  # noqa: N801
        def merge(self, _earlier, later):
            return later


class CountsParts(Mean):
    class kind(Sums):  # noqa: N801
        def partial(self, part):
            return {**super().partial(part), "n": np.array(1)}


class KeepsImages(Mean):
    class kind(Sums):  # noqa: N801
        def partial(self, part):
            return {**super().partial(part), "rows": np.arange(part.features.matrix().shape[0])}

        def merge(self, earlier, later):
            return {**super().merge(earlier, later), "rows": np.append(earlier["rows"], later["rows"])}


class KeepsObjects(Mean):
    class kind(Sums):  # noqa: N801
        def partial(self, part):
            return {**super().partial(part), "ids": np.array("")}

        def merge(self, earlier, later):
            return {**earlier, "n": earlier["n"] + later["n"], "sum": earlier["sum"] + later["sum"]}


class AddsInSinglePrecision(Mean):
    def score(self, data):
        matrix = data.features.matrix().toarray()
        yield saeviz.ScoreColumn("mean_of_parts", data.space, matrix.sum(axis=0) / max(len(matrix), 1))


class TestContractOfAMean(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda _: Mean()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scorer", "test"),
    [
        (Forgets, "test_any_partition_and_any_order_give_the_same_scores"),
        (CountsParts, "test_any_partition_and_any_order_give_the_same_scores"),
        (KeepsImages, "test_states_are_numbers_whose_size_is_known_beforehand"),
        (KeepsObjects, "test_states_are_numbers_whose_size_is_known_beforehand"),
        (Forgets, "test_images_without_any_change_nothing"),
        (AddsInSinglePrecision, "test_parts_of_fixed_size_give_the_same_scores_to_the_last_bit"),
    ],
)
def test_a_faulty_merging_scorer_is_found(scorer, test, tmp_path):
    def fixtures():
        data = score_input(2 * PART_SIZE + 300, ratings=())
        return {"make": lambda _: scorer(), "scorer": scorer(), "data": data, "tmp_path": tmp_path}

    assert test in failed_tests(MergingScorerContract, fixtures)


SPACE = saeviz.FeatureSpace(1, "cls", 2)


@pytest.mark.parametrize(
    "result",
    [
        lambda values: saeviz.ScoreColumn("s", SPACE, values),
        lambda values: saeviz.ImageColumn("s", values),
        lambda values: saeviz.PairBlock("s", SPACE, ("liking",), {"r": values[None]}),
        lambda values: saeviz.ScoreFact("s", float(values[1])),
    ],
)
def test_results_that_differ_in_the_last_bit_are_told_apart(result):
    one, other = (result(np.array([1.0, 1.0 + more])) for more in (0, 2**-52))
    assert_same_results([one], [other], 1e-12)
    with pytest.raises(AssertionError):
        assert_same_results([one], [other], 0.0)


def test_a_part_of_other_data_can_be_made_by_hand():
    data = score_input(30, 4)
    part = part_of(data, slice(10, 20))
    np.testing.assert_array_equal(part.features.matrix().toarray(), data.features.matrix().toarray()[10:20])
