"""`failures.jsonl`: a line for everything that a stage left out, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from saeviz.formats.files import append_line, atomic_path
from saeviz.formats.lines import checked_line, keep_whole_lines, rows_in
from saeviz.values.outcomes import Failure


class FailuresFile:
    """What a run left out. A stage's lines are those of its last try."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Failure]:
        """All failures, in order."""
        return list(self)

    def __iter__(self) -> Iterator[Failure]:
        return rows_in(self.path, _failure, "remove it and run again")

    def of(self, stage: str) -> set[str]:
        """The subjects that a stage left out: ids of items, or features."""
        return {failure.subject for failure in self if failure.stage == stage}

    def add(self, failure: Failure) -> None:
        """Append a line. What fails is tried and listed again, so the line need not be durable.

        Of the name of a file that is no text, bytes are written as escapes.
        """
        texts = (one.encode("utf-8", "backslashreplace").decode() for one in failure)
        append_line(self.path, _line(Failure(*texts)), durable=False)

    def forget(self, stage: str, subjects: Collection[str] | None = None) -> None:
        """Remove a stage's lines, or those about some subjects: they are tried again."""

        def goes(one: Failure) -> bool:
            return one.stage == stage and (subjects is None or one.subject in subjects)

        if any(map(goes, self)):
            with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
                file.writelines(f"{_line(one)}\n" for one in self if not goes(one))

    def mend(self) -> bool:
        """Keep the lines that are whole, and tell whether there were others. What failed is tried again."""
        return keep_whole_lines(self.path, _failure) > 0


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(**row)


def _line(failure: Failure) -> str:
    return checked_line(failure._asdict())
