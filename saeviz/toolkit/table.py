"""A table read from a file of any format."""

from __future__ import annotations

import csv
import difflib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import saeviz
from saeviz.toolkit.cells import Cell, listed
from saeviz.toolkit.names import same_form
from saeviz.values.regular import reason_of

IMAGE_COLUMNS = ("file", "filename", "file_name", "path", "file_path", "image", "image_path", "url", "image_url")
"""Default names of the column of images, if no option names it."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length. `rows` are the row numbers as a user sees them, for messages.

    `unread` maps columns of lists, structures or bytes, which are not read, to the kind of their values. `notes` are
    messages for the user; `delimiter` is '' unless the table was delimited text.
    """

    path: Path
    columns: Mapping[str, list[Cell]]
    rows: Sequence[int]
    notes: list[str] = field(default_factory=list)
    unread: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, place: int) -> Table:
        """The table with one of its rows."""
        return self.take([place])

    def take(self, places: Sequence[int]) -> Table:
        """The table with the rows at these places only."""
        cells = {name: [column[place] for place in places] for name, column in self.columns.items()}
        return replace(self, columns=cells, rows=[self.rows[place] for place in places])

    def name_of(self, name: str, option: str) -> str:
        """The name of the column that `option` names, as in `columns`; raises `ConfigError` if it does not exist."""
        if same_form(name) in self.columns:
            return same_form(name)
        if name in self.columns:
            return name
        if name in self.unread:
            raise saeviz.ConfigError(
                f"images.{option}: the column {name!r} of {self.path.name} holds {self.unread[name]}, "
                f"which are not read{_next_step(self.unread[name])}"
            )
        close = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {listed(list(self.columns))}"
        raise saeviz.ConfigError(f"images.{option}: {self.path.name} has no column {name!r}; {hint}")

    def column(self, name: str, option: str) -> list[Cell]:
        """The column that `option` names; raises `ConfigError` if it does not exist."""
        return self.columns[self.name_of(name, option)]

    def find(self, names: Sequence[str], option: str, what: str) -> str | None:
        """The first of these columns that exists, ignoring case; None if there is none.

        Raises `ConfigError` if such a column exists but is not read; `what` says in the message what it should name.
        """
        by_lower = {name.lower(): name for name in reversed(list(self.columns))}
        exact = (name if name in self.columns else by_lower.get(name) for name in names)
        found = next(filter(None, exact), None)
        if found is None:
            for name, kind in self.unread.items():
                if name.lower() in names or kind == "pictures":
                    raise saeviz.ConfigError(
                        f"images.{option}: {self.path.name} has no column that names {what}; {name!r} holds "
                        f"{kind}{_next_step(kind)}"
                    )
        return found


@contextmanager
def explained(path: Path, option: str) -> Iterator[None]:
    """What goes wrong in reading a table as `DataError`; `option` is the option that named it."""
    try:
        yield
    except FileNotFoundError as error:
        raise saeviz.DataError(f"{option}: no file {path}") from error
    except (OSError, EOFError, ValueError, csv.Error, RecursionError, NotImplementedError, zlib.error) as error:
        raise saeviz.DataError(f"{option}: {path} cannot be read: {reason_of(error)}") from error


def refuse_doubles(names: Iterable[str]) -> None:
    """Raise `ValueError` if two columns have the same name, up to Unicode normalisation."""
    if (name := twice(map(same_form, names))) is not None:
        raise ValueError(f"two columns are called {name!r}")


def twice(names: Iterable[str]) -> str | None:
    """The first name that occurs more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _next_step(kind: str) -> str:
    return (
        ', as data sets on the Hugging Face hub do; images.use = "table" with images.stream = true reads them'
        if kind == "pictures"
        else ""
    )
