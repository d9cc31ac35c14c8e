"""Find the rating columns of a table and how their numbers are written, and check names of ratings in options."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TypedDict

import saeviz
from saeviz.toolkit.cells import Cell, is_missing, kind_of_column, metadata_text, shown
from saeviz.toolkit.column_names import is_count, is_id, is_row_number, is_time, is_unnamed, statistics
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.toolkit.levels import Levels, Order, choose_levels
from saeviz.toolkit.numbers import Reading, Survey, commas, has_number, missing_codes
from saeviz.toolkit.reasons import Reasons
from saeviz.toolkit.tables import Table

_CHANGE = "name them in images.rating_columns to change that"


def read_numbers(cells: Sequence[Cell]) -> list[float | None]:
    """The numbers of a column, None for a cell without one.

    Whether commas or points are decimal is decided from the column as a whole.
    """
    reading = Survey.of(cells).reading(None) or Reading()
    return [reading.number(cell) for cell in cells]


MOST_NAMED = 40
"""In a message; categories may give hundreds of ratings."""


def check_names(names: Iterable[str], known: Collection[str], place: str, kind: str = "rating") -> None:
    """Raise `ConfigError` for a name that is not in `known`; the message suggests the closest one."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            some = ", ".join(map(repr, list(known)[:MOST_NAMED]))
            more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {some or 'none'}{more}"
            raise saeviz.ConfigError(f"{place}: the images have no {kind} {name!r}; {hint}")


class Known(TypedDict):
    """What a record says of its image, by the fields of `ImageItem`."""

    ratings: dict[str, float]
    metadata: dict[str, str]
    group: str | None


@dataclass(frozen=True)
class Columns:
    """The columns of a table or query, sorted into ratings and metadata.

    `ratings` are the rating columns and how their numbers are written, `metadata` those that may be metadata, `group`
    the one that says which group an image belongs to, `levels` those of categories and labels, which give ratings, too.
    """

    ratings: Mapping[str, Reading | Order]
    metadata: Sequence[str]
    notes: list[str] = field(default_factory=list)
    group: str | None = None
    levels: Sequence[Levels] = ()

    @property
    def read(self) -> list[str]:
        """The columns from which something is made."""
        further = [*(levels.column for levels in self.levels), *([] if self.group is None else [self.group])]
        return list(dict.fromkeys([*self.ratings, *self.metadata, *further]))

    def known(self, record: Mapping[str, Cell]) -> Known:
        """What one record says of its image; what is missing is left out."""
        ratings, metadata = self.split(record)
        group = None if self.group is None else metadata_text(record[self.group]) or None
        return {"ratings": ratings, "metadata": metadata, "group": group}

    def split(self, record: Mapping[str, Cell]) -> tuple[dict[str, float], dict[str, str]]:
        """The ratings and the metadata of one record, without missing values."""
        numbers = {name: reading.number(record[name]) for name, reading in self.ratings.items()}
        ratings = {name: number for name, number in numbers.items() if number is not None}
        for levels in self.levels:
            ratings |= levels.targets(record[levels.column])
        texts = {name: metadata_text(record[name]) for name in self.metadata}
        return ratings, {name: text for name, text in texts.items() if text}


def choose_rating_columns(
    table: Table,
    named: Sequence[str] | None,
    join_columns: Collection[str | None],
    options: ColumnOptions | None = None,
    images: Sequence[Hashable] | None = None,
) -> Columns:
    """Find the rating and metadata columns of a table, see `choose`.

    Raises `ConfigError` for a named column that does not exist.
    """
    if named is not None:
        named = [table.name_of(name, "rating_columns") for name in named]
    if options is not None:
        options = _with_names_of(table, options)
    return choose(table.columns, named, join_columns, table.path.name, table.delimiter, options, images)


