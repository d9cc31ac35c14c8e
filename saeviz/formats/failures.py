"""`failures.jsonl`: a line for everything that a stage left out, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from saeviz.formats.files import append_line, write_atomic
from saeviz.formats.lines import checked_line, keep_whole_lines, rows_in
from saeviz.values.outcomes import Failure


class FailuresFile:
    """What a run left out. A stage's lines are those of its last try."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Failure]:
        """All failures, in order."""
        return list(rows_in(self.path, _failure, "remove it and run again"))

    def of(self, stage: str) -> set[str]:
        """The subjects that a stage left out: ids of items, or features."""
        return {failure.subject for failure in self.read() if failure.stage == stage}

    def add(self, failure: Failure) -> None:
        """Append a line. What fails is tried and listed again, so the line need not be durable."""
        append_line(self.path, _line(failure), durable=False)

    def forget(self, stage: str, subjects: Collection[str] | None = None) -> None:
        """Remove a stage's lines, or those about some subjects: they are tried again."""
        failures = self.read()
        kept = [one for one in failures if one.stage != stage or (subjects is not None and one.subject not in subjects)]
        if len(kept) != len(failures):
            write_atomic(self.path, "".join(f"{_line(failure)}\n" for failure in kept))

    def mend(self) -> bool:
        """Keep the lines that are whole, and tell whether there were others. What failed is tried again."""
        return keep_whole_lines(self.path, _failure) > 0


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(**row)


def _line(failure: Failure) -> str:
    return checked_line(failure._asdict())
