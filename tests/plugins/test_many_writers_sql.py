"""Several writers to the store `sql`, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import saeviz
import saeviz_sql.database
import saeviz_sql.store
from saeviz.testing import ManyWritersContract
from saeviz.testing.stores import SPACE, assert_same, read_all, versioned
from saeviz_sql import SqlStoreOptions
from saeviz_sql.store import SqlStore
from tests.waiting import wait_until

pytest.importorskip("sqlalchemy", reason="needs pip install 'saeviz[sql]'")


def open_sqlite(path):
    return SqlStore(SqlStoreOptions(path=path), saeviz.Context())


def open_postgres(url):
    return SqlStore(SqlStoreOptions(url=url, run="art"), saeviz.Context())


class TestSQLite(ManyWritersContract):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: open_sqlite(tmp_path / "features.sqlite")


class TestPostgreSQL(ManyWritersContract):
    @pytest.fixture(autouse=True)
    def _no_second_attempt(self, monkeypatch):
        """Writers with names do without: they take rows in one order."""
        monkeypatch.setattr(saeviz_sql.store, "ATTEMPTS", 1)

    @pytest.fixture
    def open_store(self, database_url):
        return lambda: open_postgres(database_url)


def test_a_batch_that_postgres_gives_up_for_another_transaction_is_written_again(database_url):
    """A transaction has "b" and then wants "a", while the store has "a" and wants "b"."""
    import psycopg

    open_postgres(database_url).write(versioned(SPACE, ["b", "a"]))
    impatient = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20deadlock_timeout%3D300ms"
    store = open_postgres(impatient)
    touch = "update saeviz_features set writer = writer where item_id = %s"
    waiting = "select count(*) from pg_locks where not granted"
    with psycopg.connect(database_url) as other, psycopg.connect(database_url, autocommit=True) as onlooker:
        other.execute("set deadlock_timeout = '60s'")
        other.execute(touch, ["b"])

        def and_then_the_other() -> None:
            wait_until(lambda: onlooker.execute(waiting).fetchone()[0])
            other.execute(touch, ["a"])
            other.commit()

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(and_then_the_other)
            store.write(versioned(SPACE, ["a", "b", "c"], version=1))
            done.result()
    assert_same(read_all(store, SPACE, ["a", "b", "c"]), versioned(SPACE, ["a", "b", "c"], version=1))


def test_a_sqlite_file_that_another_writer_holds_is_waited_for_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr(saeviz_sql.database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "features.sqlite"
    one, two = open_sqlite(path).writer("one"), open_sqlite(path).writer("two")
    one.write(versioned(SPACE, ["a"]))
    with one._database.writing(), pytest.raises(saeviz.RunDirError, match="another process has been writing to it"):
        two.write(versioned(SPACE, ["b"]))
    two.write(versioned(SPACE, ["b"]))
    assert open_sqlite(path).item_ids(SPACE) == ["a", "b"]
