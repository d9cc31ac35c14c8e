"""What runs share: the second run over the same pictures with the same model does not run the model."""

from __future__ import annotations

import math
import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.cache import entries as cache_module
from saeviz.cache.downloads import Downloads
from saeviz.cache.entries import Model, SharedCache, digest_of
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.pipeline.run import Plan
from saeviz.testing import fakes
from tests.hostile_server import picture
from tests.shared_runs import run, write_run
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    monkeypatch.delenv("SAEVIZ_RUN__CACHE")
    return write_run(tmp_path)


@pytest.fixture
def made(monkeypatch):
    """The names of the pictures that models have seen: extracted, embedded."""
    extracted, embedded = [], []
    extract, embed = fakes.FakeExtractor.extract, fakes.FakeEmbeddings.embed
    monkeypatch.setattr(fakes.FakeExtractor, "extract", lambda self, items: extract(self, _noting(items, extracted)))
    monkeypatch.setattr(
        fakes.FakeEmbeddings, "embed", lambda self, items: (embedded.extend(_names(items)), embed(self, items))[1]
    )
    return extracted, embedded


def _noting(items, names):
    for item in items:
        names.append(item.item_id)
        yield item


def _names(items):
    return [item.item_id for item in items]


def same(one: saeviz.Run, other: saeviz.Run) -> bool:
    """Whether two runs have the same features and embeddings."""
    for space in one.spaces:
        mine, theirs = one.features(space), other.features(space)
        order = [theirs.item_ids.index(item_id) for item_id in mine.item_ids]
        if (mine.matrix != theirs.matrix[order]).nnz:
            return False
    vectors = [EmbeddingFiles(run.dir / "embeddings").read(run.items) for run in (one, other)]
    return np.array_equal(*vectors)


# -- runs ---------------------------------------------------------------------------------------------------------


def test_another_run_over_the_same_pictures_runs_no_model(run_file, made):
    first = run(run_file, "one")
    assert [len(names) for names in made] == [6, 6]
    second = run(run_file, "two")
    assert [len(names) for names in made] == [6, 6]
    assert same(first, second)
    assert "6 images have features from another run" in (second.dir / "log.txt").read_text()


def test_content_counts_and_not_the_name(run_file, made, tmp_path):
    run(run_file, "one")
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "0.png").rename(tmp_path / "elsewhere" / "zero.png")
    (tmp_path / "elsewhere" / "1.png").write_bytes(picture("yellow"))
    run(run_file, "two", f"images.path={tmp_path / 'elsewhere'}")
    assert [names[6:] for names in made] == [["1.png"], ["1.png"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "extracted", "embedded"),
    [
        ("extractor.layers=[1]", 6, 0),
        ("embeddings.seconds_per_item=0.001", 0, 6),
        ("run.precision=bfloat16", 6, 6),
        ("run.device=cpu", 0, 0),
        ("store.use=json", 0, 0),
        ("run.cache=false", 6, 6),
    ],
)
def test_what_the_outcome_depends_on_is_part_of_the_key(run_file, made, setting, extracted, embedded):
    run(run_file, "one")
    run(run_file, "two", setting)
    assert [len(names) - 6 for names in made] == [extracted, embedded]


def test_files_that_options_name_are_part_of_the_key(run_file, made, tmp_path, monkeypatch):
    from pydantic import Field

    class Options(fakes.FakeExtractorOptions):
        weights: str | None = Field(None, description="weights", **saeviz.PATH)

    spec = next(spec for spec in fakes.saeviz_feature_extractors())
    changed = saeviz.FeatureExtractorSpec(name=spec.name, summary="x", options=Options, factory=fakes.FakeExtractor)
    monkeypatch.setattr(fakes, "saeviz_feature_extractors", saeviz.hookimpl(lambda: iter([changed])))
    (tmp_path / "weights.pt").write_text("old")
    setting = f"extractor.weights={tmp_path / 'weights.pt'}"
    for name in ("one", "two"):
        run(run_file, name, setting)
    assert len(made[0]) == 6
    (tmp_path / "weights.pt").write_text("newer")
    run(run_file, "three", setting)
    assert len(made[0]) == 12


