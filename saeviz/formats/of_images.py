"""`of_images.jsonl`: the numbers of each image that an extractor hands over with its features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.files import append_line, atomic_path
from saeviz.formats.lines import checked_line, keep_whole_lines, rows_in
from saeviz.formats.plain import plain
from saeviz.values.features import FeatureBatch
from saeviz.values.texts import Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray, Mask

AT_A_TIME = 65_536
"""Images in a line that is appended: a longer one could not be read."""
TOGETHER = 128
"""Images in a line of a finished file."""
NEXT_STEP = "the same `saeviz run` computes what is missing, or --redo extract"


class _Line(NamedTuple):
    items: Sequence[str]
    values: Mapping[str, Sequence[float | None]]


def append_of_images(path: Path, batch: FeatureBatch) -> None:
    """Append what a batch says of its images; durable when this returns."""
    for start in range(0, len(batch), AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        columns = {f"{name}.{batch.space}": plain(values[some]) for name, values in batch.of_images.items()}
        append_line(path, _text(_Line(batch.item_ids[some], columns)))


def columns_of_images(path: Path, item_ids: Texts) -> dict[str, FloatArray]:
    """The numbers of these images by column, such as `reconstruction_error.layer11.cls`, float64 `[n_items]`.

    NaN where there is none of an image; what an item's last line says counts. Raises `RunDirError` for a damaged file.
    """
    import numpy as np

    found: dict[str, FloatArray] = {}
    for line, rows in _located(path, item_ids):
        for name, values in line.values.items():
            column = found.setdefault(name, np.full(len(item_ids), nan))
            column[rows[rows >= 0]] = np.array(values, dtype=np.float64)[rows >= 0]
    return found


def mend_of_images(path: Path) -> int:
    """Remove damaged lines and return their number."""
    return keep_whole_lines(path, _parsed)


def which_have_numbers(path: Path, places: Places) -> dict[str, Mask]:
    """Of each column, which images have an entry there, be it NaN."""
    import numpy as np

    found: dict[str, Mask] = {}
    for line in rows_in(path, _parsed, NEXT_STEP):
        rows = places.of(line.items)
        for name in line.values:
            found.setdefault(name, np.zeros(len(places), dtype=bool))[rows[rows >= 0]] = True
    return found


def tidy_of_images(path: Path, item_ids: Texts) -> list[str]:
    """Write each number once, of these images first and then of others that the file knows; gives the columns.

    Where there is none of an image, it gets NaN.
    """
    if not path.exists():
        return []
    others = dict[str, None]()
    for line, rows in _located(path, item_ids):
        others.update(dict.fromkeys(item_id for item_id, row in zip(line.items, rows, strict=True) if row < 0))
    ids = Texts.joined([item_ids, Texts.of(others)])
    columns = columns_of_images(path, ids)
    if columns:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            for start in range(0, len(ids), TOGETHER):
                some = slice(start, start + TOGETHER)
                values = {name: plain(column[some]) for name, column in columns.items()}
                file.write(f"{_text(_Line(ids[some], values))}\n")
    return list(columns)


def _located(path: Path, item_ids: Texts) -> Iterator[tuple[_Line, IntArray]]:
    """The lines, each with the places of its items among these, -1 for others."""
    places: Places | None = None
    for line in rows_in(path, _parsed, NEXT_STEP):
        places = places or Places(item_ids)
        yield line, places.of(line.items)


def _text(line: _Line) -> str:
    return checked_line({"items": list(line.items), "values": dict(line.values)})


def _parsed(row: Mapping[str, Any]) -> _Line:
    items, values = row["items"], dict(row["values"])
    if not all(isinstance(item_id, str) for item_id in items):
        raise ValueError("an id is not text")
    if any(len(numbers) != len(items) for numbers in values.values()):
        raise ValueError("a line has another number of values than of items")
    for number in (number for numbers in values.values() for number in numbers):
        if number is not None and not isinstance(number, int | float):
            raise ValueError(f"{number!r} is not a number")
    return _Line(items, values)
