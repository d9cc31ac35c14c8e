"""The feature store `duckdb` for saeviz: features in one DuckDB file that you can query with SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import saeviz
from saeviz.toolkit.rows import Row, decode_rows, encode_rows, item_id_of, key_of

BATCH = 256
"""Images that `read` yields at once, which bounds memory."""
TABLE = """
CREATE SEQUENCE IF NOT EXISTS places;
CREATE TABLE IF NOT EXISTS features (
    space TEXT, n_features INTEGER, item TEXT, place BIGINT DEFAULT nextval('places'),
    features BLOB, activations BLOB, checksum BLOB, PRIMARY KEY (space, item)
)
"""
WRITE = """
INSERT INTO features (space, n_features, item, features, activations, checksum)
SELECT ?, ?, unnest(?), unnest(?), unnest(?), unnest(?)
ON CONFLICT DO UPDATE SET
    features = excluded.features, activations = excluded.activations, checksum = excluded.checksum
"""


class DuckDBOptions(saeviz.Options):
    """Options of `duckdb`, as they are written in a run file."""

    path: Annotated[Path | None, saeviz.PATH] = Field(
        default=None, description="DuckDB file; by default in the run directory"
    )


class DuckDBStore(saeviz.OneItemStore):
    """A row for each image and space. A batch is one statement, so a crash loses all of it or nothing."""

    def __init__(self, options: DuckDBOptions, context: saeviz.Context) -> None:
        self._path = options.path or context.workdir / "features.duckdb"
        self._option = context.option("path")
        self._database: Any = None

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a batch; an image that is already stored keeps its place."""
        for space in self.spaces():
            if str(space) == str(batch.space) and space != batch.space:
                raise saeviz.DataError(f"{space}: the store has {space.n_features} features; use an empty one")
        columns = [list(column) for column in zip(*encode_rows(batch), strict=True)]
        if columns:
            self._connect()
            self._rows(WRITE, str(batch.space), batch.space.n_features, *columns)

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Batches of a space; with `item_ids` of exactly these images, in this order."""
        wanted = iter(self.item_ids(space) if item_ids is None else item_ids)
        query = (
            "SELECT item, features, activations, checksum FROM features "
            "WHERE (space, n_features) = (?, ?) AND item IN (SELECT unnest(?))"
        )
        while chunk := [key_of(item_id) for item_id in islice(wanted, BATCH)]:
            found = {row[0]: Row(*row) for row in self._rows(query, str(space), space.n_features, chunk)}
            if absent := [key for key in chunk if key not in found]:
                raise saeviz.DataError(f"{space}: the store has no item {item_id_of(absent[0])!r}")
            yield decode_rows(space, [found[key] for key in chunk])

    def item_ids(self, space: saeviz.FeatureSpace) -> list[str]:
        """The images stored for a space, in the order of writing."""
        query = "SELECT item FROM features WHERE (space, n_features) = (?, ?) ORDER BY place"
        return [item_id_of(key) for (key,) in self._rows(query, str(space), space.n_features)]

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces with at least one image."""
        return sorted(
            saeviz.FeatureSpace.parse(*row) for row in self._rows("SELECT DISTINCT space, n_features FROM features")
        )

    def clear(self) -> None:
        """Remove everything."""
        self._rows("DELETE FROM features")

    def close(self) -> None:
        """Close the file; doing so twice does no harm."""
        if self._database is not None:
            self._database.close()

    def _connect(self) -> None:
        """Open the file; only writing creates it, so a run by somebody else may name any path."""
        import duckdb

        if self._database is None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._database = duckdb.connect(self._path, config={"enable_external_access": "false"})
                self._database.execute(TABLE)
            except (OSError, duckdb.Error) as error:
                raise saeviz.DataError(f"{self._option}: {self._path} cannot be opened: {error}") from error

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Each with a cursor of its own, so that readers do not disturb each other; none before there is a file."""
        if self._database is None and not self._path.exists():
            return []
        self._connect()
        with self._database.cursor() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(query, values).fetchall()
            return rows


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """Tell saeviz what this plugin offers; nothing is opened here."""
    yield saeviz.FeatureStoreSpec(
        name="duckdb",
        summary="features in one DuckDB file that you can query with SQL",
        options=DuckDBOptions,
        factory=DuckDBStore,
        needs=("duckdb",),
        install="saeviz-duckdb",
    )
