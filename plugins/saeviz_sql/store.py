"""Features in a database, a row per item and space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import saeviz
from saeviz.toolkit.rows import Row, decode_rows, encode_rows, item_id_of, key_of
from saeviz.toolkit.spaces import place_of, space_at
from saeviz_sql.database import Database, DeadlockError
from saeviz_sql.schema import WITH_CHECKSUMS, WITH_WRITERS, bring_up_to_date, known_version

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from saeviz_sql import SqlStoreOptions

IDS_AT_ONCE = 4096
ROWS_AT_ONCE = 256
"""Rows that one query gives; the largest possible, of 49,152 active features, make 75 MB."""
ATTEMPTS = 5
"""At a batch that PostgreSQL refuses because of a deadlock."""

_UPSERT = """
    insert into saeviz_features (space_id, item_id, features, activations, checksum, writer)
    values (:space, :key, :features, :activations, :checksum, :writer)
    on conflict (space_id, item_id) do update
    set features = excluded.features, activations = excluded.activations, checksum = excluded.checksum
"""
_IN_ORDER = """
    select place, item_id, features, activations, {checksum} from saeviz_features
    where space_id = :space and place > :after {unnamed} order by place limit :limit
"""
_BY_ID = """
    select item_id, item_id, features, activations, {checksum} from saeviz_features
    where space_id = :space and item_id > :after and writer is not null order by item_id limit :limit
"""
"""What writers with a name have written, whichever of them, and in whatever order."""
_THESE_ROWS = """
    select item_id, features, activations, {checksum} from saeviz_features where space_id = :space and item_id in :keys
"""
_IDS_IN_ORDER = "select item_id from saeviz_features where space_id = :space {unnamed} order by place"
_IDS_BY_ID = "select item_id from saeviz_features where space_id = :space and writer is not null order by item_id"
_ADD_SPACE = """
    insert into saeviz_spaces (run, layer, tokens, n_features) values (:run, :layer, :tokens, :n_features)
    on conflict (run, layer, tokens) do nothing
