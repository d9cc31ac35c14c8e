"""A run directory in an object store: a run works in a folder of this machine, its mirror, and commits that.

The mirror is that of one machine and begins with the last state that was committed. What was done since by a run that
was killed on this machine is kept, unless another machine has committed a state meanwhile. Parts and workers need
neither: what they make goes to the object store at once.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from saeviz.formats.commits import Commit, Commits, Content, names_in
from saeviz.formats.damage import UNREADABLE, digest_of_file
from saeviz.formats.files import atomic_folder, explain_disk_errors, remove_temporaries, write_atomic
from saeviz.formats.folders import ObjectFolder
from saeviz.formats.objects import Objects, Own
from saeviz.formats.plain import one_line
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.values.errors import ConfigError, RunDirError
from saeviz.values.regular import read_regular

MOST_BYTES = 256 * 2**20
_MIRROR, _STATE = "mirror", ".mirror.json"
FETCH_LOCK = "fetch.lock"
"""Beside the folders of one run: held while a state is fetched."""
logger = logging.getLogger("saeviz")


@dataclass
class _State:
    """Of a mirror: its name, the commit that it began with or made (None: none yet), and stamps of files.

    `has_more`: a run is at work in it, or was killed, so that it may have what no commit has.
    """

    name: str = field(default_factory=lambda: token_hex(16))
    commit: str | None = None
    has_more: bool = False
    stamps: dict[str, list[Any]] = field(default_factory=dict)


class MirroredRunDir(RunDir):
    """The run directory at the address `url`, with its mirror at `path`.

    Without `locked` nothing is fetched or committed: for parts, workers and readers.
    """

    def __init__(self, path: Path, url: str, *, offline: bool = False) -> None:
        super().__init__(path)
        self._given = (path.absolute(), url, offline)
        self._objects = Objects(url, Own(offline))
        self._commits = Commits(self._objects)
        self._shards = ObjectFolder(self._objects, f"{self._objects.root}/shards")
        self.shards = self._shards
        self._lock = f"{self._objects.root}/lock.json"
        self._state_file = path / _STATE
        self._state = _State()

    @property
    def place(self) -> str:
        """Its address."""
        return self._given[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """For workers, who may be on other machines."""
        path, url, offline = self._given
        return _opened, (path, url, offline), {"log": self.log}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """As of a folder, for all machines; begins with the last state, and commits the new one however it ends."""
        with explain_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with super().locked():
            self._state = _state_of(self.path) or _State()
            with self._locked_for_all():
                self._write_state(has_more=True)  # before all else, so that nobody prunes it meanwhile
                self._fetch()
                try:
                    yield
                except BaseException:
                    try:
                        self.commit()
                    except RunDirError as error:
                        logger.warning("what was done is in %s only: %s", self.path, one_line(str(error)))
                    else:
                        self._write_state()
                    raise
                self.commit()
                self._write_state()

    def at_hand(self, cache_dir: Path) -> RunDir:
        """See `RunDir`: on the machine of the run its mirror, on any other one the last state."""
        state = _state_of(self.path)
        if self.path.name == _MIRROR:
            is_here = state is not None and state.name == self._owner().get("mirror")
        else:
            is_here = self.path.exists()
        found = None if is_here else fetched(self.place, cache_dir, offline=self._given[2])
        return RunDir(found) if found else self

    def commit(self) -> None:
        """Commit what is in the mirror; what was discarded of shards is removed after that."""
        if not self.manifest_file.exists():
            return
        if self._owner().get("mirror") != self._state.name:
            raise RunDirError(f"{self.place}: another machine has taken over the run; it goes on there")
        before = self._commits.last()
        if before.key != self._state.commit:
            raise RunDirError(f"{self.place}: another machine has gone on with the run meanwhile; run again")
        after = self._commits.publish(self.path, self._content_of, before)
        self._state.commit = after.key
        self._write_state(has_more=True)
        self._shards.remove_discarded()

    def _fetch(self) -> None:
        """Make the mirror that of the last state, unless it has begun with it already."""
        last = self._commits.last()
        if self._state.commit == last.key:
            return
        self._state.commit = None  # until all is there
        self._write_state(has_more=True)
        for name in names_in(self.path):
            if name not in last.files:
                with explain_disk_errors(self.path / name, "removed"):
                    (self.path / name).unlink()
        wanted = [name for name in last.files if not self._is_there(name, last)]
        lost = self._commits.fetch(last, wanted, self.path)
        for name in lost:
            logger.warning("%s: %s is missing or damaged there, and is made again", self.place, one_line(name))
        self._commits.forget(lost.values())
        self._state.commit = last.key
        self._write_state(has_more=True)

    def _is_there(self, name: str, last: Commit) -> bool:
        return (self.path / name).is_file() and self._content_of(name) == last.files[name]

    def _content_of(self, name: str) -> Content:
        """The content of a file, read only if its size or time have changed."""
        path = self.path / name
        with explain_disk_errors(path, "read"):
            status = path.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
            digest, *known = self._state.stamps.get(name, [""])
            if known != stamp:
                digest = digest_of_file(path)
                self._state.stamps[name] = [digest, *stamp]
        return Content(digest, status.st_size)

    @contextmanager
    def _locked_for_all(self) -> Iterator[None]:
        mine = {
            "mirror": self._state.name,
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        owner = self._owner()
        content = json.dumps(mine).encode()
        if owner and owner.get("mirror") == self._state.name:
            self._objects.write(self._lock, content)  # of a run that was killed: nobody else works in this mirror
        elif owner or not self._objects.create(self._lock, content):
            owner = owner or self._owner()
            host, since = (one_line(str(owner.get(name))) for name in ("host", "since"))
            raise RunDirError(
                f"{self.place}: another run has been working on it since {since}, on {host}; wait until it has ended. "
                f"If it was killed, start it again there, or remove the object {self.place}/lock.json"
            )
        try:
            yield
        finally:
            with suppress(RunDirError):  # the network has gone; this mirror can go on
                if self._owner().get("mirror") == self._state.name:
                    self._objects.remove([self._lock])

    def _owner(self) -> Mapping[str, Any]:
        """Who drives the run, empty for nobody."""
        content = self._objects.read([self._lock]).get(self._lock)
        if content is None:
            return {}
        try:
            given = json.loads(content)
        except UNREADABLE:
            given = None
        return given if isinstance(given, dict) and given else {"mirror": None}

    def _write_state(self, *, has_more: bool = False) -> None:
        self._state.has_more = has_more
        write_atomic(self._state_file, json.dumps(asdict(self._state)))


def _opened(path: Path, url: str, offline: bool) -> MirroredRunDir:
    return MirroredRunDir(path, url, offline=offline)


class FetchedRunDir(RunDir):
    """The last state of the run directory at the address `url`, to be read only."""

    def __init__(self, path: Path, url: str) -> None:
        super().__init__(path)
        self._url = url

    @property
    def place(self) -> str:
        """Its address."""
        return self._url

    def refuse_changes(self) -> None:
        """See `RunDir`."""
        raise ConfigError(f"{self.place} is only read: nothing but `saeviz run` changes a run in an object store")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises `ConfigError`."""
        self.refuse_changes()
        yield


