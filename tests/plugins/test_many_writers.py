"""Several writers to one store of files: what `npz` and `json` promise beyond the contract."""

from __future__ import annotations

import json
import logging
import os
import re

import pytest

import saeviz
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.testing import ManyWritersContract
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned
from saeviz_json import JsonOptions
from saeviz_json.store import JsonStore
from saeviz_npz import NpzOptions
from saeviz_npz.store import NpzStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
IDS = [f"item {number:02}" for number in range(30)]
NAMED = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, SPACE.n_features, "vit")


def open_npz(folder, **options):
    return NpzStore(NpzOptions(path=folder, **options), saeviz.Context())


def open_json(folder, **options):
    return JsonStore(JsonOptions(path=folder, **options), saeviz.Context())


class TestNpz(ManyWritersContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: open_npz(tmp_path)


class TestNpzWithManyShards(ManyWritersContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: open_npz(tmp_path, shard_rows=4)


class TestJson(ManyWritersContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: open_json(tmp_path, shard_rows=4)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / f"layer_{SPACE.layer}" / SPACE.tokens


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def opened_as(name, folder, **options):
    store = open_npz(folder, **options)
    return store.writer(name) if name else store


def write_and_leave(folder, name, ids, **options):
    """By a process that ends without closing the store, as one that is killed."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            store = opened_as(name, folder, **options)
            for item_id in ids:
                store.write(versioned(SPACE, [item_id]))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(process, 0)[1] == 0


def test_each_writer_has_files_of_its_own_and_one_without_a_name_those_of_ever(tmp_path, folder):
    for name in ("", "w1", "w-2"):
        store = opened_as(name, tmp_path)
        store.write(versioned(SPACE, [f"of {name}"]))
        store.close()
    assert files_in(folder) == [
        *("batch-w-2_000002.npz", "batch-w1_000002.npz", "batch_000002.npz"),
        *("index-w-2.jsonl", "index-w1.jsonl", "index.jsonl"),
    ]
    lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert all("generation" not in line for line in lines)


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a_1", "ä", "-a", "a" * 65, "a\n"])
def test_a_name_that_makes_no_file_is_refused(tmp_path, name):
    for store in (open_npz(tmp_path), open_json(tmp_path)):
        with pytest.raises(saeviz.DataError, match="is not a writer's name"):
            store.writer(name)


def test_two_of_one_name_say_which(tmp_path):
    one, two = open_npz(tmp_path).writer("part-3"), open_npz(tmp_path).writer("part-3")
    one.write(versioned(SPACE, ["a"]))
    with pytest.raises(saeviz.RunDirError, match=r"another process writes to .* as 'part-3'; wait until it has ended"):
        two.write(versioned(SPACE, ["b"]))
    one.close()
    two.write(versioned(SPACE, ["b"]))
    two.close()
    assert open_npz(tmp_path).item_ids(SPACE) == ["a", "b"]


def test_clear_is_refused_while_another_writes_and_removes_nothing(tmp_path):
    for opened in (open_npz, open_json):
        one = opened(tmp_path).writer("one")
        one.write(versioned(SPACE, ["a"]))
        with pytest.raises(saeviz.RunDirError, match="as 'one'"):
            opened(tmp_path).clear()
        one.close()
        assert opened(tmp_path).item_ids(SPACE) == ["a"]
        store = opened(tmp_path)
        store.clear()
        store.close()
        assert opened(tmp_path).spaces() == []
    assert all(path.name.startswith(".saeviz-lock") for path in tmp_path.rglob("*"))


def test_no_writer_removes_what_another_has_in_the_making(tmp_path, folder):
    """Files that are not counted yet: shards before their line, temporary files before their name."""
    write_and_leave(tmp_path, "one", ["a"])
    write_and_leave(tmp_path, "one-2", ["b"])
    write_and_leave(tmp_path, "", ["c"])
    making = {
        name: [f"batch{part}_000009.npz", temporary]
        for name, part, temporary in (
            ("one", "-one", ".saeviz~one~0123.tmp"),
            ("one-2", "-one-2", ".saeviz~one-2~0123.tmp"),
            ("", "", ".saeviz-0123.tmp"),
        )
    }
    locks = []
    for name in making:
        store = opened_as(name, tmp_path)
        store.claim()
        locks.append(store)
    for names in making.values():
        for name in names:
            (folder / name).write_bytes(b"half")
    locks[0].write(versioned(SPACE, ["d"]))
    assert set(making["one"]).isdisjoint(files_in(folder))
    assert {*making["one-2"], *making[""]} <= set(files_in(folder))
    locks[2].write(versioned(SPACE, ["e"]))
    locks[2].close()
    assert set(making[""]).isdisjoint(files_in(folder))
    assert set(making["one-2"]) <= set(files_in(folder))
    locks[1].close()
    locks[0].close()


def test_what_killed_writers_left_is_merged_by_the_next_one_without_a_name(tmp_path, folder):
    write_and_leave(tmp_path, "one", IDS[:5])
    write_and_leave(tmp_path, "two", IDS[5:9])
    (folder / "batch-two_000099.npz").write_bytes(b"half")
    busy = open_npz(tmp_path).writer("busy")
    for item_id in IDS[9:12]:
        busy.write(versioned(SPACE, [item_id]))
    store = open_npz(tmp_path)
    store.write(versioned(SPACE, ["new"]))
    store.close()
    assert [name for name in files_in(folder) if name.endswith(".npz")] == [
        *(f"batch-busy_00000{number}.npz" for number in (1, 2, 3)),
        *("batch-one_000006.npz", "batch-two_000005.npz", "batch_000002.npz"),
    ]
    busy.close()
    assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, ["new", *IDS[:12]]))


def test_a_shard_of_which_others_have_rewritten_all_items_is_removed_by_its_own_writer(tmp_path, folder):
    for name, ids in (("one", ["a", "b"]), ("two", ["b", "a"]), ("one", ["c"])):
        store = open_npz(tmp_path).writer(name)
        store.write(versioned(SPACE, ids))
        if name == "two":
            assert "batch-one_000002.npz" in files_in(folder)
        store.close()
    assert [name for name in files_in(folder) if name.startswith("batch-one")] == ["batch-one_000004.npz"]
    assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, ["a", "b", "c"]))


def test_an_older_copy_does_not_come_back_when_the_shard_that_counts_is_lost(tmp_path, folder, caplog):
    for version, name in enumerate(["one", "two"]):
        store = open_npz(tmp_path).writer(name)
        store.write(versioned(SPACE, ["a"], version))
        store.write(versioned(SPACE, [f"only {name}"], version))
        store.close()
    next(folder.glob("batch-two_*")).unlink()
    with caplog.at_level(logging.WARNING):
        assert open_npz(tmp_path).item_ids(SPACE) == ["only one"]
    assert re.search(r"batch-two_\d+\.npz is missing; its 2 items will be extracted again", caplog.text)


def test_a_reader_finds_items_again_that_a_writer_has_merged_since(tmp_path, caplog):
    write_and_leave(tmp_path, "one", IDS[:6], shard_rows=3)
    reader = open_npz(tmp_path, shard_rows=3)
    assert reader.item_ids(SPACE) == IDS[:6]
    one = open_npz(tmp_path, shard_rows=7).writer("one")
    for item_id in IDS[6:9]:
        one.write(versioned(SPACE, [item_id]))
    one.close()
    with caplog.at_level(logging.WARNING):
        assert_same(read_all(reader, SPACE, IDS[5::-1]), versioned(SPACE, IDS[5::-1]))
    assert not caplog.text


def test_shards_that_are_merged_while_a_store_is_opened_are_not_taken_for_lost(tmp_path, monkeypatch, caplog):
    write_and_leave(tmp_path, "one", IDS[:6])
    load = saeviz.toolkit.shards.ShardIndex.load

    def loading(*arguments):
        monkeypatch.undo()
        found = load(*arguments)
        write_and_leave(tmp_path, "one", IDS[6:12], shard_rows=4)
        return found

    monkeypatch.setattr(saeviz.toolkit.shards.ShardIndex, "load", loading)
    with caplog.at_level(logging.WARNING):
        assert_same(read_all(open_npz(tmp_path), SPACE), versioned(SPACE, IDS[:12]))
    assert not caplog.text


def test_two_indexes_of_different_autoencoders_are_named(tmp_path, folder):
    write_and_leave(tmp_path, "one", ["a"])
    other = tmp_path / "other"
    store = open_npz(other).writer("two")
    store.write(versioned(saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, 51), ["a"]))
    store.close()
    for path in (other / folder.relative_to(tmp_path)).iterdir():
        path.rename(folder / path.name)
    with pytest.raises(saeviz.RunDirError, match=r"index-one\.jsonl has 50 features but .*index-two\.jsonl has 51"):
        open_npz(tmp_path).spaces()


def test_a_space_with_a_name_belongs_to_the_store_that_any_of_its_indexes_names(tmp_path):
    for opened in (open_npz, open_json):
        one = opened(tmp_path / opened.__name__).writer("one")
        one.write(versioned(NAMED, ["a"]))
        one.close()
        store = opened(tmp_path / opened.__name__)
        assert store.spaces() == [NAMED]
        assert_same(read_all(store, NAMED), versioned(NAMED, ["a"]))
        store.clear()
        assert opened(tmp_path / opened.__name__).spaces() == []


def test_a_folder_with_a_file_per_item_has_one_writer(tmp_path):
    store = open_json(tmp_path, layout="item")
    with pytest.raises(saeviz.DataError, match=r"one writer at a time.*layout = \"batch\""):
        store.writer("one").write(versioned(SPACE, ["a"]))
    store.write(versioned(SPACE, ["a"]))
    assert store.item_ids(SPACE) == ["a"]


def test_the_store_of_a_run_hands_on_its_writers_or_says_that_it_has_one(tmp_path):
    store = CheckedStore(open_npz(tmp_path), "store 'npz'", None)
    one = store.writer("one")
    one.write(versioned(SPACE, ["a"]))
    one.close()
    assert open_npz(tmp_path).item_ids(SPACE) == ["a"]
    memory = saeviz.component("store", "memory")
    with pytest.raises(saeviz.ConfigError, match="store 'memory' has one writer at a time"):
        CheckedStore(memory, "store 'memory'", None).writer("one")
