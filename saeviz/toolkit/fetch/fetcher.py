"""Fetch URLs; each is fetched once and cached for all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cached_property, partial
from threading import Event, Lock

from saeviz.cache.downloads import Downloads
from saeviz.contract.context import Context
from saeviz.toolkit.fetch import FetchOptions
from saeviz.toolkit.fetch.errors import RefusedError, TransientError
from saeviz.toolkit.fetch.request import ENDED, Limits, get
from saeviz.toolkit.fetch.urls import host_of, redacted
from saeviz.toolkit.retrying import Retries, StoppedError
from saeviz.toolkit.sources import FileSource
from saeviz.values.decoding import size_of
from saeviz.values.errors import ConfigError, ImageError

ATTEMPTS = 4
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
FAILURES_IN_A_ROW = 10
"""Number of URLs in a row without an answer after which a host is given up: each takes about a minute."""
AT_ONCE = 8
AHEAD = 32


class RemoteImage(FileSource):
    """An `ImageItem.source` that is fetched when opened."""

    def __init__(self, fetcher: Fetcher, url: str, item_id: str) -> None:
        super().__init__(item_id, partial(fetcher.read, url, item_id))


class Fetcher:
    """Fetches URLs and caches their content in the folder `downloads` of the cache, by digest.

    A cached URL is not requested again; one that failed is retried only in the next run. `upcoming` lists the URLs that
    will be read, in order, so that the next ones can be fetched ahead. Raises `ConfigError` if urllib3 is not
    installed.
    """

    def __init__(self, options: FetchOptions, context: Context, upcoming: Sequence[str] = ()) -> None:
        try:
            import urllib3  # noqa: F401  here, since threads that import it concurrently can fail
        except ImportError as error:
            raise ConfigError("images: URLs need urllib3, which is not installed: pip install 'saeviz[url]'") from error
        self._kept = Downloads(context.cache_dir)
        self._offline = context.why_offline if context.offline else None
        self._stop = Event()
        self._limits = Limits(
            options.timeout, int(options.max_megabytes * 1e6), options.max_redirects, options.allow_private, self._stop
        )
        self._upcoming = upcoming
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="saeviz-fetch")
        self._lock = Lock()
        self._fetching: dict[str, Future[None]] = {}
        self._failed: dict[str, str] = {}
        self._unanswered: Counter[str] = Counter()

    def read(self, url: str, item_id: str) -> bytes:
        """The content of the URL, from the cache or fetched now.

        Raises `ImageError`; its message quotes no secret parts of the URL.
        """
        data = self._kept.read(url)
        if data is None:
            if self._offline:
                reason: str | None = f"it is not in the cache, and {self._offline}"
            else:
                self._wait_for(url)
                reason, data = self._failed.get(url), self._kept.read(url)
            if data is None:
                place = f"image {item_id!r} cannot be fetched from {redacted(url)}"
                raise ImageError(f"{place}: {reason or ENDED}")
        return data

    def version(self, url: str) -> str:
        """The value for `ImageItem.version`, known without fetching."""
        return self._kept.version(url)

    def close(self) -> None:
        """Stop fetching; waiting readers raise `ImageError`."""
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
        host = host_of(url)

        def attempt() -> bytes:
            if self._unanswered[host] >= FAILURES_IN_A_ROW:
                raise RefusedError(
                    f"its host did not answer {FAILURES_IN_A_ROW} requests in a row; this run sends no more to it"
                )
            return get(url, self._limits)

        try:
            data = Retries(ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, stop=self._stop)(attempt)
        except TransientError as error:
            with self._lock:
                self._unanswered[host] += 1
            raise RefusedError(f"{error}; tried {error.tries} times" if error.tries > 1 else str(error)) from None
        except StoppedError:
            raise RefusedError(ENDED) from None
        except RefusedError:
            if self._unanswered[host] < FAILURES_IN_A_ROW:
                self._unanswered[host] = 0
            raise
        self._unanswered[host] = 0
        return data


def _refuse_what_is_no_image(data: bytes) -> None:
    if size_of(data) is None:
        raise RefusedError("the server did not send a readable image")
