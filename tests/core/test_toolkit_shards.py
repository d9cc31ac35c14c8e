"""What `saeviz.toolkit.shards` promises beyond the contract of stores: crashes, foreign files, a refusing disk."""

from __future__ import annotations

import errno
import json
import logging
import os

import pytest
from scipy.sparse import load_npz, save_npz

import saeviz
from saeviz.testing.stores import assert_same, read_all, versioned
from saeviz.toolkit.shards import ShardStore

SPACE = saeviz.FeatureSpace(3, "cls", 50)


class PlainStore(ShardStore):
    """The least that a subclass has to say."""

    suffix = ".shard"

    def save_shard(self, path, batch):
        with path.open("wb") as file:
            save_npz(file, batch.matrix)

    def load_shard(self, path, space, item_ids):
        return load_npz(path)


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "layer_3" / "cls"


@pytest.fixture
def open_store(tmp_path):
    return lambda: PlainStore(tmp_path, 10, saeviz.Context())


def crash_at(monkeypatch, call: int) -> None:
    """Let the process end right before or after the disk is touched for the `call`th time."""
    left = iter(range(call))
    for name in ("fsync", "replace", "unlink"):
        original = getattr(os, name)

        def touch(*arguments, original=original, **options):
            if next(left, None) is None:
                raise Crash
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, touch)


@pytest.mark.slow
@pytest.mark.parametrize("call", range(24))
def test_a_crash_at_any_moment_leaves_whole_items_old_or_new(open_store, folder, monkeypatch, call):
    ids = [f"item {number}" for number in range(9)]
    store = open_store()
    for item_id in ids:
        store.write(versioned(SPACE, [item_id]))
    crash_at(monkeypatch, call)
    try:
        store.write(versioned(SPACE, ["item 3", "new"], version=1))
        finished = True
    except Crash:
        finished = False
    monkeypatch.undo()

    store = open_store()
    kept = store.item_ids(SPACE)
    assert kept in ([*ids, "new"], [] if finished else ids)
    version = 1 if "new" in kept else 0
    others = [item_id for item_id in ids if item_id != "item 3"]
    assert_same(read_all(store, SPACE, others), versioned(SPACE, others))
    assert_same(read_all(store, SPACE, ["item 3"]), versioned(SPACE, ["item 3"], version))

    store.write(versioned(SPACE, ["later"]))
    counted = {json.loads(line)["batch"] for line in (folder / "index.jsonl").read_text().splitlines()[1:]}
    left = {int(path.stem.removeprefix("batch_")) for path in folder.glob("*.shard")}
    assert left <= counted
    assert {path.suffix for path in folder.iterdir()} == {".shard", ".jsonl"}
    assert len(store.item_ids(SPACE)) == len(kept) + 1


def test_leftovers_are_removed_by_the_next_writer_and_not_by_a_reader(open_store, folder):
    open_store().write(versioned(SPACE, ["a"]))
    leftovers = [folder / "batch_000002.shard", folder / ".saeviz-0123.tmp"]
    for path in leftovers:
        path.write_bytes(b"half")
    store = open_store()
    assert_same(read_all(store, SPACE), versioned(SPACE, ["a"]))
    assert all(path.exists() for path in leftovers)
    store.write(versioned(SPACE, ["b"]))
    assert not leftovers[1].exists()
    assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["a", "b"]))


@pytest.mark.parametrize("torn", ['{"bat', '{"batch": 2, "n_active": 1, "items": ["b"]}', "\x00\x00"])
def test_a_torn_last_line_of_the_index_does_not_count(open_store, folder, torn):
    open_store().write(versioned(SPACE, ["a"]))
    with (folder / "index.jsonl").open("a") as index:
        index.write(torn)
    store = open_store()
    assert store.item_ids(SPACE) == ["a"]
    store.write(versioned(SPACE, ["c"]))
    assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["a", "c"]))


