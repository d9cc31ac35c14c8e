"""Find images that are byte for byte the same under different ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import file_digest, sha256
from io import BufferedReader, BytesIO
from os import SEEK_END
from pathlib import Path

from saeviz.values.images import ImageItem

BEGINNING = 1 << 16


def same_pictures(items: Sequence[ImageItem]) -> list[list[str]]:
    """Groups of two or more ids with identical files or bytes, in the order of the items.

    Only files of equal size are read. Images whose source is a function are ignored, because drawing or fetching them
    is expensive.
    """
    groups = [[item for item in items if isinstance(item.source, Path | bytes)]]
    for key in (_size, _beginning, _digest):
        groups = [part for group in groups for part in _parts(group, key)]
    return [[item.item_id for item in group] for group in groups]


def warning_about(items: Sequence[ImageItem]) -> str | None:
    """A sentence that warns about identical images, None if there are none."""
    groups = same_pictures(items)
    if not groups:
        return None
    n_more = sum(len(group) - 1 for group in groups)
    shown = "; ".join(" = ".join(map(repr, group[:3])) for group in groups[:3])
    images = "image is" if n_more == 1 else "images are"
    return (
        f"{n_more} {images} byte for byte identical to an image with another id ({shown}"
        f"{'; ...' if len(groups) > 3 else ''}); each counts as a separate image, so p, q and replication look "
        "better than they are; keep one of each"
    )


def _parts(items: Iterable[ImageItem], key: Callable[[ImageItem], Hashable]) -> list[list[ImageItem]]:
    found: dict[Hashable, list[ImageItem]] = defaultdict(list)
    for item in items:
        try:
            found[key(item)].append(item)
        except OSError:  # reported later, when the image is opened
            continue
    return [group for group in found.values() if len(group) > 1]


def _size(item: ImageItem) -> Hashable:
    if isinstance(item.source, Path):
        return item.source.stat().st_size
    with _file(item) as file:
        return file.seek(0, SEEK_END)


def _beginning(item: ImageItem) -> Hashable:
    with _file(item) as file:
        return sha256(file.read(BEGINNING)).digest()


def _digest(item: ImageItem) -> Hashable:
    with _file(item) as file:
        return file_digest(file, "sha256").digest()


def _file(item: ImageItem) -> BufferedReader | BytesIO:
    file = item.open_file()
    assert file is not None  # noqa: S101 - what a function draws is left out at the beginning
    return file
