"""What runs share is checked when it is read: damage is a miss that is told of, and costs no run."""

from __future__ import annotations

import os
import sqlite3
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

import saeviz
from saeviz.cache import entries as cache_module
from saeviz.cache.downloads import Downloads
from saeviz.cache.entries import SharedCache
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.testing import fakes
from tests.hostile_server import picture
from tests.shared_runs import log_of, run, write_run

DAMAGED = "has damaged entries; they are computed again"


@pytest.fixture
def run_file(tmp_path, monkeypatch):
    monkeypatch.delenv("SAEVIZ_RUN__CACHE")
    return write_run(tmp_path)


def values(run: saeviz.Run) -> list[bytes]:
    """Features and embeddings of all images, in their order."""
    ids = [item.item_id for item in run.items]
    found = [EmbeddingFiles(run.dir / "embeddings").read(run.items).tobytes()]
    for space in run.spaces:
        batch = run.features(space)
        found.append(batch.matrix[[batch.item_ids.index(item_id) for item_id in ids]].toarray().tobytes())
    return found


@pytest.fixture
def shared(run_file, tmp_path):
    """The first run, and how to change its cache by SQL."""
    first = run(run_file, "one")

    def change(*statements: str, function=None) -> None:
        connection = sqlite3.connect(tmp_path / "cache" / "shared.sqlite3", isolation_level=None)
        if function is not None:
            connection.create_function("damaged", 1, function)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return first, change


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def bomb(_data: bytes) -> bytes:
    return struct.pack("<I", 1) + struct.pack("<f", 1.0) + zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    "function",
    [
        flipped,
        pytest.param(bomb, marks=pytest.mark.slow),
        lambda data: data[: len(data) // 2],
        lambda _data: b"",
        lambda _data: None,
        lambda _data: "text",
        lambda _data: 7,
        lambda data: data + data,
        lambda data: b"\xff\xff\xff\xff" + data[4:],
        lambda data: bytes(len(data)),
        lambda data: np.full(len(data) // 4, np.nan, "<f4").tobytes(),
    ],
    ids=["flipped", "bomb", "cut", "empty", "null", "text", "number", "twice", "count", "zeros", "not-a-number"],
)
def test_a_damaged_entry_is_a_miss_and_told_of(run_file, shared, function):
    first, change = shared
    change("update entry set data = coalesce(damaged(data), x'') where id % 2", function=function)
    second = run(run_file, "two")
    assert values(second) == values(first)
    assert DAMAGED in log_of(second)
    third = run(run_file, "three")
    assert values(third) == values(first)
    assert DAMAGED not in log_of(third), "what was made anew replaces it"


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "update entry set data = (select data from entry as other where other.model = entry.model order by id limit 1)",
        "update entry set image = zeroblob(32) || image",
        "update file set image = (select image from file as other order by path limit 1)",
        "update file set path = (select 'x' || hex(path))",
        "update model set provenance = 'no json'",
        "update model set provenance = '[1]'",
        "update entry set used = 'long ago', size = 'large'",
    ],
)
def test_swapped_or_changed_rows_give_no_wrong_values(run_file, shared, statement):
    first, change = shared
    change(statement)
    assert values(run(run_file, "two")) == values(first)


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    [
        ["alter table entry rename to kept", f"create view entry as select k.* from kept k, ({ENDLESS})"],
        [f"create trigger t after insert on entry begin delete from entry where id in ({ENDLESS}); end"],
        ["create trigger t after insert on entry begin update entry set data = x'00'; end", "delete from entry"],
    ],
    ids=["view", "endless trigger", "trigger"],
)
def test_sql_of_the_file_is_not_run(run_file, shared, statements):
    first, change = shared
    change(*statements)
    second = run(run_file, "two")
    assert values(second) == values(first)
    assert "views or triggers, which no shared cache has" in log_of(second)


def test_entries_of_another_model_are_not_taken_for_its_own(run_file, shared):
    first, change = shared
    change(
        "create temp table digests as select id, digest from model where kind = 'features' order by id",
        "update model set digest = 'swapped' || id where kind = 'features'",
        "update model set digest = (select digest from temp.digests as other where other.id != model.id limit 1) "
        "where kind = 'features' and id = (select max(id) from temp.digests)",
        "update model set digest = (select digest from temp.digests as other where other.id != model.id limit 1) "
        "where kind = 'features' and id = (select min(id) from temp.digests)",
    )
    assert values(run(run_file, "two")) == values(first)


