"""Shared features and embeddings, by the content of the picture and the identity of the model.

One SQLite file, in its plain journal mode: any number of processes may use it at once, a crash leaves what was there
before, and it does without the shared memory of the write-ahead log, which a home on a network drive does not have.
Each row has a checksum over what it says and what it says it of, so that damage, or another row's data, is noticed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from itertools import accumulate
from pathlib import Path

from saeviz.cache.pruning import Entry
from saeviz.formats.damage import checksum
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem

FORMAT = 1
SECONDS_TO_WAIT = 10.0
"""Seconds to wait for another process that writes; then the run continues without the cache."""
DAY = 86_400
LIMIT = 20 * 10**9
"""Maximum size to which runs fill the cache; beyond it, the least recently used entries are removed."""

_SCHEMA = f"""
pragma auto_vacuum = incremental;
begin immediate;
create table if not exists model (
    id integer primary key, digest text not null, provenance text not null, kind text not null, title text not null,
    written real not null, unique (digest, provenance));
create table if not exists entry (
    id integer primary key, model integer not null, image blob not null, used integer not null, size integer not null,
    data blob not null, unique (model, image));
create index if not exists entry_by_use on entry (used, size, model);
create table if not exists file (
    path blob primary key, fingerprint text not null, image blob not null) without rowid;
