"""Pictures that are the same, byte for byte, under different ids."""

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
    """Groups of two or more ids, in the order of the items, whose files or bytes are the same.

    Only files as long as another one are read. What a function draws or fetches is not looked at: that would take
    drawing or fetching it.
    """
    groups = [[item for item in items if isinstance(item.source, Path | bytes)]]
    for key in (_size, _beginning, _digest):
        groups = [part for group in groups for part in _parts(group, key)]
    return [[item.item_id for item in group] for group in groups]


def warning_about(items: Sequence[ImageItem]) -> str | None:
    """One sentence about all of them, None where every picture is there once."""
    groups = same_pictures(items)
    if not groups:
        return None
    n_more = sum(len(group) - 1 for group in groups)
    shown = "; ".join(" = ".join(map(repr, group[:3])) for group in groups[:3])
    images = "image is" if n_more == 1 else "images are"
    return (
        f"{n_more} {images} byte for byte the same as another one under another id ({shown}"
        f"{'; ...' if len(groups) > 3 else ''}); each counts as an image of its own, so p, q and replication look "
        "better than they are: keep one of each"
    )


def _parts(items: Iterable[ImageItem], key: Callable[[ImageItem], Hashable]) -> list[list[ImageItem]]:
    found: dict[Hashable, list[ImageItem]] = defaultdict(list)
    for item in items:
        try:
            found[key(item)].append(item)
        except OSError:  # it is left out where it is opened
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
