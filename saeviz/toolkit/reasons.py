"""Why columns with numbers are not read as ratings, in sentences for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from saeviz.toolkit.cells import listed, named_with, not_read


@dataclass
class Reasons:
    """Why columns with numbers are not ratings."""

    unread: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    row_numbers: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    statistics: dict[str, str] = field(default_factory=dict)
    labelled: dict[str, str] = field(default_factory=dict)
    partly: dict[str, str] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """A sentence for each reason."""
        if self.unread:
            yield not_read(self.unread)
        if self.empty:
            yield f"without any value: {listed(self.empty)}"
        for names, what in (
            (self.row_numbers, ("looks like a row number", "look like row numbers")),
            (self.ids, ("looks like an id", "look like ids")),
            (self.times, ("looks like a time", "look like times")),
        ):
            if names:
                yield f"{listed(names)} {what[len(names) > 1]}, not like {_ratings(names)}; {_change(names)}"
        if self.statistics:
            names = list(self.statistics)
            others = list(dict.fromkeys(filter(None, self.statistics.values())))
            of = f" of {listed(others)}" if others else ""
            looks = (
                "look like spreads, counts or other statistics"
                if len(names) > 1
                else ("looks like a spread, count or other statistic")
            )
            yield f"{listed(names)} {looks}{of}, not like {_ratings(names)}; {_change(names)}"
        yield from self._examples()

    def _examples(self) -> Iterator[str]:
        """Those whose values say why, with one of them."""
        for name, example in self.labelled.items():
            yield (
                f"{name!r} has text after its numbers, such as {example}, and is not read as a rating; name it "
                f"in images.rating_columns to use the numbers"
            )
        if self.partly:
            names = list(self.partly)
            are = "are not read as ratings" if len(names) > 1 else "is not read as a rating"
            yield f"{named_with(self.partly)} {are}, because at most half of the values are numbers; {_change(names)}"
        for name, example in self.unclear.items():
            yield (
                f"{name!r} is not read as a rating: {example} may be a decimal or a thousands separator; write its "
                f"numbers with a decimal point and without thousands separators"
            )
        for name, example in self.spelling.items():
            yield f"{name!r} is not read as a rating: {example} is not in a supported number format"
        for name, codes in self.codes.items():
            yield (
                f"{name!r} is not read as a rating: {codes} looks like a code for a missing value; empty such "
                "cells, or name the column in images.rating_columns to keep them as numbers"
            )


def _ratings(names: Sequence[str]) -> str:
    return "ratings" if len(names) > 1 else "a rating"


def _change(names: Sequence[str]) -> str:
    return f"name {'them' if len(names) > 1 else 'it'} in images.rating_columns to change that"
