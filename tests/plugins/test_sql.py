"""The store `sql`, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

import saeviz
import saeviz_sql.database
import saeviz_sql.schema
from saeviz.pipeline.run import Plan
from saeviz.testing import FeatureStoreContract
from saeviz.testing.data import random_batch
from saeviz.testing.stores import OTHERS, SPACE, assert_same, read_all, versioned
from saeviz_sql import SqlStoreOptions
from saeviz_sql.store import ROWS_AT_ONCE, SqlStore
from tests.conftest import FAKE_RUN, FAKES
from tests.waiting import wait_until

pytest.importorskip("sqlalchemy", reason="needs pip install 'saeviz[sql]'")


def open_sqlite(path, **options):
    return SqlStore(SqlStoreOptions(path=path, **options), saeviz.Context())


def open_postgres(url, run="art"):
    return SqlStore(SqlStoreOptions(url=url, run=run), saeviz.Context())


class TestContractOnSQLite(FeatureStoreContract):
    most_items_per_batch = ROWS_AT_ONCE

    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: open_sqlite(tmp_path / "features.sqlite")


class TestContractOnPostgreSQL(FeatureStoreContract):
    most_items_per_batch = ROWS_AT_ONCE

    @pytest.fixture
    def open_store(self, database_url):
        return lambda: open_postgres(database_url)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def open_run(request, tmp_path):
    """Opens the store of a run in one database: `open_run("art")`."""
    if request.param == "SQLite":
        return lambda run="art": open_sqlite(tmp_path / "features.sqlite", run=run)
    url = request.getfixturevalue("database_url")
    return lambda run="art": open_postgres(url, run)


def test_is_a_file_of_the_run_unless_told_otherwise(tmp_path):
    with_default = SqlStore(SqlStoreOptions(), saeviz.Context(workdir=tmp_path / "run" / "features"))
    with_default.write(versioned(SPACE, ["a"]))
    with_default.close()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["features.sqlite"]


def test_runs_that_share_a_database_do_not_mix(open_run):
    one, two = open_run("one"), open_run("two")
    other_width = saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, 70)
    one.write(versioned(SPACE, ["same", "mine"]))
    two.write(versioned(other_width, ["same", "theirs"], version=1))
    assert (one.spaces(), two.spaces()) == ([SPACE], [other_width])
    assert one.item_ids(SPACE) == ["same", "mine"]
    assert_same(read_all(two, other_width), versioned(other_width, ["same", "theirs"], version=1))
    with pytest.raises(saeviz.DataError, match="'theirs'"):
        list(one.read(SPACE, ["theirs"]))
    two.clear()
    assert two.spaces() == []
    assert_same(read_all(one, SPACE), versioned(SPACE, ["same", "mine"]))


def test_an_item_written_again_keeps_its_place(open_run):
    store = open_run()
    store.write(versioned(SPACE, ["a", "b", "c"]))
    store.write(versioned(SPACE, ["c", "a", "d"], version=1))
    assert store.item_ids(SPACE) == ["a", "b", "c", "d"]


def test_other_features_for_the_same_layer_say_what_to_do(open_run):
    store = open_run()
    store.write(versioned(SPACE, ["a"]))
    with pytest.raises(saeviz.DataError, match=r"50 features .* run 'art', not 51; set store.run"):
        store.write(versioned(saeviz.FeatureSpace(SPACE.layer, SPACE.tokens, 51), ["a"]))


def test_a_reader_goes_on_while_another_process_writes(open_run):
    store, writer = open_run(), open_run()
    ids = [f"item {number}" for number in range(3 * ROWS_AT_ONCE)]
    store.write(random_batch(OTHERS[0], ids))
    reading = store.read(OTHERS[0])
    seen = list(next(reading).item_ids)
    writer.write(random_batch(OTHERS[0], ["late", ids[0], ids[-1]], seed=1))
    seen += [item_id for batch in reading for item_id in batch.item_ids]
    assert seen == [*ids, "late"]


def test_two_processes_that_begin_at_once_make_the_tables_once(open_run):
    processes = [in_other_process(lambda n=n: open_run().write(versioned(SPACE, [f"from {n}"]))) for n in range(4)]
    assert [os.waitpid(process, 0)[1] for process in processes] == [0] * 4
    assert sorted(open_run().item_ids(SPACE)) == [f"from {n}" for n in range(4)]


def in_other_process(do) -> int:
    process = os.fork()
    if process == 0:
        try:
            do()
            os._exit(0)
        finally:
            os._exit(1)
    return process


def write_for_ever(open_run):
    store = open_run()
    for version in range(10_000):
        store.write(versioned(SPACE, [f"{version}/{number}" for number in range(100)], version))


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_there_whole_or_not_at_all_when_killed(open_run, seed):
    open_run().spaces()
    process = in_other_process(lambda: write_for_ever(open_run))
    store = open_run()
    wait_until(lambda: store.item_ids(SPACE))
    time.sleep(0.007 * seed)
    os.kill(process, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
    ids = open_run().item_ids(SPACE)
    assert ids == [f"{version}/{number}" for version in range(len(ids) // 100) for number in range(100)]
    for version in range(len(ids) // 100):
        mine = ids[100 * version : 100 * version + 100]
        assert_same(read_all(store, SPACE, mine), versioned(SPACE, mine, version))


ADD_NOTES = ("alter table saeviz_spaces add column note text not null default 'from before'",)


def notes(store):
    with store._database.reading() as connection:
        return connection.exec_driver_sql("select note from saeviz_spaces").scalars().all()


def test_tables_of_an_older_version_are_migrated_by_the_first_write(open_run, monkeypatch):
    open_run().write(versioned(SPACE, ["a", "b"]))
    monkeypatch.setattr(saeviz_sql.schema, "MIGRATIONS", (*saeviz_sql.schema.MIGRATIONS, ADD_NOTES))
    older = open_run()
    assert_same(read_all(older, SPACE), versioned(SPACE, ["a", "b"]))
    with pytest.raises(saeviz.SaevizError, match="note"):
        notes(older)
    for _ in range(2):
        migrated = open_run()
        migrated.write(versioned(SPACE, ["c"]))
        assert_same(read_all(migrated, SPACE, ["a", "b"]), versioned(SPACE, ["a", "b"]))
        assert notes(migrated) == ["from before"]


def test_a_migration_that_fails_leaves_the_older_version(open_run, monkeypatch):
    before = saeviz_sql.schema.MIGRATIONS
    fails = (*ADD_NOTES, "alter table nowhere add column x text")
    open_run().write(versioned(SPACE, ["a"]))
    monkeypatch.setattr(saeviz_sql.schema, "MIGRATIONS", (*before, fails))
    with pytest.raises(saeviz.SaevizError, match="nowhere"):
        open_run().write(versioned(SPACE, ["b"]))
    assert open_run().item_ids(SPACE) == ["a"]
    monkeypatch.setattr(saeviz_sql.schema, "MIGRATIONS", (*before, ADD_NOTES))
    open_run().write(versioned(SPACE, ["b"]))
    assert notes(open_run()) == ["from before"]


def test_tables_of_a_newer_version_are_refused(open_run, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(saeviz_sql.schema, "MIGRATIONS", (*saeviz_sql.schema.MIGRATIONS, ADD_NOTES))
        open_run().write(versioned(SPACE, ["a"]))
    with pytest.raises(saeviz.ConfigError, match=r"tables of version 4, and this saeviz knows version 3; upgrade"):
        open_run().spaces()


def test_a_run_that_is_only_read_needs_no_right_to_write(tmp_path):
    path = tmp_path / "features.sqlite"
    open_sqlite(path).write(versioned(SPACE, ["a"]))
    path.chmod(stat.S_IREAD)
    tmp_path.chmod(stat.S_IREAD | stat.S_IEXEC)
    try:
        assert_same(read_all(open_sqlite(path), SPACE), versioned(SPACE, ["a"]))
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_user_who_may_only_read_can_read(database_url):
    import psycopg

    open_postgres(database_url).write(versioned(SPACE, ["a"]))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("drop role if exists reader")
        connection.execute("create role reader login")
        connection.execute("grant select on all tables in schema public to reader")
    reader = open_postgres(database_url.replace("postgres:@", "reader:@"))
    assert_same(read_all(reader, SPACE), versioned(SPACE, ["a"]))
    with pytest.raises(saeviz.SaevizError, match="permission denied for table saeviz_features; grant the user"):
        reader.write(versioned(SPACE, ["b"]))


def test_an_item_id_beyond_what_postgres_can_index_is_told_and_a_long_one_is_kept(database_url, tmp_path):
    noise = "".join(f"{number:x}" for number in random.Random(1).choices(range(16), k=20_000))
    on_postgres = open_postgres(database_url)
    on_sqlite = open_sqlite(tmp_path / "f.sqlite")
    for store, item_id in ((on_postgres, noise[:2500]), (on_sqlite, noise)):
        store.write(versioned(SPACE, [item_id]))
        assert store.item_ids(SPACE) == [item_id]
    with pytest.raises(saeviz.SaevizError, match=r"an item id has more than the 2,600 bytes"):
        on_postgres.write(versioned(SPACE, ["good", noise]))
    assert on_postgres.item_ids(SPACE) == [noise[:2500]]
    on_postgres.close()


def test_damaged_bytes_name_the_item(tmp_path):
    path = tmp_path / "features.sqlite"
    store = open_sqlite(path)
    store.write(versioned(SPACE, ["sound", "hurt"]))
    with sqlite3.connect(path) as connection:
        connection.execute("update saeviz_features set activations = x'00' where item_id = 'hurt'")
    assert_same(read_all(store, SPACE, ["sound"]), versioned(SPACE, ["sound"]))
    with pytest.raises(saeviz.DataError, match="'hurt' are damaged"):
        list(store.read(SPACE))


def test_the_tables_are_readable_from_plain_sql(tmp_path):
    open_sqlite(tmp_path / "features.sqlite").save_features("a", [0.0, 0.5, 0.0, 2.0], layer=7)
    with sqlite3.connect(tmp_path / "features.sqlite") as connection:
        query = "select layer, item_id, features, activations from saeviz_features join saeviz_spaces on id = space_id"
        ((layer, item_id, features, activations),) = connection.execute(query)
    assert (layer, item_id) == (7, "a")
    assert np.frombuffer(features, "<u2").tolist() == [1, 3]
    assert np.frombuffer(activations, "<f4").tolist() == [0.5, 2.0]


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "features.sqlite"
    path.write_text("not a database, but long enough to be looked at " * 40)
    with pytest.raises(saeviz.RunDirError, match=r"features.sqlite: SQLite says: file is not a database"):
        open_sqlite(path).spaces()


def test_a_full_disk_says_what_to_do_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "features.sqlite"
    store = open_sqlite(path)
    store.write(versioned(SPACE, ["a"]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
    try:
        with pytest.raises(saeviz.RunDirError, match=r"features\.sqlite: SQLite says: .*; .*finished work is kept"):
            store.write(random_batch(SPACE, [f"{number} of many" for number in range(2000)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    store.write(versioned(SPACE, ["b"]))
    assert store.item_ids(SPACE) == ["a", "b"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "in the way").touch()
    with pytest.raises(saeviz.RunDirError, match="in the way"):
        open_sqlite(tmp_path / "in the way" / "features.sqlite").write(versioned(SPACE, ["a"]))


PASSWORD = "hunter2-of-mine"


def told_by(error: BaseException) -> str:
    """All that anybody gets to read of an error: the sentence and the chain of tracebacks."""
    import traceback

    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (f"postgresql://me:{PASSWORD}@127.0.0.1:1/art", "the database art on 127.0.0.1: .*refused"),
        (f"postgres://me:{PASSWORD}@127.0.0.1:1/art", "the database art on 127.0.0.1: .*refused"),
        (f"postgresql+psycopg2://me:{PASSWORD}@127.0.0.1:1/art?connect_timeout=1", "refused"),
        (f"postgresql://me:p@{PASSWORD}@127.0.0.1:1/art", "more than one @; write %40"),
        (f"mysql://me:{PASSWORD}@host/art", "only PostgreSQL is reached by a URL"),
        (f"me:{PASSWORD}@host", "not the URL of a database"),
        (f"postgresql://me:{PASSWORD}@host:port/art", "not the URL of a database"),
        ("", "not the URL of a database"),
    ],
)
def test_a_url_that_leads_nowhere_is_explained_without_its_password(url, sentence, caplog):
    with pytest.raises(saeviz.SaevizError, match=f"store.url: .*{sentence}") as caught:
        open_postgres(url).spaces()
    assert PASSWORD not in told_by(caught.value) + caplog.text


@pytest.mark.parametrize("way", ["default", "url"])
def test_a_server_that_accepts_and_says_nothing_is_left(monkeypatch, way):
    monkeypatch.setitem(saeviz_sql.database.POSTGRES, "connect_timeout", 2 if way == "default" else 600)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/d"
        started = time.monotonic()
        with pytest.raises(saeviz.SaevizError, match=r"store.url: the database d on 127.0.0.1: .*timeout") as caught:
            open_postgres(url + ("?connect_timeout=2" if way == "url" else "")).spaces()
        assert time.monotonic() - started < 60
    assert PASSWORD not in told_by(caught.value)


def test_a_wrong_password_and_a_database_that_is_not_there(postgres_server, database_url):
    missing = postgres_server.get_uri(database="nowhere")
    with pytest.raises(saeviz.SaevizError, match='database "nowhere" does not exist'):
        open_postgres(missing).spaces()
    with pytest.raises(saeviz.SaevizError, match='role "nobody" does not exist') as caught:
        open_postgres(database_url.replace("postgres:@", f"nobody:{PASSWORD}@")).spaces()
    assert PASSWORD not in told_by(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"url": f"postgresql://me:{PASSWORD}@host/art"}, 'run = "art"'),
        ({"url": f"postgresql://me:{PASSWORD}@host/art", "path": "x.sqlite", "run": "a"}, "two databases"),
        ({"url": f"postgresql://me:{PASSWORD}@host/art", "run": ""}, "run: .*at least 1 character"),
        ({"url": f"postgresql://me:{PASSWORD}@host/art", "run": "a\0b"}, "run: "),
    ],
)
def test_options_that_do_not_fit_are_refused_without_a_secret(options, sentence):
    with pytest.raises(saeviz.ConfigError, match=f"(?s){sentence}") as caught:
        saeviz.component("store", "sql", **options)
    assert PASSWORD not in told_by(caught.value)


HANGS_MIDWAY = """
import itertools, sys, time
import saeviz.cli
from saeviz.testing.fakes import FakeExtractor

