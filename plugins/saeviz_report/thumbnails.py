"""Small copies of the pictures that the report shows, one file per picture however often it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import saeviz
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.files import atomic_files, explain_disk_errors, real_path, remove_temporaries
from saeviz.toolkit.images import size_of, to_rgb

_SUFFIX = ".webp"
_BATCH = 16
_LOOK = "2"
"""Another one where the same picture is made small in another way."""


class Thumbnail(NamedTuple):
    """A file in the folder of thumbnails and its size in pixels."""

    file: str
    width: int
    height: int


def folder_of(run: saeviz.Run, name: str) -> Path:
    """A folder of the run directory to write to and to tidy up. Raises `RunDirError` if a link leads it elsewhere."""
    folder = run.dir / name
    if real_path(folder) != real_path(run.dir) / name:
        raise saeviz.RunDirError(f"{folder} lies behind a link, and a report writes and removes files: remove the link")
    return folder


def write_thumbnails(
    items: Sequence[saeviz.ImageItem], folder: Path, size: int, context: saeviz.Context
) -> dict[str, Thumbnail]:
    """The thumbnail of every item that can be read, by item id: at most `size` high and twice as wide.

    Files that an earlier report left are taken again where the picture is still the same.
    """
    files = {item.item_id: _file_name(item, size) for item in items}
    thumbnails: dict[str, Thumbnail] = {}
    to_make = []
    for item in items:
        there = _open_earlier(folder / files[item.item_id]) if item.fingerprint else None
        if there:
            thumbnails[item.item_id] = there
        else:
            to_make.append(item)
    progress = context.progress(to_make, len(to_make), "thumbnails")
    batches = decode_ahead(progress, lambda item: _shrink(item, size), batch_size=_BATCH, context=context)
    with atomic_files(folder) as write:
        for made, pictures in batches:
            for item, (data, width, height) in zip(made, pictures, strict=True):
                write(files[item.item_id], data)
                thumbnails[item.item_id] = Thumbnail(files[item.item_id], width, height)
    return thumbnails


def remove_other_thumbnails(folder: Path, keep: Iterable[Thumbnail]) -> None:
    """Remove the thumbnails that no page shows any more."""
    kept = {thumbnail.file for thumbnail in keep}
    with explain_disk_errors(folder):
        for path in folder.glob(f"*{_SUFFIX}"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
    remove_temporaries(folder)


def _file_name(item: saeviz.ImageItem, size: int) -> str:
    identity = "\0".join([item.item_id, item.fingerprint, str(size), _LOOK])
    return sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:24] + _SUFFIX


def _open_earlier(path: Path) -> Thumbnail | None:
    size = size_of(path)
    return Thumbnail(path.name, *size) if size else None


def _shrink(item: saeviz.ImageItem, size: int) -> tuple[bytes, int, int]:
    try:
        image = to_rgb(item.open())
        image.thumbnail((2 * size, size))
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=80)
    except (OSError, ValueError) as error:
        raise saeviz.ImageError(f"image {item.item_id!r} cannot be made small: {error}") from error
    return buffer.getvalue(), image.width, image.height