@pytest.mark.parametrize(
    "line", ["no json", "[]", "{}", '{"batch": 2, "n_active": 1}', '{"batch": "x", "n_active": 1, "items": ["b"]}']
)
def test_a_damaged_index_is_named(open_store, folder, line):
    open_store().write(versioned(SPACE, ["a"]))
    with (folder / "index.jsonl").open("a") as index:
        index.write(f"{line}\n")
    with pytest.raises(saeviz.RunDirError, match=r"index\.jsonl is damaged.*run again"):
        open_store().spaces()


def test_items_of_a_lost_shard_are_missing_and_that_is_logged(open_store, folder, caplog):
    store = open_store()
    store.write(versioned(SPACE, ["a", "b"]))
    store.write(versioned(SPACE, ["c"]))
    (folder / "batch_000001.shard").unlink()
    with caplog.at_level(logging.WARNING):
        store = open_store()
        assert store.item_ids(SPACE) == ["c"]
    assert "batch_000001.shard is missing; its 2 items will be extracted again" in caplog.text
    store.write(versioned(SPACE, ["b", "a"], version=1))
    assert_same(read_all(open_store(), SPACE, ["a", "b"]), versioned(SPACE, ["a", "b"], version=1))


def test_clear_removes_its_own_files_only(open_store, tmp_path, folder):
    (tmp_path / "mine.txt").write_text("keep")
    store = open_store()
    store.write(versioned(SPACE, ["a"]))
    (folder / "mine.txt").write_text("keep")
    store.write(versioned(saeviz.FeatureSpace(9, "cls", 50), ["a"]))
    store.clear()
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".saeviz-lock", "mine.txt", "mine.txt"]
    assert not (tmp_path / "layer_9").exists()


def test_clear_helps_where_the_index_is_damaged(open_store, folder):
    open_store().write(versioned(SPACE, ["a"]))
    (folder / "index.jsonl").write_text("no json\n")
    store = open_store()
    store.clear()
    store.write(versioned(SPACE, ["b"]))
    assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["b"]))


def test_reading_leaves_nothing_behind(open_store, tmp_path):
    store = open_store()
    assert store.spaces() == []
    assert list(store.read(SPACE)) == []
    store.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_explained_and_costs_nothing(open_store, folder, monkeypatch):
    store = open_store()
    store.write(versioned(SPACE, ["a"]))

    def refuse(path, batch):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "save_shard", refuse)
    with pytest.raises(
        saeviz.RunDirError, match=r"batch_000002\.shard cannot be written: No space left.*free some space"
    ):
        store.write(versioned(SPACE, ["b"]))
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["batch_000001.shard", "index.jsonl"]
    store.write(versioned(SPACE, ["b"]))
    assert_same(read_all(open_store(), SPACE), versioned(SPACE, ["a", "b"]))


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_a_write_that_the_disk_refused_half_way_does_not_spoil_the_next_one(open_store, monkeypatch, refused):
    store = open_store()
    store.write(versioned(SPACE, ["a"]))
    calls = iter(range(1, 100))
    original = os.fsync

    def refuse(descriptor):
        if next(calls) == refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(saeviz.RunDirError):
        store.write(versioned(SPACE, ["refused 1", "refused 2"]))
    store.write(versioned(SPACE, ["b", "c", "d"]))
    for opened in (store, open_store()):
        found = read_all(opened, SPACE)
        assert {"a", "b", "c", "d"} <= set(found.item_ids) <= {"a", "b", "c", "d", "refused 1", "refused 2"}
        assert_same(found, versioned(SPACE, found.item_ids))


def test_a_read_goes_on_while_shards_are_merged(open_store):
    store = open_store()
    ids = [f"item {number}" for number in range(9)]
    for item_id in ids:
        store.write(versioned(SPACE, [item_id]))
    reading = store.read(SPACE)
    store.write(versioned(SPACE, ["item 9"]))
    assert [item_id for batch in reading for item_id in batch.item_ids] == [*ids, "item 9"]