extract = FakeExtractor.extract
def hangs(extractor, items):
    yield from itertools.islice(extract(extractor, items), 6)
    time.sleep(3600)
FakeExtractor.extract = hangs
saeviz.cli.main(sys.argv[1:])
"""


def run_in_other_process(folder, *way, **environment):
    command = [sys.executable, *(way or ("-m", "saeviz")), "run", "art.toml", "--until", "extract"]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, request, database):
    (tmp_path / "files.toml").write_text(FAKE_RUN)
    store = 'use = "sql"'
    environment = {}
    if database == "PostgreSQL":
        store += '\nurl = { env = "SECRET_URL" }\nrun = "art"'
        environment["SECRET_URL"] = request.getfixturevalue("database_url").replace(
            "postgres:@", f"postgres:{PASSWORD}@"
        )
    (tmp_path / "art.toml").write_text(FAKE_RUN.replace('use = "npz"', store))
    process = run_in_other_process(tmp_path, "-c", HANGS_MIDWAY, **environment)
    url = environment.get("SECRET_URL")
    file = tmp_path / "runs" / "art" / "features" / "features.sqlite"

    def both_spaces_have_items():
        if url:
            return len(open_postgres(url).spaces()) == 2
        return file.exists() and len(open_sqlite(file).spaces()) == 2

    wait_until(both_spaces_have_items, lambda: process.poll() is None)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed = run_in_other_process(tmp_path, **environment)
    said = resumed.communicate()[1]
    assert resumed.returncode == saeviz.ExitCode.DONE, said
    n_left = int(re.search(r"extract: (\d+) of 24 images to do", said)[1])
    assert 0 < n_left < 24
    expected = saeviz.run(tmp_path / "files.toml", plan=Plan(last="extract"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        run = saeviz.open_run(tmp_path / "runs" / "art", plugins=[FAKES], online=True, secrets=list(environment))
        for space in expected.spaces:
            assert_same(run.features(space), expected.features(space))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "runs" / "art").rglob("*") if path.is_file())
    assert PASSWORD.encode() not in everything
    assert PASSWORD not in said


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_a_run_goes_on_with_a_copy_in_a_database_and_its_copy_back(
    tmp_path, fake_run, saeviz_command, request, database, monkeypatch
):
    run = saeviz.run(fake_run)
    before = {space: run.features(space) for space in run.spaces}
    place, where = "sql:art.sqlite", f"path={tmp_path / 'art.sqlite'}"
    options = ["run=art"]
    if database == "PostgreSQL":
        monkeypatch.setenv("ART_URL", request.getfixturevalue("database_url"))
        place, where = "sql", 'url={ env = "ART_URL" }'
        options.append(where)
    to, origin = ([word for option in options for word in ("--set", f"{end}.{option}")] for end in ("to", "from"))
    copied = saeviz_command("store", "copy", run.dir, place, *to)
    assert copied.code == saeviz.ExitCode.DONE, copied
    settings = ["store.use=sql", f"store.{where}", "store.run=art"]
    log = run.dir / "log.txt"
    saeviz.run(fake_run, settings=settings)
    assert log.read_text().count("extract: up to date") == 1
    back = saeviz_command("store", "copy", place, "npz:back", *origin, "--json")
    assert [space["items"] for space in back.json()["spaces"]] == [24, 24]
    returned = saeviz.component("store", "npz", path=tmp_path / "back")
    for space, expected in before.items():
        assert_same(read_all(returned, space), expected)
    saeviz.run(fake_run, settings=[*settings, "images.n=26"])
    assert "extract: 2 of 26 images to do" in log.read_text()
    granted = ["--online", "--secret", "ART_URL"] if database == "PostgreSQL" else []
    more = saeviz_command("store", "copy", run.dir, "npz:all", "--json", *granted)
    assert [space["written"] for space in more.json()["spaces"]] == [26, 26]
