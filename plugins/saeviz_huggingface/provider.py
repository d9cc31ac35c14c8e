"""The image provider `huggingface`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.cells import Cell, cell_text, listed
from saeviz.toolkit.files import real_path
from saeviz.toolkit.ratings import Columns, choose_rating_columns, note_non_numbers
from saeviz.toolkit.sources import FileSource
from saeviz.toolkit.tables import Table
from saeviz_huggingface.loading import is_local, load

if TYPE_CHECKING:
    from datasets import ClassLabel, Dataset

    from saeviz_huggingface import HuggingFaceOptions


class HuggingFaceImages:
    """The rows of a data set, in order. They stay on disk; only columns without images are read in advance.

    Class labels (by name) and text are metadata; lists and structures in a row are left out.
    """

    def __init__(self, options: HuggingFaceOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        row = self._rows.get(item_id)
        return None if row is None else self._item(item_id, row)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, not decoded; with `filter_labeled` only those that have a rating."""
        items = (self._item(item_id, row) for item_id, row in self._rows.items())
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> Sequence[str]:
        """Notes on the columns for the user."""
        return [*self._columns.notes, *note_non_numbers(self._table, self._columns)]

    @cached_property
    def _data(self) -> Dataset:
        data = load(self.options, self.context)
        return data if data._indices is None else data.flatten_indices()

    @cached_property
    def _image_column(self) -> str:
        from datasets import Image

        columns = {str(name): feature for name, feature in self._data.features.items()}
        with_images = [name for name, feature in columns.items() if isinstance(feature, Image)]
        named = self.options.image_column
        if named is None and len(with_images) == 1:
            return with_images[0]
        if named is not None and named in with_images:
            return named
        problem = "say which one" if named is None else f"{named!r} is not one of them"
        have = f"images are in {', '.join(with_images)}" if with_images else "no column has images"
        raise saeviz.ConfigError(f"images.image_column: {problem}; {have}, the columns are {listed(list(columns))}")

    @cached_property
    def _pictures(self) -> Dataset:
        """The column of images, undecoded."""
        from datasets import Image

        return self._data.select_columns([self._image_column]).cast_column(self._image_column, Image(decode=False))

    @cached_property
    def _files(self) -> list[str | None]:
        """For each row the file of the picture, None where its bytes are in the data set. Reads no bytes."""
        import pyarrow.compute as pc

        pictures = self._pictures.data.column(self._image_column)
        paths = pc.struct_field(pictures, "path").to_pylist()
        inside = pc.is_valid(pc.struct_field(pictures, "bytes")).to_pylist()
        return [None if has_bytes or not path else path for path, has_bytes in zip(paths, inside, strict=True)]

    @cached_property
    def _table(self) -> Table:
        """The columns of numbers and texts, and of lists those that are labels."""
        from datasets import ClassLabel, LargeList, List, Value

        features = dict(self._data.features)
        lists = {
            name: features[name].feature
            for name in self.options.multi_labels
            if isinstance(features.get(name), List | LargeList)
        }
        features |= lists
        names = [name for name, feature in features.items() if isinstance(feature, Value | ClassLabel)]
        columns = self._data.select_columns(names)[:] if names else {}
        for name in names:
            if isinstance(features[name], ClassLabel):
                columns[name] = [class_name(features[name], cell) for cell in columns[name]]
            elif "binary" in features[name].dtype:
                del columns[name]
        return Table(Path(self.options.path), columns, range(len(self._data)))

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The row of each item."""
        column = self.options.item_column
        given = self._table.column(column, "item_column") if column else range(len(self._data))
        rows: dict[str, int] = {}
        for row, cell in enumerate(given):
            item_id = cell_text(cell)
            if not item_id:
                raise saeviz.DataError(f"images.item_column: row {row} has nothing in {column!r}")
            if item_id in rows:
                raise saeviz.DataError(
                    f"images.item_column: rows {rows[item_id]} and {row} are both called {item_id!r}; "
                    "remove the option to number the items"
                )
            rows[item_id] = row
        return rows

    @cached_property
    def _columns(self) -> Columns:
        """The columns of ratings and of metadata."""
        if not self._table.columns and not any(self.options.named_columns()):
            return Columns({}, [])
        options = self.options
        return choose_rating_columns(self._table, options.rating_columns, {options.item_column}, options)

    def _item(self, item_id: str, row: int) -> saeviz.ImageItem:
        columns = self._columns
        known = columns.known({name: self._table.columns[name][row] for name in columns.read})
        file = self._files[row]
        if file is not None and self._may_open(Path(file)):
            return saeviz.ImageItem(item_id, Path(file), **known)
        source = FileSource(item_id, partial(self._file, item_id, row))
        return saeviz.ImageItem(item_id, source, **known, version=f"{self._data._fingerprint}-{row}")

    def _file(self, item_id: str, row: int) -> bytes:
        (picture,) = self._pictures[row].values()
        data: bytes | None = picture and picture["bytes"]
        if data is None:
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: row {row} has no picture")
        return data

    def _may_open(self, file: Path) -> bool:
        """Whether a row may use this file; a data set from the hub may use only files that came with it."""
        return file.is_absolute() and (
            self._is_local or any(real_path(file).is_relative_to(place) for place in _caches())
        )

    @cached_property
    def _is_local(self) -> bool:
        return is_local(self.options.path)


def class_name(classes: ClassLabel, cell: Cell) -> Cell:
    """The name of a class by its number, or the names of several; None if there is none."""
    if isinstance(cell, list):
        return [class_name(classes, part) for part in cell]
    return None if cell is None or cell < 0 else classes.int2str(cell)


def _caches() -> list[Path]:
    from datasets import config

    return [real_path(Path(place)) for place in (config.HF_DATASETS_CACHE, config.HF_CACHE_HOME)]
