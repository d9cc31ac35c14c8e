"""The shared cache as stages use it."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from saeviz.cache.entries import LIMIT, Model, SharedCache, digest_of
from saeviz.config.schema import ComponentConfig
from saeviz.formats import rundir
from saeviz.pipeline.progress import chunked
from saeviz.pipeline.session import Session, logger
from saeviz.values.images import ImageItem

T = TypeVar("T")
CHUNK = 256
AT_ONCE = 1024
THREADS = 8
UNUSABLE = (sqlite3.Error, OSError, TypeError, OverflowError, MemoryError)
"""Raised for a file that is not a valid cache; SQLite allows values of any type in any column."""


class Shared(ABC):
    """Cached results of a component from this and other runs: one entry per picture and part, such as a space.

    Nothing of it can fail a run: where the cache cannot be used, a warning says so and the run does without. An entry
    that is damaged counts as none. `provenance` is where the entries that were found come from, as for the manifest.
    """

    def __init__(self, session: Session, config: ComponentConfig, kind: str, parts: Sequence[str]) -> None:
        self.session = session
        self.provenance: dict[str, Any] = {}
        self._folder = session.components.context(config).cache_dir
        self._cache: SharedCache | None = None
        self._new: dict[tuple[Model, str], dict[bytes, bytes]] = {}
        self._read: dict[Path, tuple[str, bytes]] = {}
        self._has_told = False
        if not session.config.run.cache:
            return
        identity = [session.components.identity(config), session.config.run.precision]
        self._models = [
            Model(rundir.digest_of([kind, part, identity]), kind, f"{config.use} {part}".strip()) for part in parts
        ]
        try:
            self._cache = SharedCache(self._folder)
        except UNUSABLE as error:
            self._give_up(error)

    @abstractmethod
    def largest(self, part: int) -> int:
        """The maximum size of an entry of a part, in bytes."""

    @abstractmethod
    def load(self, part: int, entry: bytes) -> Any:
        """Decode an entry; raises `ValueError` if it is not a valid entry of this part."""

    def find(self, items: Iterable[ImageItem]) -> Iterator[dict[str, tuple[Any, ...]]]:
        """The entries of items that have all parts, by id, some at a time; none if a stage is redone."""
        if self.session.redo or not self._try(self._takes_up, default=False):
            return
        for chunk in chunked(items, CHUNK):
            found: dict[str, tuple[Any, ...]] = self._try(self._entries, chunk, default={})
            if found:
                yield found

    def add(self, items: Iterable[ImageItem], part: int, entries: Iterable[bytes], made_by: Mapping[str, Any]) -> None:
        """Add results of the items, except for pictures that have changed since the run began."""
        entry_of = {item.item_id: entry for item, entry in zip(items, entries, strict=True)}
        digests: dict[str, bytes] = self._try(self._digests, items, default={})
        if not digests:
            return
        new = self._new.setdefault((self._models[part], json.dumps(made_by, sort_keys=True)), {})
        new.update({digest: entry_of[item_id] for item_id, digest in digests.items()})
        if sum(map(len, self._new.values())) >= AT_ONCE:
            self._flush()

    @property
    def is_used(self) -> bool:
        """Whether results are kept."""
        return self._cache is not None

    def close(self) -> None:
        """Write pending entries, prune the cache to its maximum size, and close it."""
        self._flush()
        self._try(lambda cache: cache.shrink(LIMIT), default=None)
        self._try(lambda cache: cache.close(), default=None)

    def _flush(self) -> None:
        """Write pending entries in one transaction; one per image would be slow."""
        read, self._read = self._read, {}
        self._try(lambda cache: cache.remember(read), default=None)
        for (model, made_by), entries in self._new.items():
            self._try(lambda cache, *new: cache.put(*new), model, made_by, entries, default=None)
        self._new = {}

    def _takes_up(self, cache: SharedCache) -> bool:
        """Whether there is anything of this component: else pictures need not be read to know them."""
        made_by = [cache.provenance(model) for model in self._models]
        if None in made_by:
            return False
        try:
            provenance = json.loads(made_by[0] or "{}")
        except (ValueError, RecursionError):
            provenance = None
        if not isinstance(provenance, dict):
            self._tell_of_damage()
            return False
        self.provenance = self.provenance or provenance
        return True

    def _entries(self, cache: SharedCache, chunk: Sequence[ImageItem]) -> dict[str, tuple[Any, ...]]:
        digests = self._digests(cache, chunk)
        images = list(set(digests.values()))
        kept = [
            self._loaded(part, cache.get(model, images, self.largest(part))) for part, model in enumerate(self._models)
        ]
        return {
            item_id: tuple(entries[digest] for entries in kept)
            for item_id, digest in digests.items()
            if all(digest in entries for entries in kept)
        }

    def _loaded(self, part: int, entries: Mapping[bytes, bytes | None]) -> dict[bytes, Any]:
        """What the entries say that are whole."""
        found = {}
        for image, entry in entries.items():
            try:
                found[image] = self.load(part, entry or b"")
            except ValueError:
                self._tell_of_damage()
        return found

    def _tell_of_damage(self) -> None:
        if not self._has_told:
            logger.warning("the cache in %s has damaged entries; they are computed again", self._folder)
        self._has_told = True

    def _digests(self, cache: SharedCache, items: Iterable[ImageItem]) -> dict[str, bytes]:
        """Which pictures these are, without those that have changed since the run began.

        A file that was read before, by whatever run, is not read again.
        """
        items = list(items)
        fingerprints = self.session.dataset.fingerprints_of([item.item_id for item in items])
        items = [item for item in items if item.fingerprint == fingerprints[item.item_id]]
        paths = {item.item_id: item.source for item in items if isinstance(item.source, Path)}
        wanted = {path: fingerprints[item_id] for item_id, path in paths.items()}
        known = cache.digests(wanted)
        known |= {path: self._read[path][1] for path in wanted if path in self._read}
        found = {item_id: known[path] for item_id, path in paths.items() if path in known}
        unread = [item for item in items if item.item_id not in found]
        with ThreadPoolExecutor(THREADS) as pool:
            for item, digest in zip(unread, pool.map(digest_of, unread), strict=True):
                if digest is not None and item.fingerprint == fingerprints[item.item_id]:
                    found[item.item_id] = digest
                    if item.item_id in paths:
                        self._read[paths[item.item_id]] = (fingerprints[item.item_id], digest)
        return found

    def _try(self, action: Callable[..., T], *arguments: Any, default: T) -> T:
        if self._cache is None:
            return default
        try:
            return action(self._cache, *arguments)
        except UNUSABLE as error:
            self._give_up(error)
            return default

    def _give_up(self, error: Exception) -> None:
        self._cache = None
        logger.warning(
            "the cache in %s cannot be used, and the run continues without it (%s); `saeviz cache prune --all` "
                "empties it, cache = false in [run] switches it off", self._folder, error
        )  # fmt: skip
