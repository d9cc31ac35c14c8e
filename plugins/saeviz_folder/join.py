"""Find the image that each row of a table is about."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.images import IMAGE_ENDINGS
from saeviz.toolkit.names import existing, same_form
from saeviz.toolkit.raters import long_rows
from saeviz.toolkit.ratings import choose_rating_columns, note_non_numbers
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images, wide_rows
from saeviz.toolkit.tables import Table
from saeviz_folder.scan import relative_name

if TYPE_CHECKING:
    from saeviz_folder import FolderOptions

FILE_COLUMNS = ("file", "filename", "file_name", "path", "file_path", "image", "image_path")


def join(
    table: Table, folder: Path, images: Sequence[Path], options: FolderOptions
) -> tuple[dict[Path, Row], list[str]]:
    """The row of each image that has one, in the order of the table, and notes on what did not fit.

    Raises `ConfigError` for a column that is not there, `DataError` for two rows about one image or with one
    item id, and where no row fits any image.
    """
    columns = _join_columns(table, options)
    taken = {columns.file, columns.item, columns.rater}
    of_rows = None if columns.rater is None else list(named_images(table, columns))
    chosen = choose_rating_columns(table, options.rating_columns, taken, options, of_rows)
    names, notes = list(chosen.ratings), chosen.notes
    rows: Iterable[Row]
    if columns.rater is None:
        rows = wide_rows(table, columns, chosen)
    else:
        rows, names, more_notes = long_rows(table, columns, chosen, chosen=options.rating_columns is not None)
        notes += more_notes
    finder = _Finder(table.path.resolve().parent, folder, images)
    matched: dict[Path, Row] = {}
    lost: list[Row] = []
    for row in rows:
        path = finder.by_file(row.file) or finder.by_id(row)
        if path is None or (columns.item and not row.item_id):
            lost.append(row)
            continue
        if path in matched:
            raise _two_rows(columns, table, matched[path], row, f"the image {relative_name(path, folder)}")
        matched[path] = row
    _refuse_two_rows_with_one_id(columns, table, [*matched.values(), *lost])
    without_row = [relative_name(image, folder) for image in images if image not in matched]
    if not matched:
        raise _no_row_fits(table, lost[0], without_row)
    if without_row:
        have = "image has" if len(without_row) == 1 else "images have"
        notes.append(f"{len(without_row)} {have} no row in {table.path.name}: {_first_of(without_row)}")
    if lost:
        one, many = ("row of", "rows of") if columns.rater is None else ("name in", "names in")
        fit = f"{one} {table.path.name} fits" if len(lost) == 1 else f"{many} {table.path.name} fit"
        notes.append(f"{len(lost)} {fit} no image: {_first_of(lost)}")
    return matched, [*notes, *note_non_numbers(table, chosen, names)]


def _join_columns(table: Table, options: FolderOptions) -> JoinColumns:
    item, rater = (
        None if name is None else table.name_of(name, option)
        for option, name in (("item_column", options.item_column), ("rater_column", options.rater_column))
    )
    return JoinColumns(_file_column(table, options), item, rater)


def _file_column(table: Table, options: FolderOptions) -> str | None:
    if options.file_column is not None:
        return table.name_of(options.file_column, "file_column")
    if options.item_column is not None and table.unread:
        table = replace(table, unread={})
    found = table.find(FILE_COLUMNS, "file_column", "the image files")
    if found is None and options.item_column is None:
        raise saeviz.ConfigError(
            f"images.file_column: which column of {table.path.name} has the image files? None is called "
            f"{', '.join(FILE_COLUMNS)}; it has {listed(list(table.columns))}"
        )
    return found


class _Finder:
    """Looks for images by what a table calls them."""

    def __init__(self, table_folder: Path, folder: Path, images: Sequence[Path]) -> None:
        self.folders = (os.fspath(table_folder), os.fspath(folder))
        self.folder = folder
        self.images = {os.fspath(image): image for image in images}
        self.alike = {same_form(text): image for text, image in self.images.items()}

    def by_file(self, name: str) -> Path | None:
        """The image file with this path from the table's folder or the images' folder."""
        if not name:
            return None
        for spelling in dict.fromkeys([name, name.replace("\\", "/")]):
            for folder in self.folders:
                # As text: a Path for each of many rows takes longer than all the rest.
                text = os.path.normpath(os.path.join(folder, spelling))  # noqa: PTH118
                image = self.images.get(text) or self.alike.get(same_form(text))
                if image is not None:
                    return image
                if os.path.splitext(text)[1].lower() in IMAGE_ENDINGS:  # noqa: PTH122
                    text = text if text.isascii() else os.fspath(existing(Path(text)))
                    if os.path.isfile(text):  # noqa: PTH113
                        return self.images.get(os.path.realpath(text), Path(text))
        return None

    def by_id(self, row: Row) -> Path | None:
        """The image that is called like the item: by its path or its name, with or without its ending."""
        for named in self._by_name if row.item_id else ():
            found = named.get(same_form(row.item_id), [])
            if len(found) > 1:
                shown = ", ".join(str(path) for path in found[:2])
                raise saeviz.DataError(
                    f"images.item_column: {row} fits {len(found)} images ({shown}); name the files in a column "
                    "and set images.file_column"
                )
            if found:
                return found[0]
        return None

    @cached_property
    def _by_name(self) -> list[dict[str, list[Path]]]:
        ways_to_name: tuple[Callable[[Path], str], ...] = (
            lambda image: relative_name(image, self.folder),
            lambda image: relative_name(image.with_suffix(""), self.folder),
            lambda image: image.name,
            lambda image: image.stem,
        )
        all_names = []
        for name_of in ways_to_name:
            named: dict[str, list[Path]] = defaultdict(list)
            for image in sorted(self.images.values()):
                named[same_form(name_of(image))].append(image)
            all_names.append(dict(named))
        return all_names


def _refuse_two_rows_with_one_id(columns: JoinColumns, table: Table, rows: Sequence[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.number):
        if row.item_id in seen:
            raise _two_rows(columns, table, seen[row.item_id], row, f"the item {row.item_id!r}")
        if row.item_id:
            seen[row.item_id] = row


def _no_row_fits(table: Table, first: Row, images: Sequence[str]) -> saeviz.DataError:
    called = " and ".join(repr(name) for name in dict.fromkeys([first.file, first.item_id]) if name) or "nothing"
    example = f"the first image is {images[0]}" if images else "the folder holds no images"
    return saeviz.DataError(
        f"images.ratings: no row of {table.path.name} fits an image: the first names {called} (row {first.number}), "
        f"{example}; files count from the table's folder or from images.path; "
        "set images.file_column or images.item_column"
    )


def _two_rows(columns: JoinColumns, table: Table, one: Row, other: Row, about: str) -> saeviz.DataError:
    step = (
        "keep one, or name the column of the raters in images.rater_column"
        if columns.rater is None
        else "call an image the same in all of its rows"
    )
    return saeviz.DataError(
        f"images.ratings: rows {one.number} and {other.number} of {table.path.name} are both about {about}; {step}"
    )


def _first_of(things: Sequence[object]) -> str:
    return ", ".join(str(thing) for thing in things[:3]) + (", ..." if len(things) > 3 else "")
