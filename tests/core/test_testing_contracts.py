"""The contract suites are demanding: each of these faults is found by the test that is about it."""

from __future__ import annotations

import inspect
import itertools
import math
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import saeviz
import saeviz.testing
from saeviz.testing import (
    EmbeddingProviderContract,
    FeatureStoreContract,
    ImageProviderContract,
    LabelerContract,
    ScorerContract,
    SelectorContract,
    fakes,
)
from saeviz.testing.contract import NotMade, checks_of
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.embedders import unreadable

SUITES = Path(saeviz.testing.__file__).parent


def failed_tests(suite: type, fixtures: Callable[[], dict[str, Any]], only: str = "test_") -> set[str]:
    """The checks of a suite whose names begin with `only` and that fail in a sentence, each run with new fixtures."""
    return {name for name, _ in failing(suite, fixtures, only)}


def failing(suite: type, fixtures: Callable[[], dict[str, Any]], only: str = "test_") -> Iterator[tuple[str, str]]:
    """The checks that fail, in their order, and what they say; those of capabilities that are not there are not run."""
    made = suite if suite.component else type("Made", (suite,), {"component": type_of_subject(suite, fixtures())})
    for test, check in checks_of(made).items():
        if test.startswith(only) and not isinstance(getattr(made, test), NotMade):
            for case in cases_of(check):
                try:
                    available = {**fixtures(), **case}
                    check(made(), **{name: available[name] for name in list(inspect.signature(check).parameters)[1:]})
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever it is, it did not pass
                    yield test, sentence(error)


def type_of_subject(suite: type, fixtures: dict[str, Any]) -> type | None:
    """The class of the component among the fixtures."""
    return type(fixtures[suite.subject]) if suite.subject in fixtures else None


def sentence(error: BaseException) -> str:
    """What a check says: a sentence, unless the plugin itself raises; no suite stumbles over what it is given."""
    said = str(error).split("\nassert ")[0]
    if isinstance(error, AssertionError):
        assert re.match(r"[a-z'(].{15,}", said, re.DOTALL), f"not a sentence: {error!r}"
    elif not isinstance(error, saeviz.SaevizError):
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        last = [Path(name) for name in frames if "saeviz" in name or "tests" in name][-1]
        assert last.parent != SUITES or "fake" in last.name, f"the suite itself fails: {error!r} in {last}"
    return said


