"""A folder of images, joined with a table of ratings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.images import IMAGE_ENDINGS
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table_rows import Row
from saeviz.toolkit.tables import read_table
from saeviz_folder.join import join
from saeviz_folder.scan import find_images, relative_name

if TYPE_CHECKING:
    from saeviz_folder import FolderOptions


class FolderImages:
    """The image files below a folder, in the order of their paths; then those that only the table names.

    An item's id is the file's path from the folder (`a/b.jpg`, in NFC), or what the table says in `item_column`. A
    table may name files anywhere (`../images/x.jpg`), but only files with the extension of an image count.
    Columns of the table that are not ratings become metadata. Nothing is read before the first call.
    """

    def __init__(self, options: FolderOptions, context: saeviz.Context) -> None:  # noqa: ARG002
        self.options = options

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        return self._catalogue.items.get(item_id)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, not decoded; with `filter_labeled` only those that have a rating.

        Raises `DataError` if there are none, or where no row of the table fits an image.
        """
        items = self._catalogue.items.values()
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> Sequence[str]:
        """What did not fit: images without a row, rows without an image, cells that are not numbers."""
        return self._catalogue.notes

    @cached_property
    def _catalogue(self) -> _Catalogue:
        return _make_catalogue(self.options)


@dataclass(frozen=True)
class _Catalogue:
    items: Mapping[str, saeviz.ImageItem]
    notes: Sequence[str]


def _make_catalogue(options: FolderOptions) -> _Catalogue:
    folder = _existing_folder(options.path)
    found = find_images(folder)
    if found.runs == [folder]:
        raise saeviz.DataError(f"images.path: {folder} is a run directory of saeviz, not a folder of images")
    notes = list(found.notes([options.ratings] if options.ratings else []))
    rows: dict[Path, Row] = {}
    if options.ratings is not None:
        table = read_table(options.ratings, lists=options.multi_labels)
        rows, more_notes = join(table, folder, found.images, options)
        notes += [*table.notes, *more_notes]
    files = list(dict.fromkeys([*found.images, *rows]))
    if not files:
        looked_for = ", ".join(sorted(ending[1:] for ending in IMAGE_ENDINGS))
        raise saeviz.DataError("; ".join([f"images.path: no images in {folder} (looked for {looked_for})", *notes]))
    return _Catalogue(_make_items(files, rows, folder), notes)


def _existing_folder(path: Path) -> Path:
    try:
        if path.is_dir():
            os.scandir(path).close()
            return path.resolve()
        reason = "is a file, not a folder" if path.exists() else "does not exist"
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); change its permissions or choose another folder"
    raise saeviz.DataError(f"images.path: {path} {reason}")


def _make_items(files: Sequence[Path], rows: Mapping[Path, Row], folder: Path) -> dict[str, saeviz.ImageItem]:
    items: dict[str, saeviz.ImageItem] = {}
    for file in files:
        row = rows.get(file) or Row(0, "", "", {}, {})
        name = relative_name(file, folder)
        item_id = row.item_id or same_form(name)
        if item_id in items and not row.item_id:
            item_id = name  # two files with names that only look alike
        if item_id in items:
            other = items[item_id].source
            raise saeviz.DataError(f"two images have the id {item_id!r}: {other!s} and {file}")
        items[item_id] = saeviz.ImageItem(
            item_id, file, row.ratings, row.metadata, individual=row.individual, group=row.group
        )
    return items
