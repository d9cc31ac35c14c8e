"""Fetch files that are too large for the memory, such as tar files of images."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Lock
from typing import BinaryIO

from saeviz.cache.downloads import Downloads
from saeviz.contract.context import Context
from saeviz.toolkit.fetch import FetchOptions
from saeviz.toolkit.fetch.errors import RefusedError, TransientError
from saeviz.toolkit.fetch.request import ENDED, Kind, Limits, save
from saeviz.toolkit.fetch.urls import redacted
from saeviz.toolkit.retrying import Retries, StoppedError
from saeviz.values.errors import ConfigError, DataError

ATTEMPTS = 4
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class FetchedFiles:
    """Files by URL, each fetched once and kept in the folder `downloads` of the cache, where every run finds it.

    May be used by several threads, one of which fetches. Raises `ConfigError` if urllib3 is not installed.
    """

    def __init__(self, options: FetchOptions, context: Context, kind: Kind) -> None:
        try:
            import urllib3  # noqa: F401  here, since threads that import it concurrently can fail
        except ImportError as error:
            raise ConfigError("images: URLs need urllib3, which is not installed: pip install 'saeviz[url]'") from error
        self._kept = Downloads(context.cache_dir)
        self._offline = context.why_offline if context.offline else None
        self._kind = kind
        self._logger = context.logger
        self._stop = Event()
        self._limits = Limits(
            options.timeout, int(options.max_megabytes * 1e6), options.max_redirects, options.allow_private, self._stop
        )
        self._lock = Lock()
        self._checked: dict[str, Path] = {}

    def path(self, url: str) -> Path:
        """The file, from the cache or fetched now. Raises `DataError`, whose message quotes no secret of the URL."""
        with self._lock:
            path = self._checked.get(url)
            if path is None or not path.is_file():  # not there: removed from the cache since
                self._checked[url] = path = self._kept.file(url) or self._fetched(url)
        return path

    def version(self, url: str) -> str:
        """Text that changes with the content, known without fetching."""
        return self._kept.version(url)

    def close(self) -> None:
        """Stop fetching."""
        self._stop.set()

    def _fetched(self, url: str) -> Path:
        try:
            if self._offline:
                raise RefusedError(f"it is not in the cache, and {self._offline}")
            self._logger.info("images: fetching %s", redacted(url))
            self._kept.keep_file(url, lambda file: self._insist(url, file))
        except (RefusedError, TransientError, StoppedError) as error:
            tries = f" (tried {error.tries} times)" if isinstance(error, TransientError) and error.tries > 1 else ""
            raise DataError(f"{redacted(url)} cannot be fetched: {str(error) or ENDED}{tries}") from None
        path = self._kept.file(url)
        if path is None:
            raise DataError(f"{redacted(url)} was fetched, but the cache has lost it; run again")
        return path

    def _insist(self, url: str, file: BinaryIO) -> None:
        def attempt() -> None:
            file.seek(0)
            file.truncate()
            save(url, self._limits, self._kind, file)

        Retries(ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, stop=self._stop)(attempt)