def cases_of(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for values in itertools.product(*[mark.args[1] for mark in marks]):
        yield {mark.args[0]: value for mark, value in zip(marks, values, strict=True)}


class MemoryContract(FeatureStoreContract):
    durable = False
    most_items_per_batch = 128


class DurableContract(FeatureStoreContract):
    """Without the killing, which the tests of real stores do."""

    most_items_per_batch = 128
    test_loses_and_doubles_nothing_when_killed = None


class Float16(fakes.MemoryStore):
    def write(self, batch):
        rounded = batch.matrix.astype(np.float16).astype(np.float32)
        super().write(saeviz.FeatureBatch(batch.space, batch.item_ids, rounded))


class DropsSilentItems(fakes.MemoryStore):
    def write(self, batch):
        kept = np.flatnonzero(np.diff(batch.matrix.indptr))
        ids = tuple(batch.item_ids[row] for row in kept)
        super().write(saeviz.FeatureBatch(batch.space, ids, batch.matrix[kept]))


class SortsItems(fakes.MemoryStore):
    def item_ids(self, space):
        return sorted(super().item_ids(space))


class KeepsTheOldOne(fakes.MemoryStore):
    def write(self, batch):
        there = set(self.item_ids(batch.space))
        kept = [row for row, item_id in enumerate(batch.item_ids) if item_id not in there]
        ids = tuple(batch.item_ids[row] for row in kept)
        super().write(saeviz.FeatureBatch(batch.space, ids, batch.matrix[kept]))


class ReadsInItsOwnOrder(fakes.MemoryStore):
    def read(self, space, item_ids=None):
        wanted = None if item_ids is None else [item_id for item_id in self.item_ids(space) if item_id in set(item_ids)]
        return super().read(space, wanted)


class SkipsAbsentItems(fakes.MemoryStore):
    def read(self, space, item_ids=None):
        known = set(self.item_ids(space))
        return super().read(space, None if item_ids is None else [item_id for item_id in item_ids if item_id in known])


class StripsIds(fakes.MemoryStore):
    def write(self, batch):
        ids = tuple(item_id.strip().rstrip("\0") or "?" for item_id in batch.item_ids)
        super().write(saeviz.FeatureBatch(batch.space, ids, batch.matrix))


class MixesTokens(fakes.MemoryStore):
    def write(self, batch):
        space = replace(batch.space, tokens="cls")
        super().write(saeviz.FeatureBatch(space, batch.item_ids, batch.matrix))


class ReadsAllAtOnce(fakes.MemoryStore):
    def read(self, space, item_ids=None):
        from scipy.sparse import vstack

        batches = list(super().read(space, item_ids))
        if batches:
            ids = tuple(item_id for batch in batches for item_id in batch.item_ids)
            yield saeviz.FeatureBatch(space, ids, vstack([batch.matrix for batch in batches]))


class SharesItsMemory(fakes.MemoryStore):
    def __init__(self):
        super().__init__()
        self.last = {}

    def write(self, batch):
        super().write(batch)
        self.last[batch.item_ids] = batch

    def read(self, space, item_ids=None):
        batch = self.last.get(tuple(self.item_ids(space) if item_ids is None else item_ids))
        return iter([batch]) if batch is not None and batch.space == space else super().read(space, item_ids)


class TakesAnyWidth(fakes.MemoryStore):
    def write(self, batch):
        self._rows.setdefault(batch.space, {}).update(
            (item_id, batch.matrix[[row]]) for row, item_id in enumerate(batch.item_ids)
        )


class ClearsOneSpace(fakes.MemoryStore):
    def clear(self):
        self._rows.pop(next(iter(self.spaces()), None), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Float16, "test_keeps_every_bit_of_a_float32"),
        (DropsSilentItems, "test_keeps_an_item_without_any_feature"),
        (SortsItems, "test_items_are_in_the_order_they_came_in"),
        (KeepsTheOldOne, "test_an_item_written_again_is_replaced"),
        (KeepsTheOldOne, "test_a_replacement_may_be_silent"),
        (KeepsTheOldOne, "test_is_like_a_dictionary"),
        (ReadsInItsOwnOrder, "test_reads_the_items_asked_for_in_the_order_asked_for"),
        (SkipsAbsentItems, "test_an_absent_item_is_named"),
        (StripsIds, "test_any_text_is_an_item_id"),
        (MixesTokens, "test_spaces_do_not_mix"),
        (ReadsAllAtOnce, "test_streams"),
        (SharesItsMemory, "test_does_not_touch_the_batch_it_was_given_nor_share_it"),
        (TakesAnyWidth, "test_refuses_another_number_of_features_for_the_same_layer_and_tokens"),
        (ClearsOneSpace, "test_clear_forgets_everything"),
    ],
)
def test_a_faulty_store_is_found(store, test):
    def fixtures():
        return {"store": store(), "open_store": store}

    assert test in failed_tests(MemoryContract, fixtures, only=test)


def test_a_store_that_claims_to_be_durable_is_held_to_it():
    test = "test_keeps_everything_when_opened_again"
    fixtures = {"store": fakes.MemoryStore(), "open_store": fakes.MemoryStore}
    assert failed_tests(DurableContract, lambda: fixtures, only=test) == {test}