def test_redo_makes_them_anew_and_replaces_what_was_kept(run_file, made):
    run(run_file, "one")
    run(run_file, "one", redo=("extract", "embed"))
    assert [len(names) for names in made] == [12, 12]
    run(run_file, "two")
    assert [len(names) for names in made] == [12, 12]


def test_an_image_that_cannot_be_read_is_tried_each_time(run_file, made, tmp_path):
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    assert [failure.subject for failure in run(run_file, "one").failures] == ["broken.png"]
    again = run(run_file, "two")
    assert [failure.subject for failure in again.failures] == ["broken.png"]
    assert made[0][7:] == ["broken.png"]


def test_a_picture_that_changes_during_the_run_is_not_kept_for_what_it_was(run_file, made, tmp_path, monkeypatch):
    extract = fakes.FakeExtractor.extract

    def meddling(self, items):
        for batch in extract(self, items):
            path = tmp_path / "pictures" / "0.png"
            path.write_bytes(picture("yellow"))
            os.utime(path, ns=(1, time.time_ns()))
            yield batch

    monkeypatch.setattr(fakes.FakeExtractor, "extract", meddling)
    run(run_file, "one")
    monkeypatch.setattr(fakes.FakeExtractor, "extract", extract)
    seen = len(made[0])
    run(run_file, "two")
    fresh = run(run_file, "three", "run.cache=false")
    assert same(run(run_file, "two"), fresh)
    assert len(made[0]) > seen


def test_a_file_is_read_once_to_know_it(run_file, tmp_path, monkeypatch):
    run(run_file, "one")
    opened = []
    monkeypatch.setattr(
        "saeviz.pipeline.sharing.shared.digest_of", lambda item: opened.append(item.item_id) or digest_of(item)
    )
    run(run_file, "two")
    assert opened == []
    os.utime(tmp_path / "pictures" / "3.png", ns=(5, 5))
    run(run_file, "three")
    assert set(opened) == {"3.png"}


def test_pictures_that_are_drawn_are_not_kept(tmp_path, fake_run, monkeypatch):
    monkeypatch.delenv("SAEVIZ_RUN__CACHE")
    monkeypatch.setenv("SAEVIZ_RUN__CACHE_DIR", str(tmp_path / "cache"))
    saeviz.run({"run": {"dir": str(tmp_path / "run")}, "images": {"use": "gallery", "count": 4},
                "extractor": {"use": "fake-extractor"}, "embeddings": {"use": "fake-embeddings"},
                "reporters": []}, plugins=["module:saeviz.testing.fakes"], plan=Plan(last="embed"))  # fmt: skip
    assert SharedCache(tmp_path / "cache").usage() == []


def test_a_run_says_where_shared_features_come_from(run_file, made, monkeypatch, caplog):
    for kind in (fakes.FakeExtractor, fakes.FakeEmbeddings):
        monkeypatch.setattr(kind, "provenance", {"commit": "one"}, raising=False)
    run(run_file, "one")
    for kind in (fakes.FakeExtractor, fakes.FakeEmbeddings):
        monkeypatch.setattr(kind, "provenance", {"commit": None}, raising=False)
    stages = run(run_file, "two").manifest["stages"]
    assert [stages[name]["provenance"] for name in ("extract", "embed")] == [{"commit": "one"}] * 2


def test_models_that_have_moved_on_are_told_of_and_kept_apart(run_file, made, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fakes.FakeExtractor, "provenance", {"commit": "one"}, raising=False)
    run(run_file, "one")
    (tmp_path / "pictures" / "new.png").write_bytes(picture("pink"))
    monkeypatch.setattr(fakes.FakeExtractor, "provenance", {"commit": "two"}, raising=False)
    second = run(run_file, "two")
    log = (second.dir / "log.txt").read_text()
    assert "extract: commit is now two; it was one for features that the run has already" in log
    seen = len(made[0])
    run(run_file, "three")
    assert made[0][seen:] == [f"{n}.png" for n in range(6)], "only what the newest commit made is taken"


