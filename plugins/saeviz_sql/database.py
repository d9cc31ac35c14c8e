"""Connections to a SQLite file or a PostgreSQL database, with readable errors that contain no secrets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

import saeviz
from saeviz.toolkit.files import explain_disk_errors

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

BUSY_SECONDS = 60
"""Seconds to wait for another process that writes to the same SQLite file."""
POSTGRES = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 6}
"""Seconds, unless the URL says otherwise: a server that has vanished would be waited for for hours."""
_DEADLOCK = "40P01"
_NEXT_STEP = {
    "28P01": "check user and password; signs such as @ : / # in them are written %40 %3A %2F %23",
    "3D000": "create it, or correct the name",
    "42883": "an image_column has to be of type bytea",
    "42501": "grant the user the right to do this",
    "53100": "free some space and run again; finished work is kept",
    "54000": "an item id has more than the 2,600 bytes or so that PostgreSQL can index",
    "57014": "does the query terminate? if so, raise the server's statement_timeout",
}


_NEXT_STEP_OF_SQLITE = {
    "SQLITE_FULL": "free some space and run again; finished work is kept",
    "SQLITE_IOERR": "is the disk full, or disconnected? finished work is kept",
    "SQLITE_READONLY": "change the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "does its folder exist, and is it writable?",
    "SQLITE_INTERRUPT": "the query did not finish in time; does it terminate?",
    "SQLITE_BUSY": "another process has been writing to it for a minute; wait until it has ended",
}


class DeadlockError(saeviz.SaevizError):
    """PostgreSQL has ended a transaction, because it and others waited for one another."""


class Database:
    """The database at `url`, or else the SQLite file `path`. `place` is how the user calls it, for instance `store`.

    Nothing is opened before the first use; `close` may be followed by another use.
    """

    def __init__(self, place: str, url: SecretStr | None, path: Path, context: saeviz.Context) -> None:
        self.place = place
        self._path = path
        self._url = None if url is None else _postgres_url(place, url.get_secret_value())
        if context.offline and self._url is not None and not _is_here(self._url):
            raise saeviz.ConfigError(f"{self} is on the network; {context.why_offline}")

    def __str__(self) -> str:
        if self._url is None:
            return str(self._path)
        host = f" on {self._url.host}" if self._url.host else ""
        return f"{self.place}.url: the database {self._url.database}{host}"

    @property
    def is_postgres(self) -> bool:
        """Whether it is PostgreSQL, else SQLite."""
        return self._url is not None

    @contextmanager
    def reading(self, seconds: int | None = None) -> Iterator[Connection]:
        """A connection that sees one state of the database, as a context; a query takes `seconds` at most."""
        from sqlalchemy.exc import DBAPIError

        with self._explained():
            connection = self._engine.connect()
            try:
                with nullcontext() if seconds is None else _ending(connection, seconds, is_postgres=self.is_postgres):
                    yield connection
            finally:
                with suppress(DBAPIError):  # the server has ended it already; there is nothing to undo
                    connection.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of the block is kept when it ends well, and nothing of it otherwise."""
        with self._explained(), self._engine.connect() as connection:
            connection.execution_options(saeviz_writes=True)
            with connection.begin():
                yield connection

    @property
    def is_there(self) -> bool:
        """Whether it can contain anything; reading does not create a SQLite file."""
        return self._url is not None or self._path.exists()

    def make_folder(self) -> None:
        """Make the folder of a SQLite file."""
        if self._url is None:
            with explain_disk_errors(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)

    def again(self) -> Database:
        """The same database, with connections of its own."""
        other = copy(self)
        other.__dict__.pop("_engine", None)
        return other

    def close(self) -> None:
        """Close all connections."""
        engine: Engine | None = self.__dict__.pop("_engine", None)
        if engine is not None:
            engine.dispose()

    @cached_property
    def _engine(self) -> Engine:
        if self._url is None:
            return _sqlite_engine(self._path)
        from sqlalchemy import create_engine

        given = {name: value for name, value in POSTGRES.items() if name not in self._url.query}
        # Prepared statements break behind a pooler of transactions, such as PgBouncer and Supabase's.
        arguments = {"prepare_threshold": None, **given}
        return create_engine(self._url, connect_args=arguments, pool_pre_ping=True, hide_parameters=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the database into readable ones, without parameters or passwords."""
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except DBAPIError as error:
            message = str(error.orig).strip().splitlines()
            reason = message[0] if message else type(error.orig).__name__
            if self._url is None:
                kind = "_".join(getattr(error.orig, "sqlite_errorname", "").split("_")[:2])
                step = _NEXT_STEP_OF_SQLITE.get(kind)
                raise saeviz.RunDirError(
                    f"{self._path}: SQLite says: {reason}" + (f"; {step}" if step else "")
                ) from None
            state = getattr(error.orig, "sqlstate", None) or ""
            step = _NEXT_STEP.get(state)
            fault = DeadlockError if state == _DEADLOCK else saeviz.SaevizError
            raise fault(f"{self}: {reason}" + (f"; {step}" if step else "")) from None


@contextmanager
def _ending(connection: Connection, seconds: int, *, is_postgres: bool) -> Iterator[None]:
    """Queries of the block end after these seconds, with an error where they are not finished."""
    if is_postgres:
        connection.exec_driver_sql(f"set local statement_timeout = {seconds * 1000}")
        yield
        return
    driver: Any = connection.connection.driver_connection
    end = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > end, 100_000)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def _postgres_url(place: str, text: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    example = "write postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise saeviz.ConfigError(f"{place}.url: it is not the URL of a database; {example}") from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise saeviz.ConfigError(
            f"{place}.url: only PostgreSQL is reached by a URL; {example}, or name a SQLite file by {place}.path"
        )
    if "@" in (url.host or ""):
        raise saeviz.ConfigError(f"{place}.url: it holds more than one @; write %40 for the one in the password")
    if find_spec("psycopg") is None:
        raise saeviz.PluginError(
            f"{place}.url: PostgreSQL needs psycopg, which is not installed: pip install 'saeviz[postgres]'"
        )
    return url.set(drivername="postgresql+psycopg")


def _is_here(url: URL) -> bool:
    """Whether every host is this machine; none, or a folder, is a socket of it."""
    if "service" in url.query:  # which a file elsewhere explains
        return False
    given = [url.host or "", *(url.query.get(name, "") for name in ("host", "hostaddr"))]
    texts = [one for part in given for one in ([part] if isinstance(part, str) else part)]
    return all(_is_loopback(host) for text in texts for host in text.split(","))


def _is_loopback(host: str) -> bool:
    try:
        return host in ("", "localhost") or host.startswith("/") or ip_address(host).is_loopback
    except ValueError:
        return False


def _sha256(value: bytes | str | float | None) -> bytes | None:
    """PostgreSQL has this function, SQLite has not. In a column of SQLite's there may be anything."""
    return None if value is None else sha256(value if isinstance(value, bytes) else str(value).encode()).digest()


def _sqlite_engine(path: Path) -> Engine:
    from sqlalchemy import URL, create_engine, event

    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver would leave out BEGIN before SELECT and CREATE TABLE.
        connection.isolation_level = None
        connection.create_function("sha256", 1, _sha256, deterministic=True)
        connection.execute("pragma synchronous = full")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("saeviz_writes")
        connection.exec_driver_sql("begin immediate" if writes else "begin")

    return engine