class DoublesAnImage(fakes.FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        items = list(super().iter_images(filter_labeled))
        return iter([*items, *items[:1]][:limit])


class IgnoresTheFilter(fakes.FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        return super().iter_images(limit=limit)


class LimitsBeforeItFilters(fakes.FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        return (item for item in super().iter_images(limit=limit) if item.ratings or not filter_labeled)


class FindsAnything(fakes.FakeImages):
    def get_image(self, item_id):
        return super().get_image(item_id) or next(self.iter_images())


class FindsLess(fakes.FakeImages):
    def get_image(self, item_id):
        found = super().get_image(item_id)
        return found and replace(found, ratings={})


class OneIteratorForAll(fakes.FakeImages):
    def iter_images(self, filter_labeled=False, limit=None):
        if not hasattr(self, "shared"):
            self.shared = super().iter_images()
        return self.shared


class CountsItsNotes(fakes.FakeImages):
    def notes(self):
        self.calls = getattr(self, "calls", 0) + 1
        return [f"said {self.calls} times"]


@pytest.mark.parametrize(
    ("provider", "test"),
    [
        (DoublesAnImage, "test_ids_are_unique_text"),
        (IgnoresTheFilter, "test_filter_labeled_keeps_those_with_a_rating"),
        (LimitsBeforeItFilters, "test_filter_labeled_keeps_those_with_a_rating"),
        (FindsAnything, "test_an_unknown_id_is_none"),
        (FindsLess, "test_every_image_is_found_by_its_id"),
        (OneIteratorForAll, "test_the_order_is_stable"),
        (CountsItsNotes, "test_notes_are_sentences"),
    ],
)
def test_a_faulty_image_provider_is_found(provider, test):
    def fixtures():
        made = provider(fakes.FakeImagesOptions(n=6, unrated=2), saeviz.Context())
        return {"provider": made, "items": list(made.iter_images())}

    assert test in failed_tests(ImageProviderContract, fixtures)


class CentresItsBatch(fakes.FakeEmbeddings):
    def embed(self, items):
        rows = super().embed(items)
        return rows - np.nanmean(rows, axis=0) if len(rows) > 1 else rows


class GivesZeroForUnreadable(fakes.FakeEmbeddings):
    def embed(self, items):
        return np.nan_to_num(super().embed(items))


class GivesFloat64(fakes.FakeEmbeddings):
    def embed(self, items):
        return super().embed(items).astype(np.float64)


class SeesNothing(fakes.FakeEmbeddings):
    def embed(self, items):
        rows = super().embed(items)
        return np.where(np.isfinite(rows), np.float32(1), rows)


class Raises(fakes.FakeEmbeddings):
    def _row(self, item):
        return np.asarray(item.open().convert("RGB").resize((2, 2)), dtype=np.float32).ravel()


@pytest.mark.parametrize(
    ("embedder", "test"),
    [
        (CentresItsBatch, "test_a_row_depends_on_its_own_picture_only"),
        (GivesZeroForUnreadable, "test_an_unreadable_picture_is_reported_and_gives_nan"),
        (GivesFloat64, "test_gives_a_finite_float32_row_per_item"),
        (SeesNothing, "test_different_pictures_differ_and_the_same_one_does_not"),
        (Raises, "test_nothing_but_unreadable_pictures_is_all_nan"),
    ],
)
def test_a_faulty_embedder_is_found(tmp_path, embedder, test):
    def fixtures():
        surroundings = Surroundings(tmp_path, [*pictures(5), unreadable()])
        return {"surroundings": surroundings, "embedder": embedder(fakes.Slow(), surroundings.context)}

    assert test in failed_tests(EmbeddingProviderContract, fixtures)


class CountsItsBatches(fakes.FakeScorer):
    def score(self, data):
        yield saeviz.ScoreColumn(
            "batches", data.space, np.full(data.space.n_features, len(list(data.features.batches())))
        )


class DividesByZero(fakes.FakeScorer):
    def score(self, data):
        dense = data.features.matrix().toarray()
        with np.errstate(all="ignore"):
            yield saeviz.ScoreColumn("ratio", data.space, 1 / dense.sum(axis=0))


class NeedsRatings(fakes.FakeScorer):
    def score(self, data):
        first = next(iter(data.ratings))
        yield saeviz.ScoreColumn("first", data.space, np.zeros(data.space.n_features), target=first)


class FillsInRatings(fakes.FakeScorer):
    def score(self, data):
        for values in data.ratings.values():
            values[np.isnan(values)] = 0
        return super().score(data)


class Remembers(fakes.FakeScorer):
    seen = 0

    def score(self, data):
        self.seen += 1
        yield saeviz.ScoreColumn("seen", data.space, np.full(data.space.n_features, self.seen))


class RepeatsPairs(fakes.FakeScorer):
    def score(self, data):
        shape = len(data.ratings), data.space.n_features
        yield from 2 * [saeviz.PairBlock("pairs", data.space, tuple(data.ratings), {"r": np.zeros(shape)})]


class DividesPairsByZero(fakes.FakeScorer):
    def score(self, data):
        shape = len(data.ratings), data.space.n_features
        yield saeviz.PairBlock("pairs", data.space, tuple(data.ratings), {"r": np.full(shape, np.inf)})


class CombinesIntoItself(fakes.FakeScorer):
    def combine(self, columns):
        return list(columns)


@pytest.mark.parametrize(
    ("scorer", "test"),
    [
        (CountsItsBatches, "test_does_not_depend_on_how_the_features_are_batched"),
        (DividesByZero, "test_gives_columns_of_the_space_and_facts"),
        (NeedsRatings, "test_takes_what_there_is_or_says_what_is_missing"),
        (FillsInRatings, "test_does_not_change_what_it_was_given"),
        (Remembers, "test_says_the_same_twice"),
        (Remembers, "test_several_spaces_stay_apart"),
        (RepeatsPairs, "test_gives_columns_of_the_space_and_facts"),
        (DividesPairsByZero, "test_gives_columns_of_the_space_and_facts"),
        (CombinesIntoItself, "test_further_columns_of_the_family"),
    ],
)
def test_a_faulty_scorer_is_found(tmp_path, scorer, test):
    def make(context):
        return scorer(saeviz.Options(), context)

    def fixtures():
        return {"make": make, "scorer": make(saeviz.Context()), "tmp_path": tmp_path}

    assert test in failed_tests(ScorerContract, fixtures)


@pytest.mark.parametrize(("declared", "failed"), [(("r",), True), (("r", saeviz.ColumnInfo("coverage")), False)])
def test_a_column_that_is_not_declared_is_found(declared, failed):
    class Suite(ScorerContract):
        declares = declared

    found = failed_tests(
        Suite, lambda: {"scorer": fakes.FakeScorer(saeviz.Options(), saeviz.Context())}, "test_gives_no"
    )
    assert bool(found) == failed


class IgnoresTheLimit(fakes.FakeSelector):
    def select(self, table, limit=None):
        return super().select(table)


class DoublesAFeature(fakes.FakeSelector):
    def select(self, table, limit=None):
        return (super().select(table, limit) * 2)[:limit]


class WorstFirst(fakes.FakeSelector):
    def select(self, table, limit=None):
        return super().select(table, limit)[::-1]


class SortsTheTable(fakes.FakeSelector):
    def select(self, table, limit=None):
        table.scores["mean"] = table.scores["mean"].sort_values().to_numpy()
        return super().select(table, limit)


class InventsFeatures(fakes.FakeSelector):
    def select(self, table, limit=None):
        invented = saeviz.Selected(saeviz.Feature(99, "cls", 0), 1, "looks good")
        return [invented, *super().select(table, limit)][:limit]


class TakesTheFirstRow(fakes.FakeSelector):
    def select(self, table, limit=None):
        table.scores.iloc[0]
        return super().select(table, limit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selector", "test"),
    [
        (IgnoresTheLimit, "test_keeps_to_the_limit"),
        (DoublesAFeature, "test_selects_features_of_the_table_none_twice"),
        (WorstFirst, "test_the_best_come_first_and_each_says_why"),
        (SortsTheTable, "test_does_not_change_the_table"),
        (InventsFeatures, "test_selects_features_of_the_table_none_twice"),
        (TakesTheFirstRow, "test_selects_from_what_there_is_or_says_what_is_missing"),
    ],
)
def test_a_faulty_selector_is_found(tmp_path, selector, test):
    def make(context):
        return selector(saeviz.Options(), context)

    def fixtures():
        return {"make": make, "selector": make(saeviz.Context()), "tmp_path": tmp_path}

    assert test in failed_tests(SelectorContract, fixtures)


class TalksTooMuch(fakes.FakeLabeler):
    def label(self, request):
        return replace(super().label(request), label="a thing that is somehow red")


class IsOverconfident(fakes.FakeLabeler):
    def label(self, request):
        return replace(super().label(request), confidence=1.2)


class KeepsNaN(fakes.FakeLabeler):
    def label(self, request):
        return replace(super().label(request), details={"margin": math.nan})


class NeedsPictures(fakes.FakeLabeler):
    def label(self, request):
        for image in request.top:
            image.item.open()
        return super().label(request)


class NeedsTopImages(fakes.FakeLabeler):
    def label(self, request):
        return replace(super().label(request), confidence=request.top[0].activation / 100)


class Numbers(fakes.FakeLabeler):
    calls = 0

    def label(self, request):
        self.calls += 1
        return replace(super().label(request), label=f"label {self.calls}")


class JudgesByLogit(fakes.FakeLabeler):
    def judge(self, label, images):
        return 6 * super().judge(label, images) - 3


class AlwaysAgrees(fakes.FakeLabeler):
    def judge(self, label, images):
        return np.ones(len(images))


class JudgesByOrder(fakes.FakeLabeler):
    def judge(self, label, images):
        return super().judge(label, images) * np.linspace(0.6, 1, len(images))


class JudgesByRating(fakes.FakeLabeler):
    def judge(self, label, images):
        return super().judge(label, images) * [0.5 + 0.5 * bool(item.ratings) for item in images]


class RemembersWords(fakes.FakeLabeler):
    last = ""

    def judge(self, label, images):
        scores = super().judge(label, images) * (0.9 if self.last else 1)
        self.last = label.label
        return scores


class JudgeOpensAll(fakes.FakeLabeler):
    def judge(self, label, images):
        for item in images:
            item.open()
        return super().judge(label, images)


class JudgeFormats(fakes.FakeLabeler):
    def judge(self, label, images):
        return super().judge(saeviz.FeatureLabel(label.label.format(red="red")), images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labeler", "test"),
    [
        (TalksTooMuch, "test_gives_a_label_that_fits_the_tables"),
        (IsOverconfident, "test_gives_a_label_that_fits_the_tables"),
        (KeepsNaN, "test_gives_a_label_that_fits_the_tables"),
        (NeedsPictures, "test_unreadable_pictures_are_no_disaster"),
        (NeedsTopImages, "test_takes_what_there_is_or_says_why_not"),
        (Numbers, "test_says_the_same_twice"),
        (Numbers, "test_an_earlier_request_does_not_matter"),
        (JudgesByLogit, "test_judges_its_own_label"),
        (AlwaysAgrees, "test_tells_where_words_apply"),
        (JudgesByOrder, "test_judges_by_words_and_pictures_only"),
        (JudgesByRating, "test_judges_by_words_and_pictures_only"),
        (RemembersWords, "test_judges_by_words_and_pictures_only"),
        (JudgeOpensAll, "test_an_unreadable_picture_leaves_the_others_judged"),
        (JudgeFormats, "test_judges_hostile_words_or_says_why_not"),
    ],
)
def test_a_faulty_labeler_is_found(tmp_path, labeler, test):
    def make(context):
        return labeler(fakes.FakeLabelerOptions(), context)

    def fixtures():
        surroundings = Surroundings(tmp_path, pictures(24))
        built = make(surroundings.context)
        return {
            "make": make,
            "labeler": built,
            "judge": built,
            "surroundings": surroundings,
            "request_of_colours": label_request(pictures(24)),
        }

    assert test in failed_tests(LabelerContract, fixtures)
