"""`notes.jsonl`: what people noted about features, a line per change, of which the last one of a feature counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from saeviz.formats.files import append_line, explain_disk_errors
from saeviz.formats.lines import checked_line, rows_in
from saeviz.values.errors import ConfigError, RunDirError
from saeviz.values.features import Feature
from saeviz.values.keys import feature_of, key_of
from saeviz.values.notes import Note, NoteChangedError

PATIENCE = 10.0
"""Seconds to wait for another process that is writing a line."""
_FIELDS = ("label", "description", "mark", "text", "time")


class NoteLine(NamedTuple):
    """One change: what is noted about the feature from then on.

    `extractor` is the digest of what the run extracted features with; '' in lines of earlier versions of saeviz.
    """

    feature: Feature
    note: Note
    extractor: str = ""

    def as_text(self) -> str:
        """One line of JSON."""
        of = {"extractor": self.extractor} if self.extractor else {}
        return checked_line({**key_of(self.feature), **asdict(self.note), **of})

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> NoteLine:
        """Parse a line. Raises `ValueError` or `TypeError` for one that cannot have been written."""
        values, extractor = {name: row[name] for name in _FIELDS}, row.get("extractor", "")
        every = {**values, "extractor": extractor}
        if wrong := [name for name, value in every.items() if not isinstance(value, str)]:
            raise TypeError(f"its field {wrong[0]!r} is not text")
        try:
            datetime.fromisoformat(values["time"])
        except ValueError as error:
            raise ValueError(f"its field 'time' is not a time: {values['time'][:40]!r}") from error
        return cls(feature_of(row), Note(**values).cleaned(), extractor)


class NotesFile:
    """The notes of a run, which no stage writes or removes. Several threads and processes may write to it.

    `extractor` is the digest of what the run extracts features with, '' if that is not known. A feature of another one
    is another feature, although it has the same number.
    """

    def __init__(self, path: Path, extractor: str = "") -> None:
        self.path, self.extractor = path, extractor

    def read(self) -> dict[Feature, Note]:
        """The notes by feature, also those that were emptied. Raises `RunDirError` if a line is damaged."""
        return self.read_all()[0]

    def read_all(self) -> tuple[dict[Feature, Note], dict[Feature, Note]]:
        """The notes as by `read`, and those of another extractor; a line that names none is of this one."""
        next_step = (
            "what people wrote cannot be made again: repair the line by hand, or remove it from the file; "
            'one that was changed on purpose counts without its "check"'
        )
        own: dict[Feature, Note] = {}
        others: dict[Feature, Note] = {}
        for feature, note, extractor in rows_in(self.path, NoteLine.from_json, next_step):
            is_own = not (extractor and self.extractor) or extractor == self.extractor
            (own if is_own else others)[feature] = note
        return own, others

    def stamp(self) -> tuple[int, int] | None:
        """What is different after every change; None while there is no file."""
        with explain_disk_errors(self.path, "read"):
            try:
                status = self.path.stat()
            except FileNotFoundError:
                return None
        return status.st_size, status.st_mtime_ns

    def write(self, feature: Feature, changes: Mapping[str, str], was: str | None = None) -> Note:
        """Change fields of a feature's note and return it; durable when this returns.

        With `was`, the `version` of the note that the writer has seen, raises `NoteChangedError` if it has changed
        since. Raises `ValueError` for what cannot be noted, `RunDirError` if the file cannot be written.
        """
        with self._locked():
            now = self.read().get(feature, Note())
            if was is not None and was != now.version:
                raise NoteChangedError(
                    f"the note on {feature} was changed at {now.time} by somebody else; look at it and decide", now
                )
            new = replace(now, **changes).cleaned()
            if new == now:
                return now
            new = replace(new, time=datetime.now(UTC).isoformat(timespec="milliseconds"))
            append_line(self.path, NoteLine(feature, new, self.extractor).as_text())
            return new

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = self.path.with_name(".notes.lock")
        for place in (self.path, lock):
            if place.is_symlink() or (place.exists() and not place.is_file()):
                raise ConfigError(f"{place} is not a file; notes are written only into the run directory: remove it")
        with explain_disk_errors(self.path):
            try:
                held = FileLock(lock, timeout=PATIENCE).acquire()
            except Timeout as error:
                raise RunDirError(f"another process is writing to {self.path}; try again") from error
        with held:
            yield
