"""The tables of the store, and how those of an earlier version become those of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import saeviz
from saeviz_sql.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "create table saeviz_schema (version integer not null)",
        "insert into saeviz_schema (version) values (0)",
        """
        create table saeviz_spaces (
            id {number} primary key,
            run text not null,
            layer integer not null,
            tokens text not null,
            n_features integer not null,
            unique (run, layer, tokens)
        )
        """,
        """
        create table saeviz_features (
            place {number} primary key,
            space_id bigint not null references saeviz_spaces (id),
            item_id text {bytewise} not null,
            features {bytes} not null,
            activations {bytes} not null,
            unique (space_id, item_id)
        )
        """,
        "create index saeviz_features_in_order on saeviz_features (space_id, place)",
    ),
    ("alter table saeviz_features add column checksum {bytes}",),
    (
        "alter table saeviz_features add column writer text",
        "drop index saeviz_features_in_order",
        "create index saeviz_features_in_order on saeviz_features (space_id, place) where writer is null",
        "create index saeviz_features_by_id on saeviz_features (space_id, item_id) where writer is not null",
    ),
)
"""Migration n makes version n + 1 of version n; an empty database has version 0. What was released stays as it is."""
WITH_CHECKSUMS = 2
"""The version from which on a row has one."""
WITH_WRITERS = 3
"""The version from which on a row says which of several writers made it."""

_SQLITE = {"number": "integer", "bytes": "blob", "bytewise": ""}
_POSTGRES = {"number": "bigint generated always as identity", "bytes": "bytea", "bytewise": 'collate "C"'}
_LOCK = 5_873_921_406_553
"""Of all who make the tables in a PostgreSQL database at the same time, one does."""


def bring_up_to_date(database: Database) -> int:
    """Make the tables, or migrate older ones, in one transaction; returns their version then.

    Raises `ConfigError` for tables that are newer.
    """
    if known_version(database) < len(MIGRATIONS):
        with database.writing() as connection:
            _migrate(connection, _POSTGRES if database.is_postgres else _SQLITE)
    return len(MIGRATIONS)


def known_version(database: Database) -> int:
    """The version of the tables, 0 where there are none.

    Raises `ConfigError` for tables that are newer, `DataError` for a SQLite file with SQL of its own about them.
    """
    with database.reading() as connection:
        if not database.is_postgres:
            _refuse_code(database, connection)
        found = _version_of(connection)
    if found > len(MIGRATIONS):
        raise saeviz.ConfigError(
            f"{database} has tables of version {found}, and this saeviz knows version {len(MIGRATIONS)}; upgrade saeviz"
        )
    return found


def _refuse_code(database: Database, connection: Connection) -> None:
    """A view or trigger of a received file would be run whenever its table is read or written, and may have no end."""
    found = connection.exec_driver_sql(
        "select type, name from sqlite_master "
        "where type in ('view', 'trigger') and lower(substr(tbl_name, 1, 7)) = 'saeviz_'"
    ).first()
    if found is not None:
        raise saeviz.DataError(
            f"{database} has a {found[0]} {found[1]!r}, which no store of saeviz has; drop it, or use another file"
        )


def _version_of(connection: Connection) -> int:
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("saeviz_schema"):
        return 0
    return int(connection.execute(text("select version from saeviz_schema")).scalar_one())


def _migrate(connection: Connection, words: dict[str, str]) -> None:
    from sqlalchemy import text

    if words is _POSTGRES:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    for migration in MIGRATIONS[_version_of(connection) :]:
        for statement in migration:
            connection.exec_driver_sql(statement.format_map(words))
    connection.execute(text("update saeviz_schema set version = :version"), {"version": len(MIGRATIONS)})