def _state_of(mirror: Path) -> _State | None:
    with suppress(*UNREADABLE):
        state = _State(**json.loads(read_regular(mirror / _STATE, MOST_BYTES)))
        if isinstance(state.name, str) and isinstance(state.stamps, dict):
            return state
    return None


def holds_more(folder: Path) -> bool:
    """Whether a mirror, or a folder with a state that was fetched, may have what is in no object store."""
    state = _state_of(folder)
    return state is not None and state.has_more


def mirror_of(url: str, cache_dir: Path) -> Path:
    """The mirror of a run directory in an object store on this machine."""
    return cache_dir / "runs" / digest_of(url) / _MIRROR


def fetched(url: str, cache_dir: Path, *, offline: bool = False) -> Path | None:
    """A folder with the last state of a run directory, to be read only; None if none was committed.

    What is missing or damaged is left out, as in a damaged run directory. Each state has a folder of its own.
    """
    from filelock import FileLock

    commits = Commits(Objects(url, Own(offline)))
    last = commits.last()
    if not last.key:
        return None
    folder = mirror_of(url, cache_dir).with_name(last.key[:16])
    with explain_disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(FETCH_LOCK)):
            remove_temporaries(folder.parent)  # of a reader that was killed
            if not folder.exists():
                with atomic_folder(folder) as temporary:
                    lost = commits.fetch(last, last.files, temporary)
                for name in lost:
                    logger.warning("%s: %s is missing or damaged there", url, one_line(name))
            os.utime(folder)
    return folder


def fetched_run(url: str, cache_dir: Path, *, offline: bool = False) -> RunDir:
    """The last state of a run directory, to be read only. Raises `ConfigError` if none was committed."""
    folder = fetched(url, cache_dir, offline=offline)
    if folder is None:
        raise ConfigError(f"{url} is not a run directory: nothing was committed there")
    return FetchedRunDir(folder, url)
