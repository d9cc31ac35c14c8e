"""Records of a database as images: which columns are ratings, which are metadata, where the picture is."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saeviz.errors import ConfigError, DataError, ImageError
from saeviz.toolkit.names import existing

if TYPE_CHECKING:
    from PIL.Image import Image

Record = Mapping[str, Any]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_SPREAD_OR_COUNT = re.compile(r"(.+)[_ .-](sd|std|se|sem|var|n|count)", re.IGNORECASE)
_IDS = frozenset({"id", "index", "row", "item", "item_id", "image_id"})
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class RatingColumns:
    """Tells ratings from metadata, record by record.

    Ratings are the columns of `named`; without it every number, except in `taken` columns, in those with the name of an
    id and in the spread (x_sd) or count (x_n) of another column. Raises `ConfigError` for a named column that the
    records, whose columns are `columns`, do not have.
    """

    def __init__(self, columns: Sequence[str], named: Sequence[str] | None, taken: Collection[str]) -> None:
        for name in named or ():
            require_column(columns, name, "rating_columns")
        self._named = named
        self._odd: dict[str, str] = {}
        self._columns = [name for name in columns if name not in taken]
        lowered = {name.lower() for name in columns}
        self._ratings = frozenset(named or (name for name in self._columns if not _is_about_others(name, lowered)))

    def split(self, record: Record) -> tuple[dict[str, float], dict[str, str]]:
        """The ratings and the metadata of a record; what is missing, not finite or neither number nor text is left out.

        Text that is written like a number is a rating in a named column only.
        """
        ratings: dict[str, float] = {}
        metadata: dict[str, str] = {}
        for name in self._columns:
            value = record[name]
            number = _to_number(value, from_text=self._named is not None) if name in self._ratings else None
            if number is not None:
                ratings[name] = number
            elif name in self._ratings and self._named is not None:
                if _to_text(value):
                    self._odd.setdefault(name, _to_text(value))
            elif text := _to_text(value):
                metadata[name] = text
        return ratings, metadata

    def notes(self) -> list[str]:
        """What was found in the records so far that is no number where a rating belongs."""
        return [
            f"the rating {name!r} has values that are not finite numbers and count as missing, such as {value[:40]!r}"
            for name, value in self._odd.items()
        ]


def require_column(columns: Sequence[str], name: str, option: str) -> None:
    """Raise `ConfigError` unless there is a column `name`; `option` is how the user chose it."""
    if name not in columns:
        raise ConfigError(f"images.{option}: there is no column {name!r}; there are: {', '.join(columns)}")


def unique_ids(records: Iterator[tuple[str | None, Record]], option: str) -> Iterator[tuple[str, Record]]:
    """The records with their ids; raises `DataError` where one has none or one comes twice."""
    seen: set[str] = set()
    for number, (item_id, record) in enumerate(records, 1):
        if not item_id:
            raise DataError(f"images.{option}: record {number} has no id")
        if item_id in seen:
            raise DataError(f"images.{option}: the id {item_id!r} comes more than once; ids must be unique")
        seen.add(item_id)
        yield item_id, record


def picture_at(item_id: str, path: str | None, base: Path, *, inside: bool) -> Path | Callable[[], Image]:
    """The source of an item whose file is `path`, relative to `base`.

    With `inside` the file must lie in `base`: a picture that does not is one that cannot be read. So is one without a
    path. Raises `DataError` for a URL, of which it quotes nothing: it may hold a password.
    """
    if not path:
        return missing_picture(item_id, "its record has no path")
    if _URL.match(path):
        raise DataError(
            f"images.path_column: item {item_id!r} has a URL there, not the path of a file; URLs belong into "
            "images.url_column"
        )
    file = Path(os.path.normpath(base / path))
    if "\0" in path or (inside and not file.is_relative_to(os.path.normpath(base))):
        return missing_picture(item_id, f"its path {path!r} leads out of images.folder")
    return existing(file)


def missing_picture(item_id: str, reason: str) -> Callable[[], Image]:
    """The source of an item that has no picture, for this reason."""

    def fail() -> NoReturn:
        raise ImageError(f"image {item_id!r} cannot be read: {reason}")

    return fail


def _is_about_others(name: str, lowered: Collection[str]) -> bool:
    match = _SPREAD_OR_COUNT.fullmatch(name)
    return name.lower() in _IDS or (match is not None and match[1].lower() in lowered)


def _to_number(value: Any, *, from_text: bool) -> float | None:
    if isinstance(value, str):
        if not from_text or not _NUMBER.fullmatch(value.strip()):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _to_text(value: Any) -> str:
    if value is None or isinstance(value, bytes | memoryview) or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return str(value).strip().encode("utf-8", "replace").decode()
