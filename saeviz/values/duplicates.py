"""Find images that are byte for byte the same under different ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import file_digest, sha256
from io import BufferedReader, BytesIO
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import IntArray, Mask

BEGINNING = 1 << 16
_NAMED = 3
_AT_A_TIME = 1 << 16


def warning_about(items: Sequence[ImageItem]) -> str | None:
    """A sentence that warns about identical images, None if there are none.

    Only files of equal size are read. Images whose source is a function are ignored, because drawing or fetching them
    is expensive. In memory are some 30 bytes an image.
    """
    groups, n_more = _same_pictures(items)
    if not n_more:
        return None
    shown = "; ".join(" = ".join(repr(items[place].item_id) for place in group) for group in groups[:_NAMED])
    images = "image is" if n_more == 1 else "images are"
    return (
        f"{n_more} {images} byte for byte identical to an image with another id ({shown}"
        f"{'; ...' if len(groups) > _NAMED else ''}); each counts as a separate image, so p, q and replication look "
        "better than they are; keep one of each"
    )


def _same_pictures(items: Sequence[ImageItem]) -> tuple[list[list[int]], int]:
    """The first of the groups of identical pictures, each by its first places, and how many images are too many."""
    import numpy as np

    # A number of 64 bits for each image, the same for the same pictures; 0: there is no other one like it.
    keys: IntArray = np.empty(len(items), np.int64)
    is_file: Mask = np.zeros(len(items), bool)
    for place, item in enumerate(items):
        keys[place], is_file[place] = _key(item), isinstance(item.source, Path)
    for digest_of in (_beginning, _digest):
        suspects = _repeated(keys) & is_file
        if suspects.any():
            found = (_key_of_file(item, digest_of) for item in compress(items, suspects))
            keys[suspects] = np.fromiter(found, np.int64, int(suspects.sum()))
    places = np.flatnonzero(_repeated(keys))
    _, first, group = np.unique(keys[places], return_index=True, return_inverse=True)
    order = np.argsort(first)[: _NAMED + 1]
    return [places[group == one][:_NAMED].tolist() for one in order.tolist()], len(places) - len(first)


def _repeated(keys: IntArray) -> Mask:
    import numpy as np

    ordered = np.sort(keys)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    mask, twice = np.zeros(len(keys), bool), twice[twice != 0]
    for start in range(0, len(keys) if len(twice) else 0, _AT_A_TIME):
        mask[start : start + _AT_A_TIME] = np.isin(keys[start : start + _AT_A_TIME], twice)
    return mask


def _key(item: ImageItem) -> int:
    """Of a file its size at first; few files are read."""
    if isinstance(item.source, bytes):
        return _number(sha256(item.source).digest())
    try:
        return item.source.stat().st_size + 1 if isinstance(item.source, Path) else 0
    except OSError:  # reported later, when the image is opened
        return 0


def _key_of_file(item: ImageItem, digest_of: Callable[[BufferedReader | BytesIO], bytes]) -> int:
    try:
        file = item.open_file()
        assert file is not None  # noqa: S101 - it is a file
        with file:
            return _number(digest_of(file))
    except OSError:
        return 0


def _beginning(file: BufferedReader | BytesIO) -> bytes:
    return sha256(file.read(BEGINNING)).digest()


def _digest(file: BufferedReader | BytesIO) -> bytes:
    return file_digest(file, "sha256").digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], signed=True) or 1
