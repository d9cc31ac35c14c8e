"""The rows of a streamed table by image: one for each image, or several, one for each of its raters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

from saeviz.toolkit.id_places import Ids
from saeviz.toolkit.raters import read_more
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.table import Table
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images, wide_rows
from saeviz.toolkit.table_stream import Part, TableStream
from saeviz.values.errors import DataError

IdOf = Callable[[str, str], str]
"""The id of the image by what a row has in the columns of names and of ids, '' if it names none."""


class WideRows:
    """A table with a row for each image."""

    def __init__(self, stream: TableStream, join: JoinColumns, columns: Columns, id_of: IdOf) -> None:
        self.stream, self.join, self.columns, self.id_of = stream, join, columns, id_of
        self.naming = frozenset(name for name in (join.file, join.item) if name is not None)
        self.wanted = self.naming.union(columns.read, [] if join.rater is None else [join.rater])

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of the table. Raises `DataError` if it has none."""
        parts = list(self.stream.parts())
        if not parts:
            raise DataError(f"{self.stream.option}: {self.stream.path} has no rows")
        return parts

    def rows(self, place: int) -> Iterator[Row]:
        """The rows of a part."""
        for table in self.stream.tables(self.parts[place], self.wanted):
            yield from wide_rows(table, self.join, self.columns)

    def row(self, place: int, number: int) -> Row | None:
        """The row of a part with this number."""
        return self._row(place, number, self.columns)

    def find(self, item_id: str) -> Iterator[tuple[int, Row]]:
        """The row of the image with this id and the part that it is in, and perhaps other rows."""
        for place, number in self._ids.find(item_id):
            row = self.row(place, number)
            if row is not None:
                yield place, row

    @cached_property
    def _ids(self) -> Ids:
        return Ids((self.id_of(*name), place, number) for place, number, name in self._named())

    def _named(self) -> Iterator[tuple[int, int, tuple[str, str]]]:
        """The part of each row, its number, and what it calls its image: by name and by id."""
        for place, part in enumerate(self.parts):
            for table in self.stream.tables(part, self.naming):
                for number, name in zip(table.rows, named_images(table, self.join), strict=True):
                    yield place, number, name

    def _row(self, place: int, number: int, columns: Columns) -> Row | None:
        tables = self.stream.tables(self.parts[place], self.naming.union(columns.read))
        table = next((table for table in tables if number in table.rows), None)
        return None if table is None else next(wide_rows(table.row(table.rows.index(number)), self.join, columns))


class LongRows(WideRows):
    """A table with a row for each image and rater, in which the rows of an image stand together.

    That is looked at before the first row is given: `DataError` if the rows of another image are in between. An image
    is in the part where its first row is. `columns` and `known` are those of the first rows (see `read_long`).
    """

    def __init__(
        self, stream: TableStream, join: JoinColumns, columns: Columns, id_of: IdOf, known: Collection[str]
    ) -> None:
        super().__init__(stream, join, columns, id_of)
        self._known = known

    def rows(self, place: int) -> Iterator[Row]:
        """The images of a part."""
        for table in self._whole_images(place):
            yield from read_more(table, self.join, self.columns, self._known)

    def row(self, place: int, number: int) -> Row | None:
        """The image of a part whose first row has this number."""
        return next((row for row in self.rows(place) if row.number == number), None)

    @property
    def n_nameless(self) -> int:
        """How many rows name no image."""
        return self._looked_at[2]

    @cached_property
    def _ids(self) -> Ids:
        return self._looked_at[0]

    @cached_property
    def _looked_at(self) -> tuple[Ids, dict[int, int], int]:
        """Where the first row of each image is; by part the first row that begins an image; rows without an image."""
        firsts: dict[int, int] = {}
        n_nameless = 0

        def begins() -> Iterator[tuple[str, int, int]]:
            nonlocal n_nameless
            before: tuple[str, str] | None = None
            for place, number, name in self._named():
                if name == before:
                    continue
                item_id = self.id_of(*name)
                n_nameless += not item_id
                if item_id:
                    firsts.setdefault(place, number)
                    yield item_id, place, number
                    before = name

        ids = Ids(begins())
        self._refuse_again(ids)
        return ids, firsts, n_nameless

    def _refuse_again(self, ids: Ids) -> None:
        """Raise `DataError` for an image whose rows do not stand together, or that has two names."""
        stream = self.stream
        for places in ids.repeated():
            one, other = (self._row(*place, Columns({}, [])) for place in places)
            if one is None or other is None:
                continue
            item_id = self.id_of(one.file, one.item_id)
            if item_id != self.id_of(other.file, other.item_id):
                continue
            where = f"rows {one.number} and {other.number} of {stream.path.name}"
            if len(stream.sources) > 1:
                names = [stream.sources[self.parts[place].source].name for place, _ in places]
                where = f"row {one.number} of {names[0]} and row {other.number} of {names[1]}"
            about = f"{stream.option}: {where} are both about {item_id!r}"
            if (one.file, one.item_id) != (other.file, other.item_id):
                raise DataError(f"{about}; call an image the same in all of its rows")
            raise DataError(
                f"{about}, with rows about other images in between; sort the table by "
                f"{self.join.item or self.join.file!r}, or remove stream"
            )

    def _whole_images(self, place: int) -> Iterator[Table]:
        """The rows of the images that begin in a part, some at a time, no image in two tables."""
        held: list[Table] = []
        before: tuple[str, str] | None = None
        for piece in filter(len, self._pieces(place)):
            names = list(named_images(piece, self.join))
            begins = [at for at, (one, other) in enumerate(pairwise([before, *names])) if one != other]
            if held and begins:
                yield _joined([*held, piece.take(range(begins[-1]))])
                held = []
            elif begins and begins[-1] > 0:
                yield piece.take(range(begins[-1]))
            held.append(piece.take(range(begins[-1] if begins else 0, len(names))))
            before = names[-1]
        if held:
            yield _joined(held)

    def _pieces(self, place: int) -> Iterator[Table]:
        """The rows of the images that begin in a part: those from its first on, and those of its last further on."""
        firsts = self._looked_at[1]
        if place not in firsts:
            return
        for table in self.stream.tables(self.parts[place], self.wanted):
            yield self._with_image(table, range(firsts[place], sys.maxsize))
        for further in range(place + 1, len(self.parts)):
            first = firsts.get(further)
            for table in self.stream.tables(self.parts[further], self.wanted):
                yield self._with_image(table, range(sys.maxsize if first is None else first))
                if first is not None and table.rows[-1] >= first:
                    return

    def _with_image(self, table: Table, numbers: range) -> Table:
        names = list(named_images(table, self.join))
        is_image = {name: bool(self.id_of(*name)) for name in set(names)}
        return table.take([at for at, name in enumerate(names) if table.rows[at] in numbers and is_image[name]])


def _joined(tables: Sequence[Table]) -> Table:
    first = tables[0]
    cells = {name: [cell for table in tables for cell in table.columns[name]] for name in first.columns}
    return replace(first, columns=cells, rows=[number for table in tables for number in table.rows])
