"""What plugins hand over is checked: a mistake names the component and its plugin, and never becomes a result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import fakes
from saeviz.testing.fakes import (
    FakeEmbeddings,
    FakeExtractor,
    FakeImages,
    FakeLabeler,
    FakeReporter,
    FakeScorer,
    FakeSelector,
    MemoryStore,
)

SETTINGS = ["images.n=12", "scorers=[{use = 'fake-scorer'}]", "store.use=fake-store", "selector.use=fake-selector"]
BY = r"of plugin saeviz\.testing\.fakes \(module saeviz\.testing\.fakes\)"


def run(folder, *more, **options):
    return saeviz.run(folder, settings=[*SETTINGS, *more], **options)


def changed(batch, **changes):
    return dataclasses.replace(batch, **changes)


def wrap(change):
    """A method whose result goes through `change`."""
    return lambda original: lambda *arguments, **options: change(original(*arguments, **options))


def each(change):
    return wrap(lambda found: (change(one) for one in found))


def always(value):
    return lambda _original: lambda *_arguments, **_options: value


def rows(batch, chosen):
    chosen = np.arange(len(batch))[chosen]
    return changed(batch, item_ids=tuple(batch.item_ids[row] for row in chosen), matrix=batch.matrix[chosen])


def reused(original):
    """Gives the images it was given, in which another plugin's values are."""
    return lambda self, items: (batch for batch in [*original(self, items)] for _ in range(2))


def raising(*_arguments, **_options):
    raise KeyError("inside")


def set_property(value):
    return lambda _original: property(lambda _self: value)


def beyond(matrix):
    return csr_array((matrix.data, matrix.indices + 7, matrix.indptr), matrix.shape)


