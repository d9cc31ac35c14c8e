"""Sources of images whose files are somewhere else: in a database, in a bucket, at a service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saeviz.cache.downloads import Downloads
from saeviz.contract.context import Context
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class FileSource:
    """An `ImageItem.source` whose file `read` gives when it is opened, or raises `ImageError`.

    It `HasBytes`, so runs share what they make of the picture; for that the file is read once more.
    """

    item_id: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    def __call__(self) -> Image:
        """The decoded picture."""
        return ImageItem(self.item_id, self.read_bytes()).open()

    def read_bytes(self) -> bytes:
        """The whole file."""
        return self.read()


def remote_source(context: Context, item_id: str, name: str | None, read: Callable[[], bytes]) -> Callable[[], Image]:
    """The source of an image whose file `read` brings from another machine.

    `name` stands for the file, and for no other anywhere; it is another one when the file has changed. Then it is
    brought once for all runs and kept in the folder `downloads` of the cache, under a digest of the name. With None it
    is brought whenever it is opened, and runs share nothing of it: to know the picture would take bringing it again.
    """
    if name is None:
        return lambda: ImageItem(item_id, read()).open()
    downloads = Downloads(context.cache_dir)

    def read_once() -> bytes:
        data = downloads.read(name)
        if data is None:
            data = read()
            downloads.keep(name, data)
        return data

    return FileSource(item_id, read_once)
