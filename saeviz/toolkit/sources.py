"""Image sources for files that are not local: in a database, a bucket or a web service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saeviz.cache.downloads import Downloads
from saeviz.contract.context import Context
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class FileSource:
    """An `ImageItem.source` that calls `read` for the bytes of the file when opened; `read` may raise `ImageError`.

    Because it `HasBytes`, results for the picture are shared between runs, at the cost of reading the file once more.
    """

    item_id: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    def __call__(self) -> Image:
        """The decoded picture."""
        return ImageItem(self.item_id, self.read_bytes()).open()

    def read_bytes(self) -> bytes:
        """The bytes of the file."""
        return self.read()


def remote_source(context: Context, item_id: str, name: str | None, read: Callable[[], bytes]) -> Callable[[], Image]:
    """The `ImageItem.source` of an image whose bytes `read` downloads from another machine.

    `name` must identify the file uniquely, and change when the file changes. The file is then downloaded once for all
    runs and cached in the folder `downloads`, under a digest of the name. With None it is downloaded each time it is
    opened, and runs share no results for it.
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
