"""URLs to bytes, each fetched once and then kept for every run."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

from saeviz.context import Context
from saeviz.errors import ConfigError, ImageError
from saeviz.files import write_atomic
from saeviz.toolkit.fetch import FetchOptions
from saeviz.toolkit.fetch.errors import RefusedError, TransientError
from saeviz.toolkit.fetch.request import ENDED, Limits, get
from saeviz.toolkit.fetch.urls import digest, redacted
from saeviz.types import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image

ATTEMPTS = 4
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
AT_ONCE = 8
AHEAD = 32


@dataclass(frozen=True)
class RemoteImage:
    """An `ImageItem.source` that is fetched when it is opened."""

    fetcher: Fetcher
    url: str
    item_id: str

    def __call__(self) -> Image:
        """The decoded picture."""
        return ImageItem(self.item_id, self.read_bytes()).open()

    def read_bytes(self) -> bytes:
        """What the URL shows; raises `ImageError`."""
        return self.fetcher.read(self.url, self.item_id)


class Fetcher:
    """Fetches URLs and keeps what they show in the folder `downloads` of the cache, by the digest of its content.

    What is kept is not asked for again, and a URL that failed not before the next run. `upcoming` are the URLs that
    will be wanted, in this order: while one is fetched those after it are, too. Raises `ConfigError` where urllib3 is
    not installed.
    """

    def __init__(self, options: FetchOptions, context: Context, upcoming: Sequence[str] = ()) -> None:
        if find_spec("urllib3") is None:
            raise ConfigError("images: fetching URLs needs urllib3, which is not installed: pip install 'saeviz[url]'")
        self._kept = _Downloads(context.cache_dir / "downloads")
        self._offline = context.offline
        self._stop = Event()
        self._limits = Limits(
            options.timeout, int(options.max_megabytes * 1e6), options.max_redirects, options.allow_private, self._stop
        )
        self._upcoming = upcoming
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="saeviz-fetch")
        self._lock = Lock()
        self._fetching: dict[str, Future[None]] = {}
        self._failed: dict[str, str] = {}

    def read(self, url: str, item_id: str) -> bytes:
        """What the URL shows, kept or fetched now. Raises `ImageError` that quotes nothing secret of the URL."""
        data = self._kept.read(url)
        if data is None:
            if self._offline:
                reason: str | None = "it is not in the cache, and offline was asked for"
            else:
                self._wait_for(url)
                reason, data = self._failed.get(url), self._kept.read(url)
            if data is None:
                place = f"image {item_id!r} cannot be had from {redacted(url)}"
                raise ImageError(f"{place}: {reason or ENDED}")
        return data

    def version(self, url: str) -> str:
        """For `ImageItem.version`: changes with the URL, and when that has come to show something else."""
        return f"url-{digest(url)[:16]}{self._kept.change(url)}"

    def close(self) -> None:
        """Fetch no more."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wait_for(self, url: str) -> None:
        if url in self._failed:
            return
        with self._lock:
            if self._stop.is_set():
                return
            place = self._places.get(url, len(self._upcoming))
            for one in (url, *self._upcoming[place + 1 : place + AHEAD]):
                if one not in self._fetching and one not in self._failed:
                    self._fetching[one] = self._pool.submit(self._fetch, one)
            future = self._fetching[url]
        try:
            future.result()
        except CancelledError:
            return

    @cached_property
    def _places(self) -> dict[str, int]:
        return {url: place for place, url in enumerate(self._upcoming)}

    def _fetch(self, url: str) -> None:
        try:
            if not self._kept.has(url):
                data = self._insist(url)
                _refuse_what_is_no_image(data)
                self._kept.keep(url, data)
        except (RefusedError, TransientError) as error:
            self._failed[url] = str(error)
        finally:
            with self._lock:
                del self._fetching[url]

    def _insist(self, url: str) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return get(url, self._limits)
            except TransientError as error:
                pause = FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1) if error.wait is None else error.wait  # noqa: S311
                if attempt == ATTEMPTS or pause > LONGEST_PAUSE:
                    raise RefusedError(f"{error}; asked {attempt} times" if attempt > 1 else str(error)) from None
                if self._stop.wait(pause):
                    break
        raise RefusedError(ENDED)


class _Downloads:
    """What URLs show: `urls` has the digest of the content for each, `content` the content for each digest.

    `changed` has a mark for each URL that was fetched again and had come to show something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, url: str) -> bytes | None:
        """The content, None where it is not kept."""
        try:
            path = self._content(self._record(url).read_text())
            os.utime(path)
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def has(self, url: str) -> bool:
        """Whether it is kept."""
        try:
            return self._content(self._record(url).read_text()).is_file()
        except FileNotFoundError:
            return False

    def keep(self, url: str, data: bytes) -> None:
        """Keep what was fetched; readers and other writers see all of it or nothing."""
        found = sha256(data).hexdigest()
        record = self._record(url)
        before = record.read_text() if record.is_file() else found
        write_atomic(self._content(found), data)
        if before != found:
            write_atomic(self.folder / "changed" / digest(url), f"-{found[:8]}")
        write_atomic(record, found)

    def change(self, url: str) -> str:
        """Its mark, '' for most."""
        return self._changed.get(digest(url), "") if self._changed else ""

    @cached_property
    def _changed(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.folder / "changed").glob("[0-9a-f]*")}

    def _record(self, url: str) -> Path:
        name = digest(url)
        return self.folder / "urls" / name[:2] / name

    def _content(self, name: str) -> Path:
        return self.folder / "content" / name[:2] / name


def _refuse_what_is_no_image(data: bytes) -> None:
    from PIL import Image

    try:
        Image.open(BytesIO(data)).close()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise RefusedError("what the server sends is not an image that Pillow can read") from None
