"""What plugins lose becomes a failure with their name, and what one changes is its own; see `test_broken_plugins`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import fakes
from saeviz.testing.fakes import (
    FakeEmbeddings,
    FakeExtractor,
    FakeImages,
    FakeReporter,
    FakeScorer,
    MemoryStore,
)

SETTINGS = ["images.n=12", "scorers=[{use = 'fake-scorer'}]", "store.use=fake-store", "selector.use=fake-selector"]


def run(folder, *more, **options):
    return saeviz.run(folder, settings=[*SETTINGS, *more], **options)


def changed(batch, **changes):
    return dataclasses.replace(batch, **changes)


def always(value):
    return lambda _original: lambda *_arguments, **_options: value


def rows(batch, chosen):
    chosen = np.arange(len(batch))[chosen]
    return changed(batch, item_ids=tuple(batch.item_ids[row] for row in chosen), matrix=batch.matrix[chosen])


SPACE = saeviz.FeatureSpace(1, "cls", 32)


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
    with pytest.raises(saeviz.DataError, match=r"the store gave features of .* in layer1\.cls"):
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


def test_a_report_in_the_current_folder_is_found_again(fake_run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("one.html").touch()
    monkeypatch.setattr(FakeReporter, "write", always(Path("one.html"))(None))
    found = run(fake_run, 'reporters=[{use="fake-reporter"}]')
    assert found.manifest["stages"]["report"]["files"] == [str(tmp_path / "one.html")]


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