def test_a_bomb_is_not_unpacked():
    from saeviz.pipeline.sharing.reuse import _to_row

    entry = bomb(b"")
    tracemalloc.start()
    with pytest.raises(ValueError, match="number of indices"):
        _to_row(entry, 64)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_entries_of_earlier_versions_have_no_checksum_and_are_made_anew(run_file, shared):
    first, change = shared
    change("alter table entry drop column checksum", "alter table file drop column checksum")
    second = run(run_file, "two")
    assert values(second) == values(first)
    assert DAMAGED not in log_of(second)
    assert "from another run" not in log_of(second)
    assert "from another run" in log_of(run(run_file, "three"))


def test_a_folder_in_its_place(run_file, tmp_path, saeviz_command):
    (tmp_path / "cache" / "shared.sqlite3").mkdir(parents=True)
    assert "the run continues without it" in log_of(run(run_file, "one"))
    for words in ((), ("prune", "--all")):
        said = saeviz_command("cache", "--cache-dir", tmp_path / "cache", *words)
        assert said.code == 1
        assert "shared.sqlite3" in said.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_in_its_place(run_file, tmp_path):
    (tmp_path / "cache").mkdir()
    os.mkfifo(tmp_path / "cache" / "shared.sqlite3")
    assert "the run continues without it" in log_of(run(run_file, "one"))


def test_one_that_is_locked(run_file, shared, tmp_path, monkeypatch):
    first, _ = shared
    monkeypatch.setattr(cache_module, "SECONDS_TO_WAIT", 0.1)
    other = sqlite3.connect(tmp_path / "cache" / "shared.sqlite3", isolation_level=None)
    other.execute("begin exclusive")
    second = run(run_file, "two")
    other.close()
    assert values(second) == values(first)
    assert "the run continues without it" in log_of(second)


def test_random_bytes_in_the_middle_of_the_file(run_file, shared, tmp_path):
    first, _ = shared
    path = tmp_path / "cache" / "shared.sqlite3"
    data = path.read_bytes()
    noise = np.random.default_rng(0)
    assert len(data) > 4096
    for place in range(0, len(data) - 512, max(512, len(data) // 4)):
        path.write_bytes(data[:place] + noise.bytes(512) + data[place + 512 :])
        assert values(run(run_file, f"two-{place}")) == values(first)


def test_one_that_may_only_be_read_is_used(tmp_path, monkeypatch):
    model = cache_module.Model("0123", "features", "some layer")
    SharedCache(tmp_path).put(model, "{}", {bytes(32): b"data"})
    shared = SharedCache(tmp_path)
    shared._connection.execute("pragma query_only = on")
    monkeypatch.setattr(cache_module, "DAY", -10)
    assert shared.get(model, [bytes(32)]) == {bytes(32): b"data"}


# -- both paths -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("shape", ["(n, 1)", "(1, dim)", "(dim,)", "(n, dim + 1)", "(n + 1, dim)", "()"])
def test_an_embedder_that_gives_another_shape_is_refused(run_file, tmp_path, monkeypatch, is_warm, shape):
    if is_warm:
        run(run_file, "one")
        for name, colour in (("new", "yellow"), ("newer", "pink")):
            (tmp_path / "pictures" / f"{name}.png").write_bytes(picture(colour))
    monkeypatch.setattr(
        fakes.FakeEmbeddings,
        "embed",
        lambda self, items: np.ones(eval(shape, {"n": len(items), "dim": self.dim}), np.float32),
    )
    with pytest.raises(saeviz.PluginError, match=r"embeddings: fake-embeddings of .* returned an array of shape"):
        run(run_file, "two")


# -- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def downloads(tmp_path):
    found = Downloads(tmp_path)
    found.keep("https://host/a.png", picture())
    return found


def test_a_damaged_download_is_not_kept(downloads):
    (_, _, path) = next(downloads.by_use())
    path.write_bytes(flipped(path.read_bytes()))
    assert downloads.read("https://host/a.png") is None
    assert not downloads.has("https://host/a.png")
    downloads.keep("https://host/a.png", picture())
    assert downloads.read("https://host/a.png") == picture()
    assert downloads.version("https://host/a.png") == Downloads(downloads.folder.parent).version("https://host/a.png")


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"../../../secret", b"0" * 63])
def test_a_damaged_record_is_none(downloads, tmp_path, record):
    (tmp_path / "secret").write_text("mine")
    (path,) = [path for path in (downloads.folder / "urls").rglob("*") if path.is_file()]
    path.write_bytes(record)
    assert downloads.read("https://host/a.png") is None
    assert not downloads.has("https://host/a.png")
    downloads.keep("https://host/a.png", picture())
    assert downloads.read("https://host/a.png") == picture()


def test_folders_in_the_place_of_downloads(downloads):
    (path,) = [path for path in (downloads.folder / "urls").rglob("*") if path.is_file()]
    path.unlink()
    path.mkdir()
    assert downloads.read("https://host/a.png") is None
    (downloads.folder / "changed" / "0a").mkdir(parents=True)
    assert downloads.version("https://host/a.png").startswith("url-")
