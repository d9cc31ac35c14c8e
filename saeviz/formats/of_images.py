"""`of_images.jsonl`: the numbers of each image that an extractor hands over with its features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.files import append_line, write_atomic
from saeviz.formats.lines import checked_line, keep_whole_lines, rows_in
from saeviz.formats.plain import plain
from saeviz.values.features import FeatureBatch
from saeviz.values.texts import Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

TOGETHER = 128
"""Images in a line of a finished file."""
NEXT_STEP = "the same `saeviz run` computes what is missing, or --redo extract"
OfImages = dict[str, dict[str, float]]
"""For each column, such as `reconstruction_error.layer11.cls`, a number per item id."""


class _Line(NamedTuple):
    items: Sequence[str]
    values: Mapping[str, Sequence[float | None]]


def append_of_images(path: Path, batch: FeatureBatch) -> None:
    """Append what a batch says of its images; durable when this returns."""
    columns = {f"{name}.{batch.space}": plain(values) for name, values in batch.of_images.items()}
    append_line(path, _text(_Line(batch.item_ids, columns)))


def read_of_images(path: Path) -> OfImages:
    """The numbers by column and item, NaN where an extractor has none; what an item's last line says counts.

    Raises `RunDirError` for a damaged file.
    """
    found: OfImages = {}
    for line in rows_in(path, _parsed, NEXT_STEP):
        for name, values in line.values.items():
            numbers = (nan if value is None else float(value) for value in values)
            found.setdefault(name, {}).update(zip(line.items, numbers, strict=True))
    return found


def columns_of_images(path: Path, item_ids: Texts) -> dict[str, FloatArray]:
    """The same numbers by column, float64 `[n_items]` of these images, NaN where there is none of one."""
    import numpy as np

    found: dict[str, FloatArray] = {}
    places: Places | None = None
    for line in rows_in(path, _parsed, NEXT_STEP):
        places = places or Places(item_ids)
        rows = places.of(line.items)
        for name, values in line.values.items():
            column = found.setdefault(name, np.full(len(item_ids), nan))
            column[rows[rows >= 0]] = np.array(values, dtype=np.float64)[rows >= 0]
    return found


def mend_of_images(path: Path) -> int:
    """Remove damaged lines and return their number."""
    return keep_whole_lines(path, _parsed)


def write_of_images(path: Path, known: OfImages, item_ids: Sequence[str]) -> None:
    """Replace the file by one that has a number, or NaN, of each of these items in each column."""
    lines = (
        _Line(part, {name: [plain(values.get(item_id, nan)) for item_id in part] for name, values in known.items()})
        for part in _parts(item_ids)
    )
    write_atomic(path, "".join(f"{_text(line)}\n" for line in lines))


def _parts(item_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (item_ids[start : start + TOGETHER] for start in range(0, len(item_ids), TOGETHER))


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