pragma user_version = {FORMAT};
commit;
"""
_CHECKED = ("entry", "file")
"""Tables whose rows have a checksum; rows of earlier versions without one are ignored."""


@dataclass(frozen=True)
class Model:
    """What entries were made by. `digest` covers everything that the outcome depends on, as far as known before."""

    digest: str
    kind: str
    title: str


@dataclass(frozen=True)
class Kept:
    """The cache usage of one model, or of downloaded images. `used` is the last use, in seconds since 1970."""

    kind: str
    title: str
    images: int
    size: int
    used: float


class SharedCache:
    """Entries (bytes) by model and picture; a picture is identified by the 32 bytes of its SHA-256 digest.

    Methods raise `sqlite3.Error`; a run must then continue without the cache.
    """

    def __init__(self, folder: Path) -> None:
        self.path = self.path_in(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not self.path.is_file():
            raise sqlite3.DatabaseError(f"{self.path.name} is not a file")
        self._connection = sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT, isolation_level=None)
        try:
            self._set_up()
        except sqlite3.Error:
            self._connection.close()
            raise

    def _set_up(self) -> None:
        if self._connection.execute("select 1 from sqlite_master where type in ('view', 'trigger')").fetchone():
            raise sqlite3.DatabaseError("it has views or triggers, which no shared cache has")
        (version,) = self._connection.execute("pragma user_version").fetchone()
        if version not in (0, FORMAT):
            raise sqlite3.DatabaseError(f"it has format {version}, and this saeviz knows format {FORMAT}")
        if version == 0:
            self._connection.executescript(_SCHEMA)
        if any(not self._has_checks(table) for table in _CHECKED):
            with self._writing():
                for table in _CHECKED:
                    if not self._has_checks(table):
                        self._connection.execute(f"alter table {table} add column checksum blob")

    def _has_checks(self, table: str) -> bool:
        return "checksum" in {row[1] for row in self._connection.execute(f"pragma table_info({table})")}

    @staticmethod
    def path_in(folder: Path) -> Path:
        """The file."""
        return folder / "shared.sqlite3"

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def provenance(self, model: Model) -> str | None:
        """The provenance of the most recently written model with this digest, None if there is none."""
        newest = self._newest(model)
        return newest[1] if newest else None

    def get(self, model: Model, images: Sequence[bytes], largest: int = LIMIT) -> dict[bytes, bytes | None]:
        """The entries of these pictures; None for one that is damaged or has more than `largest` bytes.

        At most some hundred pictures at a time.
        """
        newest = self._newest(model)
        if newest is None or not images:
            return {}
        number, provenance = newest
        places = ", ".join("?" * len(images))
        rows = self._connection.execute(
            "select id, cast(used as integer), image, "  # noqa: S608
            "case when length(data) <= ? then cast(data as blob) end, checksum "
            f"from entry where model = ? and checksum is not null and image in ({places})",
            (largest, number, *images),
        ).fetchall()
        now = int(time.time())
        with suppress(sqlite3.OperationalError):  # a file that may only be read can be used
            self._touch([entry for entry, used, _, _, _ in rows if used < now - DAY], now)
        return {
            image: data if data is not None and check == _check_of(model, provenance, image, data) else None
            for _, _, image, data, check in rows
        }

    def put(self, model: Model, provenance: str, entries: Mapping[bytes, bytes]) -> None:
        """Store entries, replacing existing ones of the same pictures."""
        now = time.time()
        with self._writing():
            self._connection.execute(
                "insert into model (digest, provenance, kind, title, written) values (?, ?, ?, ?, ?) "
                "on conflict (digest, provenance) do update set written = excluded.written, title = excluded.title",
                (model.digest, provenance, model.kind, model.title, now),
            )
            (number,) = self._connection.execute(
                "select id from model where digest = ? and provenance = ?", (model.digest, provenance)
            ).fetchone()
            self._connection.executemany(
                "insert or replace into entry (model, image, used, size, data, checksum) values (?, ?, ?, ?, ?, ?)",
                [
                    (number, image, int(now), len(data), data, _check_of(model, provenance, image, data))
                    for image, data in entries.items()
                ],
            )

    def digests(self, fingerprints: Mapping[Path, str]) -> dict[Path, bytes]:
        """The pictures in files that were read when they had these fingerprints. At most some hundred at a time."""
        keys = {_key_of(path): path for path in fingerprints}
        rows = self._connection.execute(
            f"select path, image, checksum from file where path in ({', '.join('?' * len(keys))})",  # noqa: S608
            list(keys),
        ).fetchall()
        return {
            keys[key]: image
            for key, image, check in rows
            if isinstance(image, bytes) and check == checksum(key, fingerprints[keys[key]], image)
        }

    def remember(self, found: Mapping[Path, tuple[str, bytes]]) -> None:
        """Keep which picture is in a file while it has a fingerprint, so that it need not be read again to know."""
        known = [(_key_of(path), fingerprint, image) for path, (fingerprint, image) in found.items()]
        with self._writing():
            self._connection.executemany(
                "insert or replace into file (path, fingerprint, image, checksum) values (?, ?, ?, ?)",
                [(*row, checksum(*row)) for row in known],
            )

    def usage(self) -> list[Kept]:
        """The usage of the cache by kind and model."""
        rows = self._connection.execute(
            "select kind, title, digest, count(*), sum(entry.size), max(used) from entry "
            "join model on model.id = entry.model group by model.id order by kind, title, digest"
        )
        return [
            Kept(kind, f"{title} [{digest[:6]}]", images, size, used)
            for kind, title, digest, images, size, used in rows
        ]

    def by_use(self) -> Iterator[Entry[int]]:
        """The entries, least recently used first."""
        rows = self._connection.execute("select used, size, id from entry order by used, id")
        yield from map(Entry._make, rows.fetchall())

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove entries, and models without entries, and free the disk space."""
        with self._writing():
            self._connection.executemany("delete from entry where id = ?", [(number,) for number in numbers])
            self._connection.execute("delete from model where id not in (select model from entry)")
            if not self._connection.execute("select 1 from entry").fetchone():
                self._connection.execute("delete from file")
        self._connection.executescript("pragma incremental_vacuum")  # execute() would free a single page

    def shrink(self, size: int) -> None:
        """Remove the least recently used entries until the file has at most `size` bytes."""
        surplus = self.path.stat().st_size - size
        if surplus <= 0:
            return
        before = accumulate((entry.size for entry in self.by_use()), initial=0)
        self.remove(entry.key for gone, entry in zip(before, self.by_use(), strict=False) if gone < surplus)

    def _newest(self, model: Model) -> tuple[int, str] | None:
        found: tuple[int, str] | None = self._connection.execute(
            "select id, provenance from model where digest = ? order by written desc limit 1", (model.digest,)
        ).fetchone()
        return found

    def _touch(self, numbers: Sequence[int], now: int) -> None:
        if numbers:
            with self._writing():
                self._connection.executemany("update entry set used = ? where id = ?", [(now, n) for n in numbers])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


def digest_of(item: ImageItem) -> bytes | None:
    """SHA-256 of the picture's file; None if there is no file, it changes meanwhile, or it cannot be read."""
    fingerprint = item.fingerprint
    try:
        file = item.open_file()
        if file is None:
            return None
        with file:
            found = file_digest(file, "sha256").digest()
    except (OSError, ImageError):
        return None
    return found if item.fingerprint == fingerprint else None


def _check_of(model: Model, provenance: str, image: bytes, data: bytes) -> bytes:
    return checksum(model.digest, provenance, image, data)


def _key_of(path: Path) -> bytes:
    """A digest of a file's path, so that no paths of the user are stored."""
    return sha256(os.fsencode(path.absolute())).digest()[:16]