def _with_names_of(table: Table, options: ColumnOptions) -> ColumnOptions:
    names = {pair: table.name_of(pair[1], pair[0]) for pair in options.named_columns()}
    changed = {
        option: tuple(names[option, name] for name in getattr(options, option))
        for option in ("categories", "multi_labels")
    }
    ordinals = {names["ordinals", name]: levels for name, levels in options.ordinals.items()}
    group = options.group_column and names["group_column", options.group_column]
    return options.model_copy(update={**changed, "ordinals": ordinals, "group_column": group})


def choose(
    columns: Mapping[str, Sequence[Cell]],
    named: Sequence[str] | None,
    taken: Collection[str | None],
    where: str,
    delimiter: str = "",
    options: ColumnOptions | None = None,
    images: Sequence[Hashable] | None = None,
) -> Columns:
    """Find the rating and metadata columns among `columns`, ignoring those in `taken`.

    If `named` is given, exactly these are ratings; raises `ConfigError` if one holds no numbers. Otherwise a column is
    a rating if most of its filled cells are numbers, unless it is a row number, an id, a time or a statistic of another
    column (spread, count, median, interval), contains what looks like a code for missing values, or has another use in
    `options`. A note names every other column that has numbers but is not a rating. `where` is the name of the table in
    messages. `images` gives the image of each row, if an image can have several rows.
    """
    options = options or ColumnOptions()
    levels, orders, level_notes = choose_levels(columns, options, where, images)
    free = {name: cells for name, cells in columns.items() if name not in taken}
    chosen = (
        _choose_by_looks(free, where, delimiter, options)
        if named is None
        else _choose_named(columns, free, named, where, commas(map(Survey.of, free.values()), delimiter))
    )
    return replace(
        chosen,
        ratings={**chosen.ratings, **orders},
        metadata=[name for name in chosen.metadata if name not in orders],
        notes=[*chosen.notes, *(f"{where}: {note}" for note in level_notes)],
        group=options.group_column,
        levels=levels,
    )


def _choose_by_looks(free: Mapping[str, Sequence[Cell]], where: str, delimiter: str, options: ColumnOptions) -> Columns:
    described = {name for _, name in options.named_columns()}
    surveys = {name: Survey.of(cells) for name, cells in free.items() if name not in described}
    comma = commas(surveys.values(), delimiter)
    reasons = Reasons()
    found: dict[str, Reading] = {}
    numeric = [name for name, survey in surveys.items() if survey.numbers]
    about = statistics(numeric)
    for name, survey in surveys.items():
        reading = _reading(name, free[name], survey, comma, about, reasons)
        if reading is not None and len(numeric) > 1 and is_count(name, _numbers(reading, free[name])):
            reasons.statistics[name], reading = "", None
        if reading is not None:
            found[name] = reading
    notes = list(reasons.notes())
    if not found and described <= {options.group_column}:
        notes.append(f"no column looks like a rating; {_CHANGE}")
    return Columns(found, _metadata(free, found), [f"{where}: {note}" for note in notes])


def _choose_named(
    columns: Mapping[str, Sequence[Cell]],
    free: Mapping[str, Sequence[Cell]],
    named: Sequence[str],
    where: str,
    comma: bool | None,
) -> Columns:
    ratings = {name: _named(name, columns[name], where, comma) for name in named}
    notes = []
    for name, reading in ratings.items():
        codes = missing_codes(_numbers(reading, columns[name]))
        if codes:
            notes.append(
                f"{where}: {name!r} has {_times(codes)}, which looks like a code for a missing value; "
                "it counts as a number"
            )
    return Columns(ratings, _metadata(free, ratings), notes)


def note_non_numbers(table: Table, columns: Columns, names: Iterable[str] | None = None) -> Iterator[str]:
    """Notes about the cells of rating columns that are neither numbers nor missing."""
    for name in columns.ratings if names is None else names:
        yield from non_numbers(name, columns.ratings[name], table.columns[name], table.path.name, table.rows)