"""
_SPACE = "select id, n_features from saeviz_spaces where run = :run and layer = :layer and tokens = :tokens"
_SPACES = "select layer, tokens, n_features from saeviz_spaces where run = :run"
_CLEAR = (
    "delete from saeviz_features where space_id in (select id from saeviz_spaces where run = :run)",
    "delete from saeviz_spaces where run = :run",
)


class SqlStore(saeviz.OneItemStore):
    """The tables `saeviz_spaces` and `saeviz_features` of one database; several runs may share them.

    Every `write` is one transaction. Several processes may read, and write, at the same time; an item that is written
    again keeps its place in the order. A writer with a name may be at work twice.
    """

    def __init__(self, options: SqlStoreOptions, context: saeviz.Context) -> None:
        self._database = Database("store", options.url, options.path or context.workdir / "features.sqlite", context)
        self._run = options.run or "default"
        self._writer: str | None = None
        self._version = 0
        self._is_current = False

    def writer(self, name: str) -> Self:
        """The same store for the writer `name`; see `saeviz.ManyWriters`. It has connections of its own."""
        other = copy(self)
        other._database, other._writer = self._database.again(), name
        return other

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a batch completely or not at all; an existing item is replaced.

        Raises `DataError` if the store has this layer and tokens with another number of features.
        """
        if not len(batch):
            return
        self._make_tables()
        rows = [{**row._asdict(), "writer": self._writer} for row in encode_rows(batch)]
        if self._writer is not None:  # in one order, so that writers of the same items do not wait for one another
            rows.sort(key=lambda row: row["key"])
        for left in reversed(range(ATTEMPTS)):
            try:
                self._upsert(batch.space, rows)
                break
            except DeadlockError:
                if not left:
                    raise

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Stream the batches of a space; with `item_ids` exactly these, in this order."""
        number = None
        if self._has_tables:
            with self._database.reading() as connection:
                number = self._space(connection, space)
        if item_ids is not None:
            for start in range(0, len(item_ids), ROWS_AT_ONCE):
                yield decode_rows(space, self._these(space, number, item_ids[start : start + ROWS_AT_ONCE]))
        elif number is not None:
            yield from self._all(space, number)

    def item_ids(self, space: saeviz.FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing; no more than some thousands are held as objects."""
        from sqlalchemy import text

        if not self._has_tables:
            return saeviz.Texts.of(())
        with self._database.reading() as connection:
            number = self._space(connection, space)
            queries = [_IDS_IN_ORDER, _IDS_BY_ID] if self._has_writers else [_IDS_IN_ORDER]
            few = connection.execution_options(yield_per=IDS_AT_ONCE)
            found = (few.execute(text(self._query(query)), {"space": number}).scalars() for query in queries)
            return saeviz.Texts.of(item_id_of(key) for keys in found for key in keys)

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces of this run, sorted."""
        from sqlalchemy import text

        if not self._has_tables:
            return []
        with self._database.reading() as connection:
            return sorted(space_at(*row) for row in connection.execute(text(_SPACES), {"run": self._run}))

    def clear(self) -> None:
        """Remove everything of this run; other runs in the database are not affected."""
        from sqlalchemy import text

        if not self._has_tables:
            return
        with self._database.writing() as connection:
            for statement in _CLEAR:
                connection.execute(text(statement), {"run": self._run})

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    @property
    def _has_tables(self) -> bool:
        """Whether anything was ever written; looking makes no file, and no tables in somebody else's database.

        Tables of an earlier version are read as they are.
        """
        if not self._version and self._database.is_there:
            self._version = known_version(self._database)
        return self._version > 0

    def _make_tables(self) -> None:
        """To write; those of an earlier version are migrated."""
        if not self._is_current:
            self._database.make_folder()
            self._version = bring_up_to_date(self._database)
            self._is_current = True

    @property
    def _has_writers(self) -> bool:
        return self._version >= WITH_WRITERS

    def _query(self, template: str) -> str:
        return template.format(
            checksum="checksum" if self._version >= WITH_CHECKSUMS else "null",
            unnamed="and writer is null" if self._has_writers else "",
        )

    def _upsert(self, space: saeviz.FeatureSpace, rows: Sequence[dict[str, Any]]) -> None:
        from sqlalchemy import text

        with self._database.writing() as connection:
            number = self._space_to_write(connection, space)
            connection.execute(text(_UPSERT), [{"space": number, **row} for row in rows])

    def _found_space(self, connection: Connection, space: saeviz.FeatureSpace) -> _Space | None:
        from sqlalchemy import text

        names = {"run": self._run, **place_of(space)}
        found = connection.execute(text(_SPACE), names).one_or_none()
        return None if found is None else _Space(*found)

    def _space(self, connection: Connection, space: saeviz.FeatureSpace) -> int | None:
        found = self._found_space(connection, space)
        return found.number if found is not None and found.n_features == space.n_features else None

    def _space_to_write(self, connection: Connection, space: saeviz.FeatureSpace) -> int:
        from sqlalchemy import text

        found = self._found_space(connection, space)
        if found is None:
            values = {"run": self._run, **place_of(space), "n_features": space.n_features}
            connection.execute(text(_ADD_SPACE), values)
            found = self._found_space(connection, space)
        assert found is not None  # noqa: S101 - it was added, here or by somebody else
        if found.n_features != space.n_features:
            raise saeviz.DataError(
                f"{space}: {self._database} holds {found.n_features} features of this layer in run {self._run!r}, "
                f"not {space.n_features}; set store.run to another name for another SAE"
            )
        return found.number

    def _these(self, space: saeviz.FeatureSpace, number: int | None, item_ids: Sequence[str]) -> list[Row]:
        from sqlalchemy import bindparam, text

        if number is None and item_ids:
            raise saeviz.DataError(f"{space}: the store has no item {item_ids[0]!r}")
        keys = [key_of(item_id) for item_id in item_ids]
        query = text(self._query(_THESE_ROWS)).bindparams(bindparam("keys", expanding=True))
        with self._database.reading() as connection:
            found = {row[0]: Row(*row) for row in connection.execute(query, {"space": number, "keys": keys})}
        missing = next((item_id for item_id, key in zip(item_ids, keys, strict=True) if key not in found), None)
        if missing is not None:
            raise saeviz.DataError(f"{space}: the store has no item {missing!r}")
        return [found[key] for key in keys]

    def _all(self, space: saeviz.FeatureSpace, number: int) -> Iterator[saeviz.FeatureBatch]:
        yield from self._from(space, number, _IN_ORDER, -1)
        if self._has_writers:
            yield from self._from(space, number, _BY_ID, "")

    def _from(
        self, space: saeviz.FeatureSpace, number: int, template: str, after: int | str
    ) -> Iterator[saeviz.FeatureBatch]:
        """Each query takes up after the last row of the one before, so no connection is held in between."""
        from sqlalchemy import text

        query = text(self._query(template))
        while True:
            with self._database.reading() as connection:
                values = {"space": number, "after": after, "limit": ROWS_AT_ONCE}
                rows = connection.execute(query, values).all()
            if not rows:
                return
            after = rows[-1][0]
            yield decode_rows(space, [Row(*row[1:]) for row in rows])


class _Space(NamedTuple):
    number: int
    n_features: int
