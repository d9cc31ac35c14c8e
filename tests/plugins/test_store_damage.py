"""Features that a store keeps on the disk are checked when they are read: never other values in silence."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

import saeviz
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned

IDS = [f"image {number}" for number in range(6)]
FILE_STORES = [("npz", {}), ("npz", {"encoding": "scipy"}), ("json", {"layout": "item"}), ("json", {"layout": "batch"})]


def open_store(name, path, **options):
    return saeviz.component("store", name, path=path, **options)


@pytest.fixture(params=FILE_STORES, ids=lambda param: "-".join([param[0], *param[1].values()]))
def kept(request, tmp_path):
    """How to open a store that holds six items, and its files of features."""
    name, options = request.param

    def opened():
        return open_store(name, tmp_path / "store", **options)

    store = opened()
    store.write(versioned(SPACE, IDS))
    store.close()
    return opened, sorted(path for path in (tmp_path / "store").rglob("*.*") if path.suffix in (".npz", ".json"))


def flip(data: bytes) -> bytes:
    """A digit of a number, or a bit."""
    middle = next((i for i in range(len(data) // 2, len(data)) if data[i : i + 1].isdigit()), len(data) // 2)
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [flip, lambda _data: b"", lambda data: data[: len(data) // 2]])
def test_items_of_damaged_files_count_as_not_extracted(kept, caplog, damage):
    opened, files = kept
    for file in files:
        os.utime(file, (5, 5))
    assert_same(read_all(opened(), SPACE), versioned(SPACE, IDS))
    files[0].write_bytes(damage(files[0].read_bytes()))
    left = opened().item_ids(SPACE)
    assert left in ([], IDS[1:])
    assert "was changed or damaged since it was written" in caplog.text
    with pytest.raises(saeviz.DataError, match="no item 'image 0'"):
        read_all(opened(), SPACE, IDS)
    store = opened()
    store.write(versioned(SPACE, IDS))
    store.close()
    assert sorted(opened().item_ids(SPACE)) == IDS
    assert_same(read_all(opened(), SPACE, IDS), versioned(SPACE, IDS))


def test_what_has_kept_its_size_and_time_is_noticed_when_it_is_read(kept):
    opened, files = kept
    before = files[0].stat()
    files[0].write_bytes(flip(files[0].read_bytes()))
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert opened().item_ids(SPACE) == IDS
    with pytest.raises(saeviz.DataError, match="it was changed or damaged since it was written; remove it"):
        read_all(opened(), SPACE, IDS)


def test_a_copy_is_whole(kept, tmp_path):
    opened, _ = kept
    shutil.copytree(tmp_path / "store", tmp_path / "copy", copy_function=shutil.copy)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "copy").rename(tmp_path / "store")
    assert_same(read_all(opened(), SPACE, IDS), versioned(SPACE, IDS))


def test_an_item_written_again_is_whole(kept):
    opened, _ = kept
    for version in (1, 2):
        store = opened()
        store.write(versioned(SPACE, IDS[:3], version))
        store.close()
    assert_same(read_all(opened(), SPACE, IDS[:3]), versioned(SPACE, IDS[:3], 2))
    assert sorted(opened().item_ids(SPACE)) == IDS


def test_indexes_of_earlier_versions_are_read(kept, tmp_path):
    import json

    opened, _ = kept
    for index in (tmp_path / "store").rglob("*.jsonl"):
        rows = [json.loads(line) for line in index.read_text().splitlines()]
        old = [{key: value for key, value in row.items() if key not in ("check", "file", "files")} for row in rows]
        index.write_text("".join(f"{json.dumps(row)}\n" for row in old))
    assert_same(read_all(opened(), SPACE, IDS), versioned(SPACE, IDS))


# -- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path):
    """How to open a SQLite store of six items, and how to change its file."""
    path = tmp_path / "features.sqlite"
    store = open_store("sql", path)
    store.write(versioned(SPACE, IDS))
    store.close()

    def change(*statements: str) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.create_function("flip", 1, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return (lambda: open_store("sql", path)), change


@pytest.mark.parametrize(
    "statement",
    [
        "update saeviz_features set activations = flip(activations) where item_id = 'image 2'",
        "update saeviz_features set features = flip(features) where item_id = 'image 2'",
        "update saeviz_features set (features, activations, checksum) = (select features, activations, checksum from "
        "saeviz_features as other where other.item_id = 'image 1') where item_id = 'image 2'",
        "update saeviz_features set features = 'text' where item_id = 'image 2'",
        "update saeviz_features set activations = 5 where item_id = 'image 2'",
    ],
)
def test_changed_values_in_sqlite(database, statement):
    opened, change = database
    change(statement)
    with pytest.raises(saeviz.DataError, match="'image 2' are damaged"):
        read_all(opened(), SPACE, IDS)
    assert_same(read_all(opened(), SPACE, IDS[:2]), versioned(SPACE, IDS[:2]))


TO_VERSION_1 = (
    "drop index saeviz_features_by_id",
    "drop index saeviz_features_in_order",
    "create index saeviz_features_in_order on saeviz_features (space_id, place)",
    "alter table saeviz_features drop column writer",
    "alter table saeviz_features drop column checksum",
    "update saeviz_schema set version = 1",
)


def test_rows_of_earlier_versions_have_no_checksum(database):
    opened, change = database
    change(*TO_VERSION_1)
    assert_same(read_all(opened(), SPACE, IDS), versioned(SPACE, IDS))


def test_reading_migrates_no_tables_and_writing_does(database, tmp_path):
    opened, change = database
    change(*TO_VERSION_1)
    before = (tmp_path / "features.sqlite").read_bytes()
    store = opened()
    assert store.spaces() == [SPACE]
    assert store.item_ids(SPACE) == IDS
    assert_same(read_all(store, SPACE, IDS), versioned(SPACE, IDS))
    assert (tmp_path / "features.sqlite").read_bytes() == before
    store.write(versioned(SPACE, IDS[:1], 2))
    assert_same(read_all(store, SPACE, IDS[:1]), versioned(SPACE, IDS[:1], 2))
    change("update saeviz_features set activations = flip(activations) where item_id = 'image 0'")
    with pytest.raises(saeviz.DataError, match="'image 0' are damaged"):
        read_all(opened(), SPACE, IDS)


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"


@pytest.mark.parametrize(
    "statements",
    [
        ["drop table saeviz_schema", f"create view saeviz_schema as select 2 as version from ({ENDLESS})"],
        [
            "alter table saeviz_features rename to kept",
            f"create view Saeviz_Features as select k.* from kept k, ({ENDLESS})",
        ],
        [
            "create trigger t after insert on saeviz_features "
            f"begin delete from saeviz_features where place in ({ENDLESS}); end"
        ],
        ["create trigger t after insert on saeviz_features begin update saeviz_features set activations = x'00'; end"],
    ],
    ids=["version", "view", "endless trigger", "trigger"],
)
def test_sql_of_a_received_file_is_not_run(database, statements):
    """Neither to read nor to write: a view without an end would be waited for, a trigger would change what is kept."""
    opened, change = database
    change(*statements)
    with pytest.raises(saeviz.DataError, match=r"has a (view|trigger) '\w+', which no store of saeviz has"):
        opened().spaces()
    with pytest.raises(saeviz.DataError, match="which no store of saeviz has"):
        opened().write(versioned(SPACE, IDS))


def test_views_of_somebodys_own_beside_the_tables_are_left_alone(database):
    opened, change = database
    change("create table paintings (id)", "create view some_paintings as select * from paintings")
    assert_same(read_all(opened(), SPACE), versioned(SPACE, IDS))