def test_what_was_kept_and_not_used_is_not_told_of(run_file, tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.FakeExtractor, "provenance", {"commit": "one"}, raising=False)
    run(run_file, "one")
    for number, colour in enumerate(["pink", "brown", "tan", "gold", "navy", "teal"]):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(picture(colour))
    monkeypatch.setattr(fakes.FakeExtractor, "provenance", {"commit": "two"}, raising=False)
    second = run(run_file, "two")
    assert "commit is now two" not in (second.dir / "log.txt").read_text()
    assert second.manifest["stages"]["extract"]["provenance"] == {"commit": "two"}


@pytest.mark.parametrize("damage", [b"no database", b""])
def test_a_cache_that_cannot_be_used_fails_no_run(run_file, made, tmp_path, damage):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "shared.sqlite3").write_bytes(damage * 100)
    done = run(run_file, "one")
    assert len(done.items) == 6
    told = "the run continues without it" in (done.dir / "log.txt").read_text()
    assert told == bool(damage)


def test_a_cache_of_another_format_is_left_alone(run_file, tmp_path):
    SharedCache(tmp_path / "cache").close()
    connection = sqlite3.connect(tmp_path / "cache" / "shared.sqlite3")
    connection.execute("pragma user_version = 99")
    connection.close()
    done = run(run_file, "one")
    assert "it has format 99" in (done.dir / "log.txt").read_text()


def test_a_cache_dir_that_cannot_be_written(run_file, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    done = run(run_file, "one")
    assert len(done.items) == 6
    assert "cannot be used" in (done.dir / "log.txt").read_text()


# -- the file -----------------------------------------------------------------------------------------------------

MODEL = Model("0123abcd", "features", "some layer")


def keys(n: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(n)]


def _write(folder: Path, start: int) -> None:
    shared = SharedCache(folder)
    for key in keys(80)[start::4]:
        shared.put(MODEL, "{}", {key: key * 30})
        shared.get(MODEL, keys(10))
    shared.close()


@pytest.mark.slow
def test_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(tmp_path, start)) for start in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = SharedCache(tmp_path).get(MODEL, keys(80))
    assert found == {key: key * 30 for key in keys(80)}


def _write_for_ever(folder: Path) -> None:
    shared = SharedCache(folder)
    number = 0
    while True:
        number += 1
        both = {(2 * number + half).to_bytes(32, "big"): bytes([half]) * 9000 for half in (0, 1)}
        shared.put(MODEL, "{}", both)


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_transactions(tmp_path):
    worker = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(tmp_path,))
    worker.start()
    path = SharedCache.path_in(tmp_path)
    wait_until(lambda: path.exists() and path.stat().st_size > 10**6, worker.is_alive)
    worker.kill()
    worker.join()
    shared = SharedCache(tmp_path)
    (usage,) = shared.usage()
    assert usage.images % 2 == 0
    assert usage.size == usage.images * 9000
    shared.put(MODEL, "{}", {keys(1)[0]: b"goes on"})


def test_it_keeps_within_its_bounds(run_file, tmp_path, monkeypatch):
    run(run_file, "one")
    monkeypatch.setattr("saeviz.pipeline.sharing.shared.LIMIT", 0)
    run(run_file, "two", "extractor.layers=[1]")
    assert SharedCache(tmp_path / "cache").usage() == []


def test_what_was_not_used_for_longest_goes_first(tmp_path, monkeypatch):
    shared = SharedCache(tmp_path)
    for day, key in enumerate(keys(50)):
        monkeypatch.setattr(cache_module.time, "time", lambda day=day: 86_400.0 * (2 * day + 10))
        shared.put(MODEL, "{}", {key: bytes(20_000)})
    monkeypatch.setattr(cache_module.time, "time", lambda: 86_400.0 * 1000)
    shared.get(MODEL, keys(5))
    shared.shrink(600_000)
    assert shared.path.stat().st_size <= 600_000
    left = shared.get(MODEL, keys(50))
    assert set(keys(5)) < set(left)
    assert list(left) == keys(5) + keys(50)[-(len(left) - 5) :]