SPACE = saeviz.FeatureSpace(1, "cls", 32)
OTHER = saeviz.FeatureSpace(9, "cls", 32)
LABEL = saeviz.FeatureLabel("red things")
BROKEN = {
    "images of another type": (FakeImages, "iter_images", each(str), "images", "gave a str instead of an ImageItem"),
    "images with numbers as metadata": (
        FakeImages, "iter_images", each(lambda item: changed(item, metadata={"year": 7})), "images", "must be text",
    ),
    "images with a rating that is no number": (
        FakeImages, "iter_images", each(lambda item: changed(item, ratings={"a": "b"})), "images", "fails with",
    ),
    "images with a rating that is infinite": (
        FakeImages, "iter_images", each(lambda item: changed(item, ratings={"a": np.inf})), "images", "not a finite",
    ),
    "no images but None": (FakeImages, "iter_images", always(None), "images", "fails with TypeError"),
    "no space": (FakeExtractor, "spaces", set_property([]), "extractor", "has no feature space"),
    "spaces that are text": (FakeExtractor, "spaces", set_property(["layer1.cls"]), "extractor", "has a str among"),
    "a space twice": (FakeExtractor, "spaces", set_property([SPACE, SPACE]), "extractor", "layer1.cls more than once"),
    "spaces that raise": (FakeExtractor, "spaces", lambda _: property(raising), "extractor", "fails with KeyError"),
    "a batch of another type": (FakeExtractor, "extract", each(str), "extractor", "gave a str instead of"),
    "batches of a space never declared": (
        FakeExtractor, "extract", each(lambda one: changed(one, space=OTHER)), "extractor", "layer9.cls with 32",
    ),
    "other ids": (
        FakeExtractor, "extract", each(lambda one: changed(one, item_ids=tuple(f"x{i}" for i in one.item_ids))),
        "extractor", "'xpicture/0' in layer1.cls twice, or although it was not requested",
    ),
    "items twice": (FakeExtractor, "extract", reused, "extractor", "'picture/0' in layer1.cls twice, or although"),
    "features that are not finite": (
        FakeExtractor, "extract", each(lambda one: changed(one, matrix=one.matrix * np.float32("nan"))),
        "extractor", "has features that are not finite",
    ),
    "features of another shape": (
        FakeExtractor, "extract", each(lambda one: changed(one, matrix=one.matrix[:, :7])), "extractor", "shape",
    ),
    "features beyond the last one": (
        FakeExtractor, "extract", each(lambda one: changed(one, matrix=beyond(one.matrix))),
        "extractor", "indices must be",
    ),
    "no features but None": (FakeExtractor, "extract", always(None), "extractor", "fails with TypeError"),
    "an extractor that raises": (FakeExtractor, "extract", lambda _: raising, "extractor", "fails with KeyError"),
    "a store that gives other values": (
        MemoryStore, "read", each(lambda one: changed(one, matrix=one.matrix * 2)), "store", "returns other values",
    ),
    "a store that gives another order": (
        MemoryStore, "read", each(lambda one: rows(one, slice(None, None, -1))), "store", "gave features of item",
    ),
    "a store that gives too little": (
        MemoryStore, "read", each(lambda one: rows(one, slice(1))), "store", "gave features of 1 images instead of 4",
    ),
    "a store that gives nothing": (MemoryStore, "read", always(()), "store", "gave features of 0 images instead of 4"),
    "a store that gives another space": (
        MemoryStore, "read", each(lambda one: changed(one, space=OTHER)), "store", "gave layer9.cls instead",
    ),
    "a store that gives another type": (MemoryStore, "read", each(str), "store", "gave str instead of a batch"),
    "a store that cannot write": (MemoryStore, "write", lambda _: raising, "store", "fails with KeyError"),
    "a store that cannot read": (MemoryStore, "read", lambda _: raising, "store", "fails with KeyError"),
    "a store that cannot list": (MemoryStore, "item_ids", lambda _: raising, "store", "fails with KeyError"),
    "a store that lists twice": (MemoryStore, "item_ids", wrap(lambda ids: ids * 2), "store", "more than once"),
    "a store that lists numbers": (MemoryStore, "item_ids", wrap(lambda ids: [7]), "store", "lists an int among"),
    "too few embeddings": (FakeEmbeddings, "embed", wrap(lambda v: v[1:]), "embeddings", r"gave shape \(11, "),
    "embeddings too long": (
        FakeEmbeddings, "embed", wrap(lambda v: np.hstack([v, v])), "embeddings", r"for 12 images of dimension",
    ),
    "embeddings as text": (
        FakeEmbeddings, "embed", wrap(lambda v: v.astype(str)), "embeddings", "instead of embeddings",
    ),
    "ragged embeddings": (FakeEmbeddings, "embed", always([[1], [1, 2]]), "embeddings", "fails with ValueError"),
    "no embeddings but None": (FakeEmbeddings, "embed", always(None), "embeddings", "instead of embeddings"),
    "embeddings of no length": (FakeEmbeddings, "dim", set_property("long"), "embeddings", "of length 'long'"),
    "scores of another type": (FakeScorer, "score", each(str), r"scorers\.0", "gave str, not a ScoreColumn"),
    "no scores but None": (FakeScorer, "score", always(None), r"scorers\.0", "fails with TypeError"),
    "infinite scores": (
        FakeScorer, "score", each(lambda one: saeviz.ScoreColumn("s", one.space, np.full(32, np.inf))),
        r"scorers\.0", "gave 's' of layer1.cls with infinite values",
    ),
    "scores of another length": (
        FakeScorer, "score", each(lambda one: changed(one, values=one.values[1:])), r"scorers\.0", "shape",
    ),
    "scores that are objects": (
        FakeScorer, "score", each(lambda one: changed(one, values=[None] * 32)), r"scorers\.0", "neither numbers",
    ),
    "scores without a name": (
        FakeScorer, "score", each(lambda one: changed(one, name=7)), r"scorers\.0", "with the name 7",
    ),
    "a selection of text": (FakeSelector, "select", always(["layer1.cls/1"]), "selector", "gave a str instead"),
    "a selection of None": (FakeSelector, "select", always(None), "selector", "fails with TypeError"),
    "a feature twice": (FakeSelector, "select", wrap(lambda found: found * 2), "selector", "more than once"),
    "a feature that is not there": (
        FakeSelector, "select", always([saeviz.Selected(OTHER.feature(1), 1, "x")]), "selector", "does not have",
    ),
    "a tier that is text": (
        FakeSelector, "select", always([saeviz.Selected(SPACE.feature(1), "1", "x")]), "selector", "the wrong type",
    ),
    "a tier of 0": (
        FakeSelector, "select", always([saeviz.Selected(SPACE.feature(1), 0, "x")]), "selector", "the best is 1",
    ),
    "a tier that is a truth": (
        FakeSelector, "select", always([saeviz.Selected(SPACE.feature(1), True, "x")]), "selector", "the tier True",
    ),
    "a rating that is a number": (
        FakeSelector, "select", always([saeviz.Selected(SPACE.feature(1), 1, "x", rating=3)]), "selector", "rating 3",
    ),
    "ids that are numbers": (
        FakeExtractor, "extract", each(lambda one: changed(one, item_ids=tuple(range(len(one))))),
        "extractor", "the item id 0 is not text",
    ),
    "scores with a name that is no text": (
        FakeScorer, "score", each(lambda one: changed(one, name="a\udc80")), r"scorers\.0", "be written as UTF-8",
    ),
    "scores with the name of a key": (
        FakeScorer, "score", each(lambda one: changed(one, name="layer", target=None)), r"scorers\.0", "every run has",
    ),
    "scores of a rating that is a number": (
        FakeScorer, "score", each(lambda one: changed(one, target=3)), r"scorers\.0", "for 3, which is not a rating",
    ),
    "scores that are broken text": (
        FakeScorer, "score", each(lambda one: changed(one, values=["\udc80"] * 32)), r"scorers\.0", "written as UTF-8",
    ),
    "scores that are numbers in one space and text in another": (
        FakeScorer, "score",
        each(lambda one: changed(one, values=["x"] * 32) if getattr(one, "space", SPACE).layer == 2 else one),
        r"scorers\.0", "'coverage' of layer2.cls with text, and that of layer1.cls with numbers",
    ),
    "a label that is text": (FakeLabeler, "label", always("red"), "labeler", "gave str for layer1.cls/"),
    "a label of None": (FakeLabeler, "label", always(changed(LABEL, label=None)), "labeler", "label is NoneType, not"),
    "elements that are numbers": (
        FakeLabeler, "label", always(changed(LABEL, elements=(1,))), "labeler", "whose elements is not a tuple of str",
    ),
    "details that are a list": (
        FakeLabeler, "label", always(changed(LABEL, details=["a"])), "labeler", "a list as details instead",
    ),
    "details that JSON cannot hold": (
        FakeLabeler, "label", always(changed(LABEL, details={"a": b"x"})), "labeler", "details that cannot be written",
    ),
    "a report that is not there": (FakeReporter, "write", always("nowhere.html"), r"reporters\.0", "is not there"),
    "a report that is a folder": (FakeReporter, "write", always("."), r"reporters\.0", "returned the folder"),
    "no report but None": (FakeReporter, "write", always(None), r"reporters\.0", "returned None from write"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_of_a_plugin_is_told_with_its_name(fake_run, monkeypatch, case):
    kind, method, change, place, message = BROKEN[case]
    monkeypatch.setattr(kind, method, change(getattr(kind, method)))
    with pytest.raises(saeviz.SaevizError, match=message) as error:
        run(fake_run)
    assert type(error.value) in (saeviz.PluginError, saeviz.DataError)
    where = "" if place == "images" and "fails" not in str(error.value) else BY
    assert error.match(rf"{place}: fake-\w+ {where}")
    assert "\n" not in str(error.value)


def unread(self, item, _original=FakeExtractor._try_patches):
    return None if item.item_id in ("picture/3", "picture/7") else _original(self, item)


def without_second_space(original):
    def extract(self, items):
        for batch in original(self, items):
            if batch.space.layer == 1:
                yield batch
            elif chosen := [row for row, item_id in enumerate(batch.item_ids) if item_id != "picture/5"]:
                yield rows(batch, chosen)

    return extract


def test_images_that_an_extractor_loses_are_failures(fake_run, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "_try_patches", unread)
    monkeypatch.setattr(FakeExtractor, "extract", without_second_space(FakeExtractor.extract))
    found = run(fake_run, "images.broken=1", "store.use=npz")
    assert [item.item_id for item in found.items] == [f"picture/{n}" for n in (0, 1, 2, 4, 6, 8, 9, 10)]
    told = {failure.subject: failure.error for failure in found.failures if failure.stage == "extract"}
    assert set(told) == {f"picture/{n}" for n in (3, 5, 7, 11)}
    assert "cannot be read" in told["picture/11"]
    who = "extractor: fake-extractor of plugin saeviz.testing.fakes (module saeviz.testing.fakes)"
    assert told["picture/3"] == f"{who} gave no features of it in layer1.cls, layer2.cls, and no reason"
    assert told["picture/5"] == f"{who} gave no features of it in layer2.cls, and no reason"


def test_one_that_gives_nothing_at_all_says_why_in_failures(fake_run, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "extract", always(())(None))
    with pytest.raises(saeviz.DataError, match=r"none of the 12 images could be used; .*failures\.jsonl says why"):
        run(fake_run)
    failures = (fake_run.parent / "runs" / "fake" / "failures.jsonl").read_text()
    assert failures.count("gave no features of it") == 12


def test_images_that_a_store_loses_are_failures(fake_run, monkeypatch):
    def losing(self, batch, _write=MemoryStore.write):
        keep = [row for row, item_id in enumerate(batch.item_ids) if item_id != "picture/9"]
        _write(self, rows(batch, keep))

    monkeypatch.setattr(MemoryStore, "write", losing)
    found = run(fake_run)
    assert [failure.subject for failure in found.failures if failure.stage == "extract"] == ["picture/9"]
    assert "store: fake-store of plugin" in found.failures[0].error
    assert "did not keep its features in layer1.cls, layer2.cls" in found.failures[0].error


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_embedding_and_reason_is_a_failure(fake_run, monkeypatch, value):
    def embed(self, items, _embed=FakeEmbeddings.embed):
        vectors = _embed(self, items).copy()
        vectors[[item.item_id == "picture/4" for item in items], 0] = value
        return vectors

    monkeypatch.setattr(FakeEmbeddings, "embed", embed)
    found = run(fake_run)
    (failure,) = [one for one in found.failures if one.stage == "embed"]
    assert failure.subject == "picture/4"
    assert "embeddings: fake-embeddings of plugin" in failure.error
    assert "gave no finite embedding of it" in failure.error


def test_more_images_than_the_limit_are_not_taken(fake_run, monkeypatch):
    monkeypatch.setattr(FakeImages, "iter_images", lambda self, **_: (self._item(n) for n in range(9)))
    assert len(run(fake_run, "store.use=npz", limit=5).items) == 5


WRITES = {
    "ratings": lambda data: data.ratings["warmth"].__setitem__(0, 9),
    "another rating": lambda data: data.ratings.__setitem__("mine", np.zeros(12)),
    "embeddings": lambda data: data.embeddings.fill(0),
    "metadata": lambda data: data.metadata.__setitem__("mine", []),
    "text": lambda data: data.metadata["title"].__setitem__(0, "x"),
    "single ratings": lambda data: data.individual.__setitem__("mine", None),
    "features of a batch": lambda data: next(data.features.batches()).matrix.data.fill(0),
    "features of a chunk": lambda data: next(data.chunks(1))[1].data.fill(0),
    "columns of a batch": lambda data: next(data.features.batches()).matrix.indices.fill(0),
    "statistics": lambda data: data.features.statistics.mean.fill(0),
    "counts": lambda data: data.features.count_active().fill(0),
    "top images": lambda data: data.features.top_images(3).rows.fill(0),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRITES)
def test_a_scorer_that_writes_into_what_others_read_is_named(fake_run, monkeypatch, what):
    def score(self, data):
        WRITES[what](data)
        return ()

    monkeypatch.setattr(FakeScorer, "score", score)
    with pytest.raises(saeviz.PluginError, match=r"scorers\.0: fake-scorer of plugin .* fails with [VTA]"):
        run(fake_run)


def test_a_matrix_is_the_scorers_own(fake_run, monkeypatch):
    seen = []

    def score(self, data):
        matrix = data.features.matrix()
        seen.append(matrix.data.sum())
        matrix.data[:] = 0
        return ()

    monkeypatch.setattr(FakeScorer, "score", score)
    run(fake_run, 'scorers=[{use="fake-scorer", name="a"}, {use="fake-scorer", name="b"}]')
    assert len(seen) == 4
    assert seen[:2] == seen[2:]
    assert all(seen)


def test_scores_that_are_computed_in_one_place_are_copied():
    place = np.zeros(32)
    column = saeviz.ScoreColumn("s", SPACE, place)
    place[:] = 7
    assert not column.values.any()


@pytest.mark.parametrize(
    "read", [lambda stream: stream.matrix(), lambda stream: list(stream.batches()), lambda s: s.statistics,
             lambda stream: stream.count_active(), lambda stream: stream.top_images(2)],
    ids=["matrix", "batches", "statistics", "count_active", "top_images"],
)  # fmt: skip
@pytest.mark.parametrize("given", [("b", "a", "c"), ("a", "b"), ("a", "b", "c", "d"), ("a", "b", "x")])
def test_every_reader_of_a_stream_refuses_other_rows_than_the_images(read, given):
    batch = saeviz.FeatureBatch(SPACE, given, csr_array(np.ones((len(given), 32))))
    data = saeviz.ScoreInput(SPACE, ("a", "b", "c"), saeviz.FeatureStream(SPACE, lambda: iter([batch])), None, {})
    with pytest.raises(saeviz.DataError, match=r"layer1\.cls: the store gave features of"):
        read(data.features)


def test_each_reporter_and_each_scorer_has_a_folder_of_its_own(fake_run, monkeypatch):
    folders = []

    def init(self, options=None, context=None, _kind=None):
        self.context = context
        folders.append(context.workdir.name)

    monkeypatch.setattr(FakeReporter, "__init__", init)
    monkeypatch.setattr(FakeScorer, "__init__", init, raising=False)
    found = run(
        fake_run, 'reporters=[{use="fake-reporter"}, {use="fake-reporter"}]',
        'scorers=[{use="fake-scorer", name="a"}, {use="fake-scorer", name="b"}]',
    )  # fmt: skip
    assert len(set(folders)) == 4
    assert len(set(found.manifest["stages"]["report"]["files"])) == 2


def test_a_reporter_that_writes_over_anothers_report_is_named(fake_run, monkeypatch, tmp_path):
    (tmp_path / "one.html").touch()
    monkeypatch.setattr(FakeReporter, "write", always(tmp_path / "one.html")(None))
    with pytest.raises(saeviz.PluginError, match=r"reporters\.1: fake-reporter of plugin .* wrote over .*one\.html"):
        run(fake_run, 'reporters=[{use="fake-reporter"}, {use="fake-reporter"}]')


def test_a_reporter_that_returns_no_path_is_told_what_to_return(fake_run, monkeypatch):
    monkeypatch.setattr(FakeReporter, "write", always(None)(None))
    with pytest.raises(saeviz.PluginError, match=r"fake-reporter of plugin .* returned None from write, not the path"):
        run(fake_run, 'reporters=[{use="fake-reporter"}]')


def test_a_reporter_that_changes_a_table_changes_its_own(fake_run, monkeypatch):
    seen = []

    def write(self, run, _write=fakes.FakeReporter.write):
        seen.append(run.scores["mean"].sum())
        run.scores["mean"] = 0.0
        return _write(self, run)

    monkeypatch.setattr(FakeReporter, "write", write)
    run(fake_run, 'reporters=[{use="fake-reporter"}, {use="fake-reporter"}]')
    assert seen[0] == seen[1] != 0