def non_numbers(
    name: str, reading: Reading | Order, cells: Sequence[Cell], where: str, rows: Sequence[int] | None = None
) -> Iterator[str]:
    """A note if cells of a rating column are neither numbers nor missing; `rows` are the row numbers of the cells."""
    wrong = [place for place, cell in enumerate(cells) if not is_missing(cell) and reading.number(cell) is None]
    if not wrong:
        return
    one, many = ("one of its levels", "among its levels")
    if isinstance(reading, Reading):
        one, many = ("a finite number", "finite numbers")
    if len(wrong) == 1:
        what = f"1 value of {name!r} is not {one} and counts as missing:"
    else:
        what = f"{len(wrong)} values of {name!r} are not {many} and count as missing, first"
    place = f" in row {rows[wrong[0]]}" if rows is not None else ""
    yield f"{where}: {what} {shown(cells[wrong[0]])}{place}"


def _reading(
    name: str, cells: Sequence[Cell], survey: Survey, comma: bool | None, about: Mapping[str, str], reasons: Reasons
) -> Reading | None:
    """How the numbers of a rating are written; None, with a reason added to `reasons`, if it is not a rating."""
    if kind := kind_of_column(cells):
        reasons.unread[name] = kind
        return None
    if not survey.numbers:
        _look_for_spellings(name, cells, survey, reasons)
        return None
    reading = survey.reading(comma)
    numbers = _numbers(reading or Reading(), cells)
    mostly = 2 * len(numbers) > survey.filled
    if mostly and is_row_number(name, numbers):
        reasons.row_numbers.append(name)
    elif mostly and is_id(name, numbers):
        reasons.ids.append(name)
    elif mostly and is_time(name, numbers):
        reasons.times.append(name)
    elif mostly and name in about:
        reasons.statistics[name] = about[name]
    elif reading is None:
        reasons.unclear[name] = shown(next(cell for cell in cells if isinstance(cell, str) and "," in cell))
    elif survey.labelled == survey.numbers:
        reasons.labelled[name] = shown(next(cell for cell in cells if reading.number(cell) is not None))
    elif not mostly:
        other = next((c for c in cells if not is_missing(c) and reading.number(c) is None), None)
        example = "" if other is None else f", others are like {shown(other)}"
        reasons.partly[name] = f"{len(numbers)} of {survey.filled} values are numbers{example}"
    elif codes := missing_codes(numbers):
        reasons.codes[name] = _times(codes)
    else:
        return reading
    return None


def _numbers(reading: Reading, cells: Sequence[Cell]) -> list[float]:
    return [number for number in map(reading.number, cells) if number is not None]


def _look_for_spellings(name: str, cells: Sequence[Cell], survey: Survey, reasons: Reasons) -> None:
    """Add to `reasons` if a column without numbers is empty or has numbers in unsupported spellings."""
    if not survey.filled and not is_unnamed(name):
        reasons.empty.append(name)
    like = [cell for cell in cells if has_number(cell)]
    if 2 * len(like) > survey.filled:
        reasons.spelling[name] = shown(like[0])


def _named(name: str, cells: Sequence[Cell], where: str, comma: bool | None) -> Reading:
    """How the numbers of a column named by the user are written. Raises `ConfigError` if that is ambiguous."""
    survey = Survey.of(cells)
    if survey.numbers == 0:
        first = next((cell for cell in cells if not is_missing(cell)), cells[0] if cells else None)
        raise saeviz.ConfigError(
            f"images.rating_columns: {name!r} of {where} has no numbers; its first value is {shown(first)}"
        )
    reading = survey.reading(comma)
    if reading is None:
        example = shown(next(cell for cell in cells if isinstance(cell, str) and "," in cell))
        raise saeviz.ConfigError(
            f"images.rating_columns: {name!r} of {where} has numbers such as {example}, which may be a decimal or "
            f"a thousands separator; write them with a decimal point and without thousands separators"
        )
    return reading


def _metadata(columns: Mapping[str, Sequence[Cell]], ratings: Collection[str]) -> list[str]:
    return [
        name
        for name, cells in columns.items()
        if name not in ratings and not is_unnamed(name) and not kind_of_column(cells)
    ]


def _times(codes: Mapping[int, int]) -> str:
    return " and ".join(f"{code} ({'once' if count == 1 else f'{count} times'})" for code, count in codes.items())