# -- saeviz cache -------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(run_file, tmp_path, monkeypatch):
    """A cache with features and embeddings of six pictures, and one download that was used a year ago."""
    run(run_file, "one")
    monkeypatch.setenv("SAEVIZ_RUN__CACHE_DIR", str(tmp_path / "cache"))
    downloads = Downloads(tmp_path / "cache")
    downloads.keep("https://alice:hunter2@host/a.png", picture())
    (_, _, path) = next(downloads.by_use())
    os.utime(path, (1, time.time() - 365 * 86_400))
    return tmp_path / "cache"


def test_what_is_kept_is_shown(filled, saeviz_command):
    shown = saeviz_command("cache", "--json").json()
    assert shown["cache_dir"] == str(filled)
    kinds = [(usage["kind"], usage["images"]) for usage in shown["kept"]]
    assert kinds == [("embeddings", 6), *[("features", 6)] * (len(kinds) - 2), ("downloads", 1)]
    assert all(usage["size"] > 0 for usage in shown["kept"])
    text = saeviz_command("cache").out
    assert "fake-extractor layer" in text
    assert "6 images" in text
    assert "hunter2" not in text + str(list(filled.rglob("*")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["--older-than", "30d"], {"embeddings", "features"}),
        (["--older-than", "2w"], {"embeddings", "features"}),
        (["--max-size", "1GB"], {"embeddings", "features", "downloads"}),
        (["--max-size", "0.0001kB"], set()),
        (["--all"], set()),
    ],
)
def test_prune(filled, saeviz_command, run_file, made, words, kinds):
    assert saeviz_command("cache", "prune", *words).code == 0
    assert {usage["kind"] for usage in saeviz_command("cache", "--json").json()["kept"]} == kinds
    one = run(run_file, "one")
    assert made == ([], []), "a run that is done needs nothing of the cache"
    assert len(one.items) == 6


@pytest.mark.parametrize("words", [[], ["--older-than", "soon"], ["--max-size", "10"], ["--max-size", "10XB"]])
def test_prune_wants_to_know_what(filled, saeviz_command, words):
    outcome = saeviz_command("cache", "prune", *words)
    assert outcome.code == 2
    assert saeviz_command("cache", "--json").json()["kept"]


def test_an_empty_cache(saeviz_command, tmp_path):
    assert saeviz_command("cache", "--cache-dir", tmp_path / "none").out == f"0 B in {tmp_path / 'none'}\n"
    assert saeviz_command("cache", "--cache-dir", tmp_path / "none", "prune", "--all").code == 0
    pruned = saeviz_command(
        "cache", "--cache-dir", tmp_path / "other", "prune", "--all", "--cache-dir", tmp_path / "none"
    )
    assert (pruned.code, pruned.out) == (0, f"removed 0 entries, 0 B; 0 B left in {tmp_path / 'none'}\n")
    assert not (tmp_path / "none").exists()


def test_a_damaged_cache_is_said_and_replaced(saeviz_command, tmp_path, filled):
    SharedCache.path_in(filled).write_bytes(b"damaged " * 1000)
    outcome = saeviz_command("cache")
    assert outcome.code == 1
    assert "`saeviz cache prune --all` removes it" in outcome.err
    assert saeviz_command("cache", "prune", "--all").code == 0
    assert saeviz_command("cache", "--json").json()["kept"] == []


def test_features_come_back_to_the_last_bit():
    from saeviz.pipeline.sharing.reuse import _to_bytes, _to_matrix, _to_row

    generator = np.random.default_rng(0)
    rows = [np.sort(generator.choice(49_152, size, replace=False)) for size in (0, 1, 800, 49_152)]
    values = [generator.exponential(size=row.size).astype(np.float32) for row in rows]
    numbers = [{}, {"error": 0.1}, {"error": math.nan}, {"a": 1.0, "b": 1e-300}]
    entries = [_to_bytes(*parts) for parts in zip(rows, values, numbers, strict=True)]
    read = [_to_row(entry, 49_152) for entry in entries]
    assert repr([found for *_, found in read]) == repr(numbers)
    matrix = _to_matrix(read, 49_152)
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        assert np.array_equal(matrix[[number]].indices, row)
        assert np.array_equal(matrix[[number]].data, value)
