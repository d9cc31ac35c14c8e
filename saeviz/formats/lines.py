"""JSON-lines files whose lines have checksums, so that the intact lines of a damaged file can be kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from saeviz.formats.files import append_line, atomic_path, whole_lines, write_atomic
from saeviz.values.errors import RunDirError, SaevizError
from saeviz.values.features import Feature

T = TypeVar("T")
CHECK = "check"
"""The key of a line's checksum."""
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, SaevizError)
"""The exceptions raised when parsing a changed or damaged line."""


def checked_line(row: Mapping[str, Any]) -> str:
    """The row as a JSON line that ends with a checksum."""
    as_read = json.loads(json.dumps(row))
    return json.dumps({**row, CHECK: _check_of(as_read)}, ensure_ascii=False)


def parse_line(text: str) -> dict[str, Any]:
    """Parse a line of `checked_line`, without its checksum. Raises `ValueError` if it was changed.

    A line without a checksum, as written by earlier versions, is accepted.
    """
    try:
        row = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError("a line is not a JSON object")
    check = row.pop(CHECK, None)
    if check is not None and check != _check_of(row):
        raise ValueError("a line was changed or damaged since it was written")
    return row


def reason_of(error: Exception) -> str:
    """What is wrong with a line, of which parsing failed with one of `DAMAGED`."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return f"it has no field {error}" if isinstance(error, KeyError) else str(error)


def rows_in(path: Path, parse: Callable[[dict[str, Any]], T], next_step: str) -> Iterator[T]:
    """What the lines of a file hold, one by one. Raises `RunDirError`, with the next step, where one is damaged."""
    for number, line in enumerate(whole_lines(path), 1):
        try:
            found = parse(parse_line(line.decode()))
        except DAMAGED as error:
            raise RunDirError(f"{path} is damaged (line {number}: {reason_of(error)}); {next_step}") from error
        yield found


def keep_whole_lines(path: Path, parse: Callable[[dict[str, Any]], object]) -> int:
    """Remove damaged lines from a file and return their number.

    A last line without a line end was cut off by a crash and is not counted.
    """
    n_damaged = sum(not _is_whole(line, parse) for line in whole_lines(path))
    if n_damaged:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.writelines(line + b"\n" for line in whole_lines(path) if _is_whole(line, parse))
    return n_damaged


class OfFeature(Protocol):
    """What a line says of a feature."""

    @property
    def feature(self) -> Feature:
        """The feature."""
        ...

    def as_text(self) -> str:
        """The line."""
        ...


Line = TypeVar("Line", bound=OfFeature)


@dataclass(frozen=True)
class FeatureLines(Generic[Line]):
    """A file with lines of features, of which the last one of a feature counts. `stage` makes it again."""

    parse: Callable[[dict[str, Any]], Line]
    stage: str

    def read(self, path: Path) -> dict[Feature, Line]:
        """The lines by feature. Raises `RunDirError` for a damaged file."""
        return {line.feature: line for line in rows_in(path, self.parse, f"recreate it with --redo {self.stage}")}

    def mend(self, path: Path) -> int:
        """Remove damaged lines and return their number."""
        return keep_whole_lines(path, self.parse)

    def append(self, path: Path, line: Line) -> None:
        """Append one line; durable when this returns."""
        append_line(path, line.as_text())

    def write(self, path: Path, lines: Iterable[Line]) -> None:
        """Replace the file."""
        write_atomic(path, "".join(f"{line.as_text()}\n" for line in lines))


def _is_whole(line: bytes, parse: Callable[[dict[str, Any]], object]) -> bool:
    try:
        parse(parse_line(line.decode()))
    except DAMAGED:
        return False
    return True


def _check_of(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:12]
