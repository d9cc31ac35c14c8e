"""Features in the tables of a Supabase project, a row per item and space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import saeviz
from saeviz.toolkit.rows import Row, decode_rows, encode_rows, item_id_of
from saeviz.toolkit.spaces import place_of, space_at
from saeviz_supabase import SupabaseStoreOptions
from saeviz_supabase.project import Project, Record

SPACES, FEATURES = "saeviz_spaces", "saeviz_features"
MAKE_TABLES = "run the SQL that `saeviz plugins store:supabase --sql` prints in the SQL editor of the project"

BODY_BYTES = 2**20
"""Approximate size of a request in bytes; only a single row may be larger."""
ROWS_AT_ONCE = 100
"""Rows with features per request; with 800 features each they make 1 MB of JSON."""
IDS_AT_ONCE = 1000


class SupabaseStore(saeviz.OneItemStore):
    """The tables `saeviz_spaces` and `saeviz_features`; several runs share them.

    A request is one transaction, and a large batch several requests: after a crash every item is stored completely or
    not at all. The server may return fewer rows than requested; reading continues until it has them all.
    """

    def __init__(self, options: SupabaseStoreOptions, context: saeviz.Context) -> None:
        self._project = Project("store", options, context, MAKE_TABLES)
        self._run = options.run
        self._numbers: dict[saeviz.FeatureSpace, int] = {}

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a batch; an existing item is replaced, at the same position in the order.

        Raises `DataError` if the store has this layer and tokens with another number of features.
        """
        if not len(batch):
            return
        if batch.space not in self._numbers:
            self._numbers[batch.space] = self._space_to_write(batch.space)
        for rows in _bodies(encode_rows(batch)):
            body = [{"space_id": self._numbers[batch.space], **_as_json(row)} for row in rows]
            self._records(self._table(FEATURES).upsert(body, on_conflict="space_id,item_id", returning=_minimal()))

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Stream the batches of a space; with `item_ids` exactly these, in this order."""
        number = self._space(space)
        if item_ids is None:
            for records in self._pages(number, "place", "item_id", "features", "activations", limit=ROWS_AT_ONCE):
                yield decode_rows(space, [_row(record) for record in records])
            return
        places = {item_id: place for place, item_id in self._places(number)} if item_ids else {}
        missing = next((item_id for item_id in item_ids if item_id not in places), None)
        if missing is not None:
            raise saeviz.DataError(f"{space}: the store has no item {missing!r}")
        for start in range(0, len(item_ids), ROWS_AT_ONCE):
            wanted = [places[item_id] for item_id in item_ids[start : start + ROWS_AT_ONCE]]
            yield decode_rows(space, self._rows_at(space, wanted))

    def item_ids(self, space: saeviz.FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing."""
        return saeviz.Texts.of(item_id for _, item_id in self._places(self._space(space)))

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces of this run that hold at least one item, sorted."""
        records = self._records(self._table(SPACES).select("*").eq("run", self._run))
        return sorted(_as_space(record) for record in records if not self._is_empty(record["id"]))

    def clear(self) -> None:
        """Remove everything of this run; other runs in the project are not affected."""
        self._numbers.clear()
        for record in self._records(self._table(SPACES).select("id").eq("run", self._run)):
            # In parts, as the project limits how long a statement may take.
            for found in self._pages(record["id"], "place", limit=IDS_AT_ONCE):
                last = found[-1]["place"]
                deletion = self._table(FEATURES).delete(returning=_minimal()).eq("space_id", record["id"])
                self._records(deletion.lte("place", last))
            self._records(self._table(SPACES).delete(returning=_minimal()).eq("id", record["id"]))

    def close(self) -> None:
        """Close the connections."""
        self._project.close()

    def _table(self, name: str) -> Any:
        return self._project.client.table(name)

    def _records(self, query: Any) -> list[Record]:
        return self._project.records(query)

    def _found_space(self, space: saeviz.FeatureSpace) -> Record | None:
        query = self._table(SPACES).select("*").match({"run": self._run, **place_of(space)})
        return next(iter(self._records(query)), None)

    def _space(self, space: saeviz.FeatureSpace) -> int | None:
        found = self._found_space(space)
        return found["id"] if found is not None and found["n_features"] == space.n_features else None

    def _space_to_write(self, space: saeviz.FeatureSpace) -> int:
        found = self._found_space(space)
        if found is not None and found["n_features"] != space.n_features and self._is_empty(found["id"]):
            self._records(self._table(SPACES).delete(returning=_minimal()).eq("id", found["id"]))
            found = None
        if found is None:
            values = {**place_of(space), "n_features": space.n_features}
            insertion = self._table(SPACES).upsert(
                [{"run": self._run, **values}],
                on_conflict="run,layer,tokens",
                ignore_duplicates=True,
                returning=_minimal(),
            )
            self._records(insertion)
            found = self._found_space(space)
        if found is None:
            raise saeviz.ConfigError(f"store.run: {self._run!r} is the run of another user; choose another name")
        if found["n_features"] != space.n_features:
            raise saeviz.DataError(
                f"{space}: the project holds {found['n_features']} features of this layer in run {self._run!r}, "
                f"not {space.n_features}; set store.run to another name for another SAE"
            )
        return int(found["id"])

    def _is_empty(self, number: int) -> bool:
        return not self._records(self._table(FEATURES).select("place").eq("space_id", number).limit(1))

    def _places(self, number: int | None) -> Iterator[tuple[int, str]]:
        """Place and id of every item, in order."""
        for records in self._pages(number, "place", "item_id", limit=IDS_AT_ONCE):
            for record in records:
                yield record["place"], item_id_of(record["item_id"])

    def _pages(self, number: int | None, *columns: str, limit: int) -> Iterator[list[Record]]:
        """The rows of a space in order. Each request takes up after the last row of the one before."""
        after = -1
        while number is not None:
            query = self._table(FEATURES).select(*columns).eq("space_id", number).gt("place", after)
            records = self._records(query.order("place").limit(limit))
            if not records:
                return
            after = records[-1]["place"]
            yield records

    def _rows_at(self, space: saeviz.FeatureSpace, places: Sequence[int]) -> list[Row]:
        found: dict[int, Row] = {}
        while left := [place for place in places if place not in found]:
            query = self._table(FEATURES).select("place", "item_id", "features", "activations").in_("place", left)
            records = self._records(query)
            if not records:
                raise saeviz.DataError(f"{space}: items were removed while they were read; run again")
            found |= {record["place"]: _row(record) for record in records}
        return [found[place] for place in places]


def _bodies(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows that make requests of about `BODY_BYTES`."""
    waiting: list[Row] = []
    size = 0
    for row in rows:
        bytes_needed = 2 * len(row.features) + 2 * len(row.activations) + 6 * len(row.key) + 100
        if waiting and size + bytes_needed > BODY_BYTES:
            yield waiting
            waiting, size = [], 0
        waiting.append(row)
        size += bytes_needed
    if waiting:
        yield waiting


def _as_json(row: Row) -> Record:
    return {
        "item_id": row.key,
        "features": f"\\x{row.features.hex()}",
        "activations": f"\\x{row.activations.hex()}",
    }


def _row(record: Record) -> Row:
    features, activations = (bytes.fromhex(record[name].removeprefix("\\x")) for name in ("features", "activations"))
    return Row(record["item_id"], features, activations)


def _as_space(record: Record) -> saeviz.FeatureSpace:
    return space_at(record["layer"], record["tokens"], record["n_features"])


def _minimal() -> Any:
    from postgrest.types import ReturnMethod

    return ReturnMethod.minimal
